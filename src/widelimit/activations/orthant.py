r"""Duals of the step, the ramp and the gate, each blurred by Gaussian noise.

With $g \sim N(0, 1)$ and a blur $\tau \ge 0$ the functions are

$$\text{step: } P(z + \tau g > 0) = \Phi(z / \tau), \quad
  \text{ramp: } E\max(z + \tau g, 0), \quad \text{gate: } z\,\Phi(z / \tau),$$

so that the duals of the first two are those of the plain step and ramp at the moments
$(c, P, Q)$ with $P = p + s$, $Q = q + t$ and squared blurs $s$, $t$; that of the gate
follows by Stein's lemma. All are functions of $H = \sqrt{PQ - c^2}$ and of the angle
$\alpha = \mathrm{atan2}(H, -c)$, which is $\pi$ for equal and 0 for opposite inputs
(Cho & Saul 2009, Sec. 2, have $\theta = \pi - \alpha$).
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.arctangent import arctan2
from widelimit.activations.moments import gap, ratio

TAU = 2 * math.pi
SMALL = 0.3  # below it the series, above it the difference of t and atan(t)
SERIES = [(-1) ** k / (2 * k + 3) for k in range(14)]  # (t - atan t) / t**3 in t**2


class Blurred(NamedTuple):
    """Moments of a pair after adding independent noise to each."""

    c: Float[Array, "*#s"]
    P: Float[Array, "*#s"]
    Q: Float[Array, "*#s"]
    H: Float[Array, "*#s"]  # sqrt(P Q - c^2)


def blur(c, p, q, known, s, t) -> Blurred:
    """Moments after noise of variance `s` on the first and `t` on the second."""
    noise = (p * t + q * s) + s * t
    H = jnp.sqrt(_above(gap(c, p, q, known), noise) + noise)
    return Blurred(c, p + s, q + t, H)


def _above(known, noise):
    # Rounding can push |c| above sqrt(pq). To set the gap to zero there, but not c,
    # would be an error of the size of c / H; but H must stay real.
    return jnp.maximum(known, -0.5 * noise)


def angle(m: Blurred) -> Float[Array, "..."]:
    r"""$\alpha = 2\pi$ times the dual of the step, and $\partial_c$ of `ramp`."""
    return jnp.where(m.c > 0, math.pi - _acute(m), _acute(m))


def _acute(m: Blurred) -> Float[Array, "..."]:
    # Of the line through v, in one form for all, so that it is computed only once. No
    # `abs`, whose derivative at zero is zero.
    return arctan2(m.H, jnp.where(m.c > 0, m.c, -m.c))


def centred_angle(m: Blurred) -> Float[Array, "..."]:
    r"""$\alpha - \pi/2 = 2\pi$ times the dual of the step less one half."""
    return arctan2(m.c, m.H)


@jax.custom_jvp
def ramp(m: Blurred) -> Float[Array, "..."]:
    r"""$J = H + \alpha c$, which is $2\pi$ times the dual of the ramp.

    For nearly opposite inputs $J = |c|\,(t - \arctan t)$, $t = H / |c|$, is of order
    $t^3$ and is summed as a series.

    Args:
        m: Blurred moments; $H$ follows the others in derivatives.

    Returns:
        The scaled dual.
    """
    return bend(m) + math.pi * jnp.maximum(m.c, 0.0)


def bend(m: Blurred) -> Float[Array, "..."]:
    r"""$H - \theta |c|$ with $\theta$ the acute angle: `ramp` of opposite inputs.

    Args:
        m: Blurred moments.

    Returns:
        The difference; near zero as a series.
    """
    c = jnp.abs(m.c)
    near = m.H < SMALL * c
    t = jnp.where(near, m.H, 0.0) / jnp.where(near, c, 1.0)
    square, series = t * t, jnp.zeros_like(t)
    for a in reversed(SERIES):
        series = series * square + a
    return jnp.where(near, m.H * square * series, m.H - _acute(m) * c)


@ramp.defjvp
def _ramp_jvp(primals, tangents):
    # Price: the derivatives by p and q are means of a point mass at zero and the ramp.
    (m,), (d,) = primals, tangents
    by_c, H = polar(angle, m)
    return ramp(m), by_c * d.c + ratio(H, 2 * m.P) * d.P + ratio(H, 2 * m.Q) * d.Q


@jax.custom_jvp
def centred_ramp(m: Blurred) -> Float[Array, "..."]:
    r"""$H + (\alpha - \pi/2)\,c$: `ramp` less its odd part, a sum of two positives.

    Args:
        m: Blurred moments; $H$ follows the others in derivatives.

    Returns:
        The scaled even part of the dual, whose $\partial_c$ is `centred_angle`.
    """
    return m.H + centred_angle(m) * m.c


@centred_ramp.defjvp
def _centred_ramp_jvp(primals, tangents):
    (m,), (d,) = primals, tangents
    by_c, H = polar(centred_angle, m)
    slope = by_c * d.c + ratio(H, 2 * m.P) * d.P + ratio(H, 2 * m.Q) * d.Q
    return centred_ramp(m), slope


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def polar(function, m: Blurred) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""An angle and the height, with derivatives that go to pieces together.

    $$\dot\alpha = \frac1H \Bigl(\dot c
      - \frac c2 \Bigl(\frac{\dot P}P + \frac{\dot Q}Q\Bigr)\Bigr), \quad
      \dot H = \frac H2 \Bigl(\frac{\dot P}P + \frac{\dot Q}Q\Bigr)
      - c\,\dot\alpha.$$

    Second derivatives of a ramp's dual are sums of products with $\dot\alpha$ that
    cancel as $H \to 0$. So do its rounding errors, as it is formed only once.

    Args:
        function: `angle` or `centred_angle`.
        m: Blurred moments; $H$ follows the others in derivatives.

    Returns:
        The angle and $H$; both derivatives are zero where $H$ is a rounding error.
    """
    return function(m), m.H


