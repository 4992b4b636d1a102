r"""Moments of a pair of batches: what an infinitely wide layer maps to the next.

At infinite width the features of a layer are independent copies of one random function
of the input, so that three things say all: for every two inputs the second moment $K$
of a feature, its mean $b$, and the kernel $\Theta$ of the gradients so far.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.moments import ratio

Blocks = tuple[Float[Array, "n m *S"], ...]


class Moments(eqx.Module):
    r"""Second moments, means and tangent kernels of the features of one layer.

    Rows of the first batch are `n`, of the second `m`. Features at several positions
    (pixels) have trailing position axes: `*P` of one position, and `*S` either once
    (`joint=False`: the same position in both inputs) or twice (`joint=True`: every
    position of one input with every position of the other). Vectors have none.

    Attributes:
        cross: $K(x, x')$, the mean over features of the product of values at both.
        first: $K(x, x)$ of the first batch.
        second: $K(x', x')$ of the second batch.
        height: $\sqrt{K(x, x) K(x', x') - K(x, x')^2}$ where it is known better than
            the rounded $K$ say, which keeps the digits of angles; `None` where it is
            not. It is of the degree of $K$, so that it is in range where $K$ is.
        mean_first: $b(x)$, the mean over features; `None` for zero.
        mean_second: $b(x')$.
        ntk: The tangent kernel $\Theta(x, x')$: one block, or one for every layer that
            has parameters if `per_layer`; `None` if it is not wanted.
        shape: Shape of one input of the next layer, channels last.
        gaussian: Whether the features are Gaussian, as activations need.
        joint: Whether moments hold every pair of positions.
        per_layer: Whether layers' tangent kernels are kept apart.
        alike: Whether all features have one distribution; not those of several
            positions behind `Flatten`.
    """

    cross: Float[Array, "n m *S"]
    first: Float[Array, "n *S"]
    second: Float[Array, "m *S"]
    height: Float[Array, "n m *S"] | None
    mean_first: Float[Array, "n *P"] | None
    mean_second: Float[Array, "m *P"] | None
    ntk: Blocks | None
    shape: tuple[int, ...] = eqx.field(static=True)
    gaussian: bool = eqx.field(static=True)
    joint: bool = eqx.field(static=True, default=False)
    per_layer: bool = eqx.field(static=True, default=False)
    alike: bool = eqx.field(static=True, default=True)

    @property
    def positions(self) -> tuple[int, ...]:
        """Shape of the positions; empty for vectors."""
        return self.shape[:-1]

    def replace(self, **changes) -> "Moments":
        """A copy with some fields changed."""
        names = self.__dataclass_fields__
        return Moments(**({n: getattr(self, n) for n in names} | changes))

    def linear(self, map_covariance, map_mean, shape, *, joint=None) -> "Moments":
        """Moments after a fixed linear map of positions, the same for every feature.

        Args:
            map_covariance: What it does to the position axes `*S` of an array.
            map_mean: What it does to the position axes `*P`.
            shape: Shape of its output.
            joint: As the attribute, if that changes.

        Returns:
            Moments without `height`, which sums over positions do not keep.
        """
        return self.replace(
            cross=map_covariance(self.cross),
            first=map_covariance(self.first),
            second=map_covariance(self.second),
            height=None,
            mean_first=_maybe(map_mean, self.mean_first),
            mean_second=_maybe(map_mean, self.mean_second),
            ntk=None if self.ntk is None else tuple(map(map_covariance, self.ntk)),
            shape=shape,
            joint=self.joint if joint is None else joint,
        )

    def random_linear(self, variance, shift, gradient, shape) -> "Moments":
        r"""Moments after an independent random linear map of the features.

        $K \to v K + s$ and $\Theta \to v \Theta + g$; the output is Gaussian with mean
        zero.

        Args:
            variance: $v$, the variance of the weights times the fan-in.
            shift: $s$, the variance of the bias.
            gradient: $g$ of the layer's own parameters; `None` if it has none.
            shape: Shape of its output.

        Returns:
            The moments, with `height` kept.
        """
        ntk = self.ntk
        if ntk is not None:
            ntk = tuple(variance * block for block in ntk)
            if gradient is not None:
                added = gradient(self.cross)
                if self.per_layer or not ntk:
                    ntk = (*ntk, added)
                else:
                    ntk = (ntk[0] + added,)
        return self.replace(
            cross=variance * self.cross + shift,
            first=variance * self.first + shift,
            second=variance * self.second + shift,
            height=_affine_height(self, variance, shift),
            mean_first=None,
            mean_second=None,
            ntk=ntk,
            shape=shape,
            gaussian=True,
            alike=True,
        )

    def scaled(self, factor: float) -> "Moments":
        """Moments of the features times a constant."""
        square = factor * factor
        return self.replace(
            cross=square * self.cross,
            first=square * self.first,
            second=square * self.second,
            height=_maybe(lambda h: square * h, self.height),
            mean_first=_maybe(lambda b: factor * b, self.mean_first),
            mean_second=_maybe(lambda b: factor * b, self.mean_second),
            ntk=None if self.ntk is None else tuple(square * t for t in self.ntk),
        )

    def variances(self) -> tuple[Float[Array, "n *p"], Float[Array, "m *q"]]:
        """$K(x, x)$ and $K(x', x')$ at one position, shaped to meet `cross`."""
        first, second = self.first, self.second
        if not self.positions:
            return first[:, None], second[None, :]
        if not self.joint:
            return first[:, None], second[None]
        p, q = self.diagonal(first), self.diagonal(second)
        rank = len(self.positions)
        ones = (1,) * rank
        return (
            p.reshape(len(p), 1, *self.positions, *ones),
            q.reshape(1, len(q), *ones, *self.positions),
        )

    def diagonal(self, block: Float[Array, "*N"]) -> Float[Array, "*M"]:
        """Entries of a joint block at equal positions; other blocks as they are."""
        if not self.joint:
            return block
        rank = len(self.positions)
        lead = block.shape[: block.ndim - 2 * rank]
        size = 1
        for length in self.positions:
            size *= length
        flat = jnp.diagonal(block.reshape(*lead, size, size), axis1=-2, axis2=-1)
        return flat.reshape(*lead, *self.positions)


def add(x: Moments, y: Moments, shared: int) -> Moments:
    """Moments of the sum of two features that are independent but for the inputs.

    Args:
        x: Moments of the first.
        y: Moments of the second, of the same two batches.
        shared: Number of tangent kernels that belong to the same layers in both; the
            others follow in this order.

    Returns:
        The moments of the sum.

    Raises:
        ValueError: If both have means, of features that are not alike.
    """
    b1, b2, e1, e2 = x.mean_first, x.mean_second, y.mean_first, y.mean_second
    centred = b1 is None or e1 is None
    if not (centred or x.alike and y.alike):
        raise ValueError(
            "Moments of a sum need features of one distribution where both terms have "
            "a mean. Got features of several positions. Put `Flatten` behind the sum, "
            "not into both paths of a `Residual`."
        )

    def outer(a, b, axis):
        """Product of means at the two ends of every entry of a covariance."""
        if a is None or b is None:
            return 0.0
        rank = len(x.positions)
        if x.joint:
            a = a.reshape(*a.shape, *(1,) * rank)
            b = b.reshape(b.shape[0], *(1,) * rank, *b.shape[1:])
        if axis:
            return a[:, None] * b[None]
        return a * b

    ntk = None
    if x.ntk is not None and y.ntk is not None:
        both = zip(x.ntk[:shared], y.ntk[:shared], strict=True)
        ntk = (*(a + b for a, b in both), *x.ntk[shared:], *y.ntk[shared:])
        if ntk and not x.per_layer:
            ntk = (functools.reduce(jnp.add, ntk),)
    return x.replace(
        cross=x.cross + y.cross + (outer(b1, e2, True) + outer(e1, b2, True)),
        first=x.first + y.first + (outer(b1, e1, False) + outer(e1, b1, False)),
        second=x.second + y.second + (outer(b2, e2, False) + outer(e2, b2, False)),
        height=_height_of_sum(x, y) if centred else None,
        mean_first=_sum(b1, e1),
        mean_second=_sum(b2, e2),
        ntk=ntk,
        gaussian=x.gaussian and y.gaussian,
        alike=x.alike and y.alike,
    )


def _maybe(function, value):
    return None if value is None else function(value)


def _sum(a, b):
    return b if a is None else a if b is None else a + b


def _affine_height(m: Moments, variance: float, shift: float):
    r"""The height of $v K + s$, without cancellation or overflow.

    $$h'^2 = v^2 h^2 + v s\,\bigl((\sqrt p - \sqrt q)^2 + 2(\sqrt{pq} - c)\bigr),$$

    where $\sqrt{pq} - c = h^2 / (\sqrt{pq} + c)$ if $c > 0$. Rounding of
    $\sqrt p - \sqrt q$ is that of an angle's last digit.

    Returns:
        The height, or `None` if that of the input is not known.
    """
    if m.height is None:
        return None
    h, c, p, q = jax.lax.stop_gradient((m.height, m.cross, *m.variances()))
    if not shift:
        return variance * h
    a, b = jnp.sqrt(p), jnp.sqrt(q)
    size = a * b
    below = jnp.sqrt(jnp.where(c > 0, size + c, 1.0))
    away = jnp.where(c > 0, h / below, jnp.sqrt(size - jnp.minimum(c, 0.0)))
    root = jnp.hypot(a - b, math.sqrt(2) * away)
    return jnp.hypot(variance * h, math.sqrt(variance) * math.sqrt(shift) * root)


def _height_of_sum(x: Moments, y: Moments):
    r"""The height of the sum of two independent features, likewise.

    With $A = \sqrt{pq}$, $B = \sqrt{rs}$ the roots of the products of variances,

    $$h^2 = h_1^2 + h_2^2 + (\sqrt{ps} - \sqrt{rq})^2 + 2(AB - c_1 c_2),$$

    where, with hats for division by $A$ and $B$, the last difference is
    $AB\,(\hat h_2^2 + \hat c_2^2 \hat h_1^2) / (1 + \hat c_1 \hat c_2)$ if
    $c_1 c_2 > 0$.

    Returns:
        The height, or `None` if one of the two is not known.
    """
    if x.height is None or y.height is None:
        return None
    h, c, p, q = jax.lax.stop_gradient((x.height, x.cross, *x.variances()))
    k, e, r, s = jax.lax.stop_gradient((y.height, y.cross, *y.variances()))
    p, q, r, s = map(jnp.sqrt, (p, q, r, s))
    A, B = p * q, r * s
    h1, c1, h2, c2 = ratio(h, A), ratio(c, A), ratio(k, B), ratio(e, B)
    product = c1 * c2
    together = product > 0
    excess = (h2 * h2 + c2 * c2 * h1 * h1) / jnp.where(together, 1 + product, 1.0)
    away = jnp.where(together, excess, 1 - product)
    root = jnp.sqrt(A) * jnp.sqrt(B) * jnp.sqrt(2 * away)
    return jnp.hypot(jnp.hypot(h, k), jnp.hypot(p * s - r * q, root))
