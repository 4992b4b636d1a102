r"""The height $\sqrt{pq - c^2}$ of sums of products, without cancellation.

With $p = \sum_k a_k^2$, $q = \sum_k b_k^2$ and $c = \sum_k a_k b_k$, the plain formula
loses the digits of small angles. The part of $b$ that is orthogonal to $a$ keeps them.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.moments import ratio
from widelimit.layers.moments import Moments
from widelimit.layers.windows import Windows


def height_of_products(
    c: Float[Array, "*s"],
    parts: Sequence[tuple[Float[Array, "*#s"], Float[Array, "*#s"]]],
) -> Float[Array, "*s"]:
    r"""$\sqrt{p \sum_k (b_k - c\,a_k / p)^2}$, which is $\sqrt{pq - c^2}$.

    Args:
        c: $\sum_k a_k b_k$.
        parts: $a_k$ and $b_k$, whose squares must be in the range of floats.

    Returns:
        The height; its error is that of an angle to the last digit.
    """
    p = functools.reduce(jnp.add, (a * a for a, _ in parts))
    slope = ratio(c, p)
    rest = functools.reduce(jnp.add, (jnp.square(b - slope * a) for a, b in parts))
    return jnp.sqrt(p) * jnp.sqrt(rest)


def height_of_patches(
    m: Moments,
    windows: Windows,
    mean_of_offsets: Callable[[Array], Array],
) -> Float[Array, "n m *S"] | None:
    r"""The height of means over the offsets of windows.

    With $a = \sqrt p$, $b = \sqrt q$ and bars for means over offsets,

    $$\bar p \bar q - \bar c^2 = (\bar p \bar q - \overline{ab}^2)
      + \overline{(ab - c)}\;\overline{(ab + c)},$$

    where the first difference is the square of a height of products, and the smaller
    one of $ab - c$ and $ab + c$ is $h^2 / (ab + |c|)$ with the height $h$ of the input.
    All is formed in units of the largest $a$ and $b$ of each input.

    Args:
        m: Moments that enter.
        windows: The windows.
        mean_of_offsets: What they do to covariances.

    Returns:
        The height, or `None` if that of the input is not known.
    """
    if m.height is None:
        return None
    height = jax.lax.stop_gradient(m.height)
    m = jax.tree.map(jax.lax.stop_gradient, m)  # duals ignore it
    rank = len(windows.shape)
    unit, m = _in_units(m)
    h = height / unit
    p, q = m.variances()
    product = jnp.sqrt(p) * jnp.sqrt(q)
    large = product + jnp.abs(m.cross)
    small = h * ratio(h, large)
    together = m.cross > 0
    short = mean_of_offsets(jnp.where(together, small, large))  # of ab - c
    far = mean_of_offsets(jnp.where(together, large, small))  # of ab + c
    a, b = (jnp.sqrt(m.diagonal(own)) for own in (m.first, m.second))
    axes, ones = [(1 + axis, axis) for axis in range(rank)], (1,) * rank * m.joint

    parts = [
        (
            u.reshape(len(u), 1, *u.shape[1:], *ones),
            v.reshape(1, len(v), *ones, *v.shape[1:]),
        )
        for u, v in zip(windows.parts(a, axes), windows.parts(b, axes), strict=True)
    ]
    sums = (short + far) * (windows.size / 2)
    lagrange = height_of_products(sums, parts) / windows.size
    return unit * jnp.hypot(lagrange, jnp.sqrt(short) * jnp.sqrt(far))


def _in_units(m: Moments) -> tuple[Float[Array, "n m *o"], Moments]:
    """Covariances over the largest deviations of both inputs, and that product."""
    rank, both = len(m.positions), m.cross.ndim - 2

    def largest(own):
        deviation = jnp.sqrt(m.diagonal(own))
        most = jnp.max(deviation, tuple(range(1, 1 + rank)))
        return jnp.where(most > 0, most, 1.0).reshape(-1, *(1,) * both)

    r, t = largest(m.first), largest(m.second)
    unit = r[:, None] * t[None]
    return unit, m.replace(
        cross=m.cross / unit,
        first=m.first / (r * r),
        second=m.second / (t * t),
    )
