r"""Means of smooth even functions of a Gaussian pair, by Mehler's series in mpmath.

$$E[f^{(i)}(u)\,f^{(j)}(v)] = \sum_k \frac{\rho^k}{p^{i/2} q^{j/2}}
  \sqrt{(k+1)_i\,(k+1)_j}\; b_{k+i}(p)\, b_{k+j}(q), \quad \rho = c/\sqrt{pq},$$

with $b_k(p) = E\,f(\sqrt p z) h_k(z)$ for orthonormal Hermite polynomials $h_k$. If $f$
is analytic for $|\mathrm{Im}\,z| < \pi$, terms fall like $\exp(-2\pi\sqrt{k/p})$: this
is the reference for small variances.
"""

import functools
import math
from collections.abc import Callable, Iterable

import mpmath

from widelimit.accuracy.fixed_point import fixed, floating, mul
from widelimit.accuracy.real import Real

NATS = 50 * math.log(10)  # the series is cut at 50 digits

Function = Callable[[Real], Real]
Orders = tuple[int, int]


def pair_means(
    f: Function, orders: Iterable[Orders], c: Real, p: Real, q: Real
) -> dict[Orders, Real]:
    r"""$E[f^{(i)}(u)\,f^{(j)}(v)]$ for pairs $(i, j)$ of orders.

    Args:
        f: Even function, analytic for $|\mathrm{Im}\,z| < \pi$.
        orders: Orders of the derivatives, both even or both odd, at most 4.
        c: Covariance.
        p: Variance of $u$.
        q: Variance of $v$.

    Returns:
        The means.
    """
    # The margins cover the powers of k / p that fourth derivatives bring.
    terms = 50 + math.ceil(float(max(p, q)) * ((NATS + 25) / (2 * math.pi)) ** 2)
    a, b = (coefficients(f, variance, terms + 4) for variance in (p, q))
    rho = c / mpmath.sqrt(p * q)
    means = {}
    for i, j in orders:
        total = mpmath.mpf(0)
        for k in range(i % 2, terms, 2):
            rising = math.prod(range(k + 1, k + i + 1))
            rising *= math.prod(range(k + 1, k + j + 1))
            total += rho**k * mpmath.sqrt(rising) * a[k + i] * b[k + j]
        means[i, j] = total / (mpmath.sqrt(p) ** i * mpmath.sqrt(q) ** j)
    return means


@functools.lru_cache(maxsize=1000)
def coefficients(f: Function, q: Real, terms: int) -> list[Real]:
    r"""$b_k(q)$ for $k$ below `terms`, by the trapezoidal rule.

    The integrand falls like $\exp(-z^2/4)$, and the step resolves its frequencies.

    Args:
        f: Even function.
        q: Variance.
        terms: Number of coefficients.

    Returns:
        The coefficients; every other one is zero.
    """
    highest = 2 * math.sqrt(terms) + 25 + NATS * math.sqrt(q) / math.pi
    step = mpmath.mpf(2 * math.pi / highest)
    count = math.ceil(2 * math.sqrt(NATS) / step)
    nodes = [(n + mpmath.mpf(1) / 2) * step for n in range(count)]
    z, deviation = fixed(nodes), mpmath.sqrt(q)
    values = fixed(f(deviation * z) for z in nodes)
    now = fixed(2 * step * mpmath.npdf(z) for z in nodes)  # both halves of the line
    before, found = 0 * now, []
    for k in range(terms):
        found.append(floating(mul(now, values).sum()) if k % 2 == 0 else 0)
        root, over = fixed([mpmath.sqrt(k), 1 / mpmath.sqrt(k + 1)])
        before, now = now, mul(mul(z, now) - mul(root, before), over)
    return found
