r"""Gaussian means of derivatives of an activation, up to the fourth.

With $V_{ij} = E[\phi^{(i)}(u)\,\phi^{(j)}(v)]$, Price's theorem gives
$\partial_c V_{ij} = V_{i+1,j+1}$, $\partial_p V_{ij} = \tfrac12 V_{i+2,j}$ and
$\partial_q V_{ij} = \tfrac12 V_{i,j+2}$, so that nine means hold all first and mixed
second derivatives of the dual $V_{00}$ and of $V_{11}$.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations import GELU, AbstractActivation, Erf, Scaled
from widelimit.activations.moments import gap
from widelimit.activations.orthant import TAU
from widelimit.kernels.jacobian.partials import Second

Pairs = Float[Array, "*#s"]


class Means(NamedTuple):
    r"""$V_{ij}$ by its two indices."""

    m11: Pairs
    m20: Pairs
    m02: Pairs
    m22: Pairs
    m31: Pairs
    m13: Pairs
    m33: Pairs
    m42: Pairs
    m24: Pairs

    def dual(self, value: Pairs) -> Second:
        """The dual's derivatives; its value is not among the means."""
        m = self
        return Second(
            value, m.m11, m.m20 / 2, m.m02 / 2, m.m22, m.m31 / 2, m.m13 / 2, m.m22 / 4
        )

    def dual_derivative(self) -> Second:
        """The derivatives of $V_{11}$."""
        m = self
        return Second(
            m.m11, m.m22, m.m31 / 2, m.m13 / 2, m.m33, m.m42 / 2, m.m24 / 2, m.m33 / 4
        )


@functools.singledispatch
def means(phi: AbstractActivation, c: Pairs, p: Pairs, q: Pairs) -> Means:
    r"""The means $V_{ij}$ over a pair with covariance $c$ and variances $p$, $q$.

    By forward differentiation of `dual` and `dual_derivative`, or in closed form.

    Args:
        phi: The activation, four times differentiable.
        c: Covariance.
        p: Variance of the first.
        q: Variance of the second.

    Returns:
        The means.
    """
    axes = jnp.eye(3, dtype=c.dtype)

    def along(f, axis):
        tangents = [jnp.full_like(z, t) for z, t in zip((c, p, q), axis, strict=True)]
        return jax.jvp(f, (c, p, q), tuple(tangents))

    def slope(c, p, q):
        one = (jnp.ones_like(c), jnp.zeros_like(p), jnp.zeros_like(q))
        return jax.jvp(phi.dual_derivative, (c, p, q), one)

    _, by_pq = jax.vmap(functools.partial(along, phi.dual))(axes[1:])
    (m11, m22), (first, second) = jax.vmap(
        functools.partial(along, slope), out_axes=((None, None), 0)
    )(axes)
    return Means(
        m11=m11,
        m20=2 * by_pq[0],
        m02=2 * by_pq[1],
        m22=m22,
        m31=2 * first[1],
        m13=2 * first[2],
        m33=second[0],
        m42=2 * second[1],
        m24=2 * second[2],
    )


@means.register
def _(phi: Scaled, c: Pairs, p: Pairs, q: Pairs) -> Means:
    return Means(*(phi.factor**2 * m for m in means(phi.function, c, p, q)))


@means.register
def _(phi: Erf, c: Pairs, p: Pairs, q: Pairs) -> Means:
    # All follow from V_11 = 2 / (pi H), H^2 = P Q - c^2.
    P, Q = p + 0.5, q + 0.5
    e = 1 / (gap(c, p, q) + (0.5 * (p + q) + 0.25))
    w = 4 / TAU * jnp.sqrt(e)
    we, ce = w * e, c * e
    steep = -3 * we * ce
    return Means(
        m11=w,
        m20=-w * c * (1 / P),
        m02=-w * c * (1 / Q),
        m22=we * c,
        m31=-we * Q,
        m13=-we * P,
        m33=we * (1 + 3 * c * ce),
        m42=steep * Q,
        m24=steep * P,
    )


@means.register
def _(phi: GELU, c: Pairs, p: Pairs, q: Pairs) -> Means:
    # phi'' = (2 - z^2) n(z) and so on: polynomials times densities, whose product is,
    # up to rho, the density of a pair with variances 1 - A, 1 - B and covariance C.
    P, Q = 1 + p, 1 + q
    e = 1 / (gap(c, p, q) + (p + q + 1))
    rho = jnp.sqrt(e) / TAU
    A, B, C = Q * e, P * e, c * e
    CC = C * C

    def m31(iP, A):
        return -rho * c * (iP * (1 + 2 * iP) + e + A * (3 * e + iP))

    def m42(A, B):
        return -rho * (A * (1 + 3 * A) * (1 + B) + 2 * CC * (1 + 6 * A))

    # The dual has forms that do not cancel.
    by_p = jax.jvp(lambda p: phi.dual(c, p, q), (p,), (jnp.ones_like(p),))[1]
    by_q = jax.jvp(lambda q: phi.dual(c, p, q), (q,), (jnp.ones_like(q),))[1]
    return Means(
        m11=phi.dual_derivative(c, p, q),
        m20=2 * by_p,
        m02=2 * by_q,
        m22=rho * ((1 + A) * (1 + B) + 2 * CC),
        m31=m31(1 / P, A),
        m13=m31(1 / Q, B),
        m33=rho * C * ((1 + 3 * A) * (1 + 3 * B) + 6 * CC),
        m42=m42(A, B),
        m24=m42(B, A),
    )
