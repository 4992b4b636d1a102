r"""Gaussian means of derivatives of an activation, up to the fourth.

With $V_{ij} = E[\phi^{(i)}(u)\,\phi^{(j)}(v)]$, Price's theorem gives
$\partial_c V_{ij} = V_{i+1,j+1}$, $\partial_p V_{ij} = \tfrac12 V_{i+2,j}$ and
$\partial_q V_{ij} = \tfrac12 V_{i,j+2}$, so that ten means hold the dual $V_{00}$ and
$V_{11}$ with all their first and mixed second derivatives.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations import GELU, AbstractActivation, Erf, Scaled
from widelimit.activations.orthant import TAU, blur, centred_angle
from widelimit.kernels.jacobian.partials import Second

Pairs = Float[Array, "*#s"]


class Means(NamedTuple):
    r"""$V_{ij}$ by its two indices."""

    m00: Pairs
    m11: Pairs
    m20: Pairs
    m02: Pairs
    m22: Pairs
    m31: Pairs
    m13: Pairs
    m33: Pairs
    m42: Pairs
    m24: Pairs

    def dual(self) -> Second:
        """The dual $V_{00}$ with its derivatives."""
        m = self
        return Second(
            m.m00, m.m11, m.m20 / 2, m.m02 / 2, m.m22, m.m31 / 2, m.m13 / 2, m.m22 / 4
        )

    def dual_derivative(self) -> Second:
        """$V_{11}$ with its derivatives."""
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

    m00, by_pq = jax.vmap(functools.partial(along, phi.dual), out_axes=(None, 0))(
        axes[1:]
    )
    (m11, m22), (first, second) = jax.vmap(
        functools.partial(along, slope), out_axes=((None, None), 0)
    )(axes)
    return Means(
        m00=m00,
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
    blurred = blur(c, p, q, None, 0.5, 0.5)
    P, Q, root = blurred.P, blurred.Q, 1 / blurred.H
    e, w = root * root, 4 / TAU * root
    we, ce = w * e, c * e
    steep = -3 * we * ce
    return Means(
        m00=4 / TAU * centred_angle(blurred),
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
    blurred = blur(c, p, q, None, 1.0, 1.0)
    P, Q, root = blurred.P, blurred.Q, 1 / blurred.H
    e, rho = root * root, root / TAU
    A, B, C = Q * e, P * e, c * e
    CC = C * C

    def m31(iP, A):
        return -rho * c * (iP * (1 + 2 * iP) + e + A * (3 * e + iP))

    def m42(A, B):
        return -rho * (A * (1 + 3 * A) * (1 + B) + 2 * CC * (1 + 6 * A))

    # The dual has forms that do not cancel.
    m00, push = jax.linearize(functools.partial(phi.dual, c), p, q)
    ones, still = ([f(z) for z in (p, q)] for f in (jnp.ones_like, jnp.zeros_like))
    return Means(
        m00=m00,
        m11=phi.dual_derivative(c, p, q),
        m20=2 * push(ones[0], still[1]),
        m02=2 * push(still[0], ones[1]),
        m22=rho * ((1 + A) * (1 + B) + 2 * CC),
        m31=m31(1 / P, A),
        m13=m31(1 / Q, B),
        m33=rho * C * ((1 + 3 * A) * (1 + 3 * B) + 6 * CC),
        m42=m42(A, B),
        m24=m42(B, A),
    )
