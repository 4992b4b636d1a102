r"""The height $\sqrt{pq - c^2}$ of a Gaussian pair, to full precision.

Near $c = \pm\sqrt{pq}$ the plain $pq - c^2$ cancels: moments that agree to $\epsilon$
leave it with a relative error of rounding / $\epsilon$. Here it is right to the last
digits for the moments *as given*. How well those say what was meant is another matter:
rounding of $c$ alone changes $pq - c^2$ by a relative rounding / $\epsilon$, so that
the angle is known to the square root of the rounding unit in the worst case. A caller
who knows the height better can pass it: for inputs it is $\|x\|$ times the norm of the
part of $x'$ that is orthogonal to $x$. The height is of the degree of the moments, so
that it is in the range of floats where they are; $pq - c^2$, the gap, may not be.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def gap(
    c: Float[Array, "*#s"],
    p: Float[Array, "*#s"],
    q: Float[Array, "*#s"],
    known: Float[Array, "*#s"] | None = None,
) -> Float[Array, "*#s"]:
    r"""$pq - c^2$, to a few units in the last place of the result.

    Args:
        c: Covariance.
        p: Variance.
        q: Variance.
        known: The result, if the caller knows it better than rounded moments say.

    Returns:
        The gap, negative where rounding of the caller's moments has pushed $|c|$ above
        $\sqrt{pq}$; its derivatives are $(-2c, q, p)$ even if the value was known.
    """
    return _difference(p, q, c) if known is None else known


@gap.defjvp
def _gap_jvp(primals, tangents):
    c, p, q, _ = primals
    dc, dp, dq, _ = tangents
    return gap(*primals), q * dp + p * dq - 2 * c * dc


@jax.custom_jvp
def height(
    c: Float[Array, "*#s"],
    p: Float[Array, "*#s"],
    q: Float[Array, "*#s"],
    known: Float[Array, "*#s"] | None = None,
) -> Float[Array, "*#s"]:
    r"""$h = \sqrt{pq - c^2}$, whatever the size of the moments.

    Args:
        c: Covariance.
        p: Variance.
        q: Variance.
        known: The result, if the caller knows it better than rounded moments say.

    Returns:
        The height; its derivatives are those by $(c, p, q)$ even if the value was
        known. Where it is zero its derivative, in truth infinite, is zero, which is
        right along $c = p = q$ only.
    """
    if known is not None:
        return jnp.maximum(known, 0.0)
    # Powers of two, so that products neither overflow nor lose digits.
    i, j = (_power(x) for x in (p, q))
    square = gap((c * i) * j, (p * i) * i, (q * j) * j)
    return jnp.sqrt(jnp.maximum(square, 0.0)) / i / j


@height.defjvp
def _height_jvp(primals, tangents):
    c, p, q, _ = primals
    dc, dp, dq, _ = tangents
    h = height(*primals)
    # A power of two cancels, so that products stay of the size of the moments.
    k = _power(jax.lax.stop_gradient(p)) * _power(jax.lax.stop_gradient(q))
    slope = 0.5 * ((q * k) * dp + (p * k) * dq) - (c * k) * dc
    slope = slope / jnp.where(h > 0, h * k, 1.0)
    return h, jnp.where(h > 0, slope, 0.0)


def ratio(x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*#s"]:
    r"""$x / y$ where $y > 0$, else zero; its derivatives at $y = 0$ are finite."""
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1.0), 0.0)


def squared(height):
    """The gap of a known height; `None` if it is not known."""
    return None if height is None else height * height


def _power(x):
    """A power of two near `x**-0.5`."""
    _, exponent = jnp.frexp(x)
    return jnp.ldexp(jnp.ones_like(x), -(exponent // 2))


def _difference(p, q, c):
    # Products of halves are exact, also if the compiler fuses them with a sum; they
    # are summed together with the rounding errors of the sum.
    (ph, pl), (qh, ql), (ch, cl) = map(_halves, (p, q, c))
    total, rest = ph * qh, 0.0
    for term in (-ch * ch, ph * ql, pl * qh, -2 * ch * cl, pl * ql, -cl * cl):
        total, error = _sum(total, term)
        rest = rest + error
    return total + rest


def _sum(x, y):
    """`x + y` rounded, and its rounding error (Knuth)."""
    s = x + y
    back = s - x
    return s, (x - (s - back)) + (y - back)


def _halves(x):
    """Two parts with so few digits that products of parts are exact."""
    info = jnp.finfo(x.dtype)
    high = jax.lax.reduce_precision(x, info.nexp, (info.nmant - 1) // 2)
    return high, x - high