@polar.defjvp
def _polar_jvp(function, primals, tangents):
    (m,), (d,) = primals, tangents
    growth = 0.5 * (ratio(d.P, m.P) + ratio(d.Q, m.Q))
    apart = m.H > jnp.finfo(m.H.dtype).eps * (jnp.sqrt(m.P) * jnp.sqrt(m.Q))
    turn = jnp.where(apart, (d.c - m.c * growth) / jnp.where(apart, m.H, 1.0), 0.0)
    return polar(function, m), (turn, m.H * growth - m.c * turn)


@jax.custom_jvp
def gate(c, p, q, known, s, t) -> Float[Array, "..."]:
    r"""$2\pi$ times the dual of the gate with squared blurs $s, t > 0$.

    Two forms of one function, with $g = pq - c^2$:

    $$c\,\alpha + \frac{g + c^2 (s/P + t/Q)}{H}
      = J + \frac{st}{H} - H \left(\frac sP + \frac tQ\right).$$

    The first has no cancellation for $c > 0$ and for small variances, the second none
    for opposite inputs of large variance.

    Args:
        c: Covariance before the blur.
        p: Variance before the blur.
        q: Variance before the blur.
        known: $g$.
        s: Squared blur of the first.
        t: Squared blur of the second.

    Returns:
        The scaled dual.
    """
    m = blur(c, p, q, known, s, t)
    known = _above(known, (p * t + q * s) + s * t)
    share = s / m.P + t / m.Q
    small = c * angle(m) * m.H + (known + c * c * share)
    large = ramp(m) * m.H + s * t - m.H * m.H * share
    return jnp.where(m.H < -c, large, small) / m.H  # last, so that it is computed once


@gate.defjvp
def _gate_jvp(primals, tangents):
    c, p, q, known, s, t = primals
    dc, dp, dq, *_ = tangents  # the blurs are constants
    by_c = gate_derivative(c, p, q, known, s, t)
    by_p = _gate_by_p(c, p, q, known, s, t)
    by_q = _gate_by_p(c, q, p, known, t, s)
    return gate(*primals), by_c * dc + by_p * dp + by_q * dq


def gate_derivative(c, p, q, known, s, t) -> Float[Array, "..."]:
    r"""$\partial_c$ of `gate`: $\alpha + (c/H)\,(st/H^2 + s/P + t/Q)$.

    As a sum, which keeps its digits when it is differentiated again. The barrier makes
    the compiler compute the angle once, not again in every loop that uses it.

    Args:
        c: As in `gate`.
        p: As in `gate`.
        q: As in `gate`.
        known: As in `gate`.
        s: As in `gate`.
        t: As in `gate`.

    Returns:
        The derivative.
    """
    m = blur(c, p, q, known, s, t)
    share = s * t / (m.H * m.H) + s / m.P + t / m.Q
    return jax.lax.optimization_barrier(angle(m)) + c / m.H * share


def _gate_by_p(c, p, q, known, s, t):
    """Derivative by `p`, of the form of `gate` that does not cancel."""
    m = blur(c, p, q, known, s, t)
    share, H2 = s / m.P + t / m.Q, m.H * m.H
    small = q - c * c / m.P * (0.5 + s / m.P)
    small = small - (known + c * c * share) * m.Q / (2 * H2)
    large = H2 / m.P * (0.5 + s / m.P) - (s * t / H2 + share) * m.Q / 2
    return jnp.where(m.H < jnp.abs(c), large, small) / m.H
