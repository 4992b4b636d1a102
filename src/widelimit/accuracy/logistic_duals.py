r"""Duals of tanh, sigmoid, softplus and SiLU in mpmath: linear parts and even cores.

With $L(z) = \log(2\cosh(z/2))$ and $M(z) = z \tanh(z/2) / 2$, both even,

$$\mathrm{softplus} = z/2 + L, \quad \sigma = 1/2 + L', \quad
  \tanh z = 2L'(2z), \quad \mathrm{SiLU} = z/2 + M,$$

and parts of different parity do not mix. Narrow pairs take a Hermite series, wide ones
a Fourier integral; where both serve, they agree to 45 digits.
"""

import functools
from collections.abc import Callable, Collection

import mpmath

from widelimit.accuracy import fourier_integral, hermite_series
from widelimit.accuracy.closed_forms import Orders, Partials
from widelimit.accuracy.real import Real

Means = dict[tuple[int, int], Real]
EVEN = ((0, 0), (2, 0), (0, 2), (2, 2), (4, 2), (2, 4), (4, 4))
ODD = ((1, 1), (3, 1), (1, 3), (3, 3))
WIDE = 0.5  # variances from which the Fourier integral is quicker


def softplus_core(z: Real) -> Real:
    r"""$L(z) = \log(2\cosh(z/2))$.

    Args:
        z: Argument.

    Returns:
        The value.
    """
    return abs(z) / 2 + mpmath.log1p(mpmath.exp(-abs(z)))


def silu_core(z: Real) -> Real:
    r"""$M(z) = z \tanh(z/2) / 2$.

    Args:
        z: Argument.

    Returns:
        The value.
    """
    return z * mpmath.tanh(z / 2) / 2


CORES = {
    "softplus": (softplus_core, fourier_integral.softplus_transform),
    "silu": (silu_core, fourier_integral.silu_transform),
}


@functools.lru_cache(maxsize=1000)
def core_means(core: str, c: Real, p: Real, q: Real) -> Means:
    r"""$E[f^{(i)}(u) f^{(j)}(v)]$ for the core $f$ of softplus or of SiLU.

    Args:
        core: `"softplus"` or `"silu"`.
        c: Covariance.
        p: Variance.
        q: Variance.

    Returns:
        The means for the orders $(i, j)$ of `EVEN` and `ODD`.
    """
    function, transform = CORES[core]
    if max(p, q) < WIDE:
        means = hermite_series.pair_means(function, EVEN + ODD, c, p, q)
    else:
        means = fourier_integral.pair_means(transform, EVEN + ODD, c, p, q)
    # Odd derivatives of independent variables have the mean zero, without rounding.
    return {o: 0 * m if c == 0 and o[0] % 2 else m for o, m in means.items()}


def _with_core(
    core: str, derivative: int, stretch: int, rest: Callable[[Real], Means]
) -> Partials:
    # Of b^r f^(r)(bz), with r = `derivative` and b = `stretch`, and a part of the other
    # parity, whose means `rest` are filed under the orders of the core.
    def partials(c, p, q, orders: Collection[Orders]):
        means = core_means(core, *(stretch**2 * x for x in (c, p, q)))
        found = {}
        for a, by_p, by_q in orders:
            at = (a + 2 * by_p + derivative, a + 2 * by_q + derivative)
            value = mpmath.mpf(stretch) ** sum(at) * means[at] + rest(c).get(at, 0)
            found[a, by_p, by_q] = value / 2 ** (by_p + by_q)  # Price's theorem
        return found

    return partials


def _line(c):
    """Means of z / 2 and of its derivative."""
    return {(0, 0): c / 4, (1, 1): mpmath.mpf(1) / 4}


softplus = _with_core("softplus", 0, 1, _line)
silu = _with_core("silu", 0, 1, _line)
sigmoid = _with_core("softplus", 1, 1, lambda c: {(1, 1): mpmath.mpf(1) / 4})
tanh = _with_core("softplus", 1, 2, lambda c: {})
