r"""The gap $pq - c^2$ of sums of products, without cancellation.

With $p = \sum_k a_k^2$, $q = \sum_k b_k^2$ and $c = \sum_k a_k b_k$, the plain formula
loses the digits of small angles. The part of $b$ that is orthogonal to $a$ keeps them.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.layers.moments import Moments, _ratio
from widelimit.layers.windows import Windows


def gap_of_products(
    p: Float[Array, "*#s"],
    c: Float[Array, "*s"],
    parts: Iterable[tuple[Float[Array, "*#s"], Float[Array, "*#s"]]],
) -> Float[Array, "*s"]:
    r"""$p \sum_k (b_k - c\,a_k / p)^2$, which is $pq - c^2$.

    Args:
        p: $\sum_k a_k^2$.
        c: $\sum_k a_k b_k$.
        parts: $a_k$ and $b_k$, one pair after another.

    Returns:
        The gap; its error is that of an angle to the last digit.
    """
    slope, total = _ratio(c, p), jnp.zeros_like(c)
    for a, b in parts:
        total = total + jnp.square(b - slope * a)
    return p * total


def gap_of_patches(
    m: Moments,
    windows: Windows,
    mean_of_offsets: Callable[[Array], Array],
    patches: Moments,
) -> Float[Array, "n m *S"] | None:
    r"""The gap of means over the offsets of windows.

    With $a = \sqrt p$, $b = \sqrt q$ and bars for means over offsets,

    $$\bar p \bar q - \bar c^2 = (\bar p \bar q - \overline{ab}^2)
      + \overline{(ab - c)}\;\overline{(ab + c)},$$

    where the first difference is a gap of products, and the smaller one of $ab - c$ and
    $ab + c$ follows from the gap of the input.

    Args:
        m: Moments that enter.
        windows: The windows.
        mean_of_offsets: What they do to covariances.
        patches: Moments behind them.

    Returns:
        The gap, or `None` if that of the input is not known.
    """
    if m.gap is None:
        return None
    m, patches = jax.tree.map(jax.lax.stop_gradient, (m, patches))  # duals ignore it
    rank = len(windows.shape)
    p, q = m.variances()
    product = jnp.sqrt(p) * jnp.sqrt(q)
    large = product + jnp.abs(m.cross)
    small = _ratio(m.gap, large)
    together = m.cross > 0
    short = mean_of_offsets(jnp.where(together, small, large))  # of ab - c
    far = mean_of_offsets(jnp.where(together, large, small))  # of ab + c
    a, b = (jnp.sqrt(m.diagonal(own)) for own in (m.first, m.second))
    axes, ones = [(1 + axis, axis) for axis in range(rank)], (1,) * rank * m.joint

    def pairs():
        both = zip(windows.parts(a, axes), windows.parts(b, axes), strict=True)
        for u, v in both:
            u = u.reshape(len(u), 1, *u.shape[1:], *ones)
            v = v.reshape(1, len(v), *ones, *v.shape[1:])
            yield u, v

    mean_p, _ = patches.variances()
    lagrange = gap_of_products(mean_p, (short + far) / 2, pairs()) / windows.size
    return lagrange + short * far
