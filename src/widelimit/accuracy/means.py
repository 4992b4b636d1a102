r"""Gaussian means $E\,\phi(v)$ in mpmath, by integration of $\phi$ itself."""

from collections.abc import Callable

import mpmath

from widelimit.accuracy.real import Real


def mean(phi: Callable[[Real], Real], q: Real) -> tuple[Real, Real]:
    r"""$E\,\phi(v)$ for $v \sim N(0, q)$, and its derivative by $q$.

    The trapezoidal rule in $t$ with $|v| = \sqrt q\,\exp(t - e^{-t})$, which falls
    doubly exponentially on either side; a kink at zero does not count. The derivative
    is the mean of $\phi(v) (v^2 - q) / 2q^2$, from that of the density.

    Args:
        phi: A function that is analytic on either side of zero, and does not oscillate.
        q: Variance.

    Returns:
        The mean and the derivative; rounded to zero where 40 digits have cancelled.
    """
    deviation: Real = mpmath.sqrt(q)
    # Where v is about 1, poles of phi come closer as the deviation grows.
    step = 1 / (25 * (1 + mpmath.log(max(deviation, 1))))
    value = slope = size = mpmath.mpf(0)
    t = mpmath.mpf(3)  # 17 deviations
    while t > -5:  # less than 1e-60 of one
        z = mpmath.exp(t - mpmath.exp(-t))
        weight = step * z * (1 + mpmath.exp(-t)) * mpmath.npdf(z)
        right, left = weight * phi(deviation * z), weight * phi(-deviation * z)
        value += right + left
        slope += (right + left) * (z * z - 1)
        size += abs(right) + abs(left)
        t -= step
    slope, least = slope / (2 * q), size * mpmath.mpf(10) ** -40
    value = value if abs(value) > least else mpmath.mpf(0)
    return value, slope if abs(slope) > least / q else mpmath.mpf(0)
