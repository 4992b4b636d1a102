r"""Derivatives of covariances behind a rectifier, where they are infinite one by one.

With $h = \sqrt{pq - c^2}$ and $\kappa = (1-a)^2 / 2\pi$ the rectifier's dual has
$V_{cc} = \kappa / h$, $V_{pq} = \kappa / 4h$, $V_{cp} = -\kappa c / 2ph$ and
$V_{cq} = -\kappa c / 2qh$. All are infinite for parallel pairs, but along any movement
of the two inputs they add up to

$$\frac\kappa h X Y + \frac{\kappa h}{4pq}\,\dot p\,q', \quad
  X = \dot c - \frac{c}{2p} \dot p, \quad Y = c' - \frac{c}{2q} q',$$

with dots for the first input and primes for the second. $X$ and $Y$ are $-h$ times the
derivatives of the angle, so that the sum is finite and goes to zero with $h$.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations import AbstractActivation, Scaled
from widelimit.activations.moments import height as height_of
from widelimit.activations.orthant import TAU
from widelimit.activations.rectifier import AbstractRectifier
from widelimit.kernels.jacobian.partials import AnyPartials, grid
from widelimit.layers import Moments


def rectified(
    phi: AbstractActivation,
    m: Moments,
    c: AnyPartials,
    p: Float[Array, "n 1"],
    q: Float[Array, "1 m"],
) -> AnyPartials:
    """Derivatives of the covariance behind a rectifier.

    Args:
        phi: The rectifier, or a multiple of one.
        m: Moments in front of it.
        c: Derivatives of their covariance, along directions in which inputs can move.
        p: Slope of the first variance in direction 1.
        q: Slope of the second variance in direction 1'.

    Returns:
        The derivatives.

    Raises:
        ValueError: If the activation has kinks and is no rectifier.
    """
    slope, weight = _slope_and_weight(phi)
    kappa = weight * (1 - slope) ** 2 / TAU
    P, Q = m.variances()
    h = height_of(m.cross, P, Q, m.height)
    size = jnp.sqrt(P) * jnp.sqrt(Q)
    apart = h > jnp.finfo(h.dtype).eps * size  # below, X and Y are rounding errors
    over_h = jnp.where(apart, kappa / jnp.where(apart, h, 1.0), 0.0)
    by_c = phi.dual_derivative(m.cross, P, Q, m.height)
    by_p, by_q = (_ratio(kappa * h, 2 * v) for v in (P, Q))
    half_p, half_q = (_ratio(m.cross, 2 * v) for v in (P, Q))
    X = c.x[0] - half_p * p, c.x[1]
    Y = c.y[0] - half_q * q, c.y[1]

    def mixed(i: int, j: int) -> Array:
        total = by_c * c.xy[i][j] + over_h * X[i] * Y[j]
        if i or j:
            return total
        return total + _ratio(kappa * h, 4 * P * Q) * p * q

    return c.of(
        (by_c * c.x[0] + by_p * p, by_c * c.x[1]),
        (by_c * c.y[0] + by_q * q, by_c * c.y[1]),
        grid(mixed),
        None if c.across is None else by_c * c.across,
    )


def _slope_and_weight(phi: AbstractActivation) -> tuple[float, float]:
    if isinstance(phi, Scaled):
        slope, weight = _slope_and_weight(phi.function)
        return slope, weight * phi.factor**2
    if isinstance(phi, AbstractRectifier):
        return phi.slope, 1.0
    raise ValueError(
        "`jacobian_kernel` needs activations that are smooth or piecewise linear with "
        f"one kink at zero. Got `{phi}`. Derive it from `AbstractRectifier`, or "
        "declare it smooth if it is."
    )


def _ratio(x, y):
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1.0), 0.0)
