r"""Gaussian duals in closed form, in mpmath, written unlike those of the library.

Angles are arc cosines and arc sines of correlations, which lose half of their digits
for parallel inputs; 80 digits have enough to lose. Derivatives of analytic duals are
mpmath's differences of the dual itself, so that nothing relies on Price's theorem.
"""

import math
from collections.abc import Callable, Collection

import mpmath

from widelimit.accuracy.real import Real

Orders = tuple[int, int, int]
r"""How often to differentiate by $c$, $p$ and $q$."""
Partials = Callable[[Real, Real, Real, Collection[Orders]], dict[Orders, Real]]
r"""Derivatives of $E[\phi(u)\phi(v)]$ at $(c, p, q)$; `(0, 0, 0)` is its value."""

PARALLEL = mpmath.mpf(10) ** -50  # squared sine below which it is rounding


def by_differences(dual: Callable[[Real, Real, Real], Real]) -> Partials:
    """Partial derivatives of an analytic dual by mpmath's differences.

    Args:
        dual: The dual, analytic beyond parallel inputs.

    Returns:
        Its partial derivatives.
    """

    def partials(c, p, q, orders):
        found = {}
        for order in orders:
            at = (c, p, q)
            found[order] = mpmath.diff(dual, at, order) if any(order) else dual(*at)
        return found

    return partials


def rectifier(slope: float) -> Partials:
    r"""Of $\max(z, 0) + a \min(z, 0)$: $ac + (1-a)^2 \sqrt{pq}\,\kappa(\rho)$.

    With $\rho = c / \sqrt{pq}$ and
    $2\pi\kappa = \sqrt{1-\rho^2} + \rho(\pi - \arccos\rho)$ (Cho & Saul 2009, Sec. 2).
    The chain rule is written out, since $\kappa$ ends at $|\rho| = 1$, where $\kappa''$
    is infinite.

    Args:
        slope: Slope $a$ of the negative half-line.

    Returns:
        Partial derivatives, finite up to order 2.
    """

    def partials(c, p, q, orders):
        a, size = mpmath.mpf(slope), mpmath.sqrt(p * q)
        rho = c / size
        if 1 - rho**2 < PARALLEL:
            rho = mpmath.sign(c)
        root = mpmath.sqrt(1 - rho**2)
        kappa = (root + rho * (mpmath.pi - mpmath.acos(rho))) / (2 * mpmath.pi)
        first = (mpmath.pi - mpmath.acos(rho)) / (2 * mpmath.pi)
        second = 1 / (2 * mpmath.pi * root) if root else mpmath.inf
        b = (1 - a) ** 2
        by_size = root / (4 * mpmath.pi)  # (kappa - rho * first) / 2
        known = {
            (0, 0, 0): a * c + b * size * kappa,
            (1, 0, 0): a + b * first,
            (0, 1, 0): b * mpmath.sqrt(q / p) * by_size,
            (0, 0, 1): b * mpmath.sqrt(p / q) * by_size,
            (2, 0, 0): b * second / size,
            (1, 1, 0): -b * second * rho / (2 * p),
            (1, 0, 1): -b * second * rho / (2 * q),
        }
        return {order: known.get(order, mpmath.inf) for order in orders}

    return partials


def error_function(c: Real, p: Real, q: Real) -> Real:
    """Of erf: Williams (1997), by the arc sine.

    Args:
        c: Covariance.
        p: Variance.
        q: Variance.

    Returns:
        The dual.
    """
    root = mpmath.sqrt((1 + 2 * p) * (1 + 2 * q))
    return 2 / mpmath.pi * mpmath.asin(2 * c / root)


def gelu(c: Real, p: Real, q: Real) -> Real:
    r"""Of $z\Phi(z)$, by Stein's lemma.

    With $F = E\,\Phi(u)\Phi(v) = 1/4 + \arcsin(r) / 2\pi$, $r = c / \sqrt{(1+p)(1+q)}$,

    $$E[uv\,\Phi(u)\Phi(v)] = cF + (pq + c^2) F_c + 2cp F_p + 2cq F_q.$$

    Args:
        c: Covariance.
        p: Variance.
        q: Variance.

    Returns:
        The dual.
    """
    P, Q = 1 + p, 1 + q
    r = c / mpmath.sqrt(P * Q)
    both = mpmath.mpf(1) / 4 + mpmath.asin(r) / (2 * mpmath.pi)
    by_r = 1 / (2 * mpmath.pi * mpmath.sqrt(1 - r * r))
    by_c = by_r / mpmath.sqrt(P * Q)
    by_p, by_q = -by_r * r / (2 * P), -by_r * r / (2 * Q)
    return c * both + (p * q + c * c) * by_c + 2 * c * (p * by_p + q * by_q)


def sine(a: float) -> Partials:
    r"""Of $\sin(az)$: $e^{-a^2(p+q)/2} \sinh(a^2 c)$.

    Args:
        a: Frequency.

    Returns:
        Partial derivatives.
    """
    return _wave(a, mpmath.sinh)


def cosine(a: float) -> Partials:
    r"""Of $\cos(az)$: $e^{-a^2(p+q)/2} \cosh(a^2 c)$.

    Args:
        a: Frequency.

    Returns:
        Partial derivatives.
    """
    return _wave(a, mpmath.cosh)


def _wave(a, hyperbolic):
    a2 = mpmath.mpf(a) ** 2

    def dual(c, p, q):
        return mpmath.exp(-a2 * (p + q) / 2) * hyperbolic(a2 * c)

    return by_differences(dual)


def polynomial(coefficients: tuple[float, ...]) -> Partials:
    r"""Of a polynomial: the sum of $a_i a_j E[u^i v^j]$, by Wick's pairings.

    Args:
        coefficients: Lowest power first.

    Returns:
        Partial derivatives.
    """
    a = [mpmath.mpf(x) for x in coefficients]

    def dual(c, p, q):
        total = mpmath.mpf(0)
        for i, x in enumerate(a):
            for j, y in enumerate(a):
                total += x * y * _wick(i, j, c, p, q) if x and y else 0
        return total

    return by_differences(dual)


def _wick(i, j, c, p, q):
    """E u^i v^j: choose what is paired across; the rest is paired within."""
    if (i + j) % 2:
        return mpmath.mpf(0)
    total = mpmath.mpf(0)
    for across in range(i % 2, min(i, j) + 1, 2):
        ways = math.comb(i, across) * math.comb(j, across) * math.factorial(across)
        ways *= _pairings(i - across) * _pairings(j - across)
        total += ways * c**across * p ** ((i - across) // 2) * q ** ((j - across) // 2)
    return total


def _pairings(n):
    return math.prod(range(n - 1, 0, -2))
