"""Tails and terms that several lemmas share."""

import math

import scipy.integrate
import scipy.special
import scipy.stats


def at_most(mean: float, tail: float, most: float) -> float:
    r"""What a sum of independent indicators exceeds with probability $e^{-t}$ at most.

    Bernstein's inequality, $\mu + \sqrt{2 \mu t + t^2 / 9} + t / 3$.

    Args:
        mean: $\mu$, or more than it.
        tail: $t$.
        most: How many indicators there are.

    Returns:
        The number, no larger than `most`.
    """
    return min(most, mean + math.sqrt(2 * mean * tail + tail**2 / 9) + tail / 3)


def near_probability(radius: float) -> float:
    """Probability that a standard Gaussian is within `radius` of zero."""
    return math.erf(radius / math.sqrt(2))


def possible_probability(features: int, radius: float, delta: float) -> float:
    r"""Probability that a unit can change sign, in its weights and the input at once.

    A unit $w$ is less than $V$ from some hyperplane whose normal is within the angle
    $\alpha = \arcsin R$ of a unit vector $x$ iff $|p| \cos\alpha - q \sin\alpha < V$,
    where $p$ is the part of $w$ along $x$ and $q \ge 0$ the length of the rest. For a
    Gaussian $w$ these are independent, $p \sim N(0, 1)$ and $q \sim \chi_{d-1}$.

    Args:
        features: $d$.
        radius: $V$.
        delta: $R < 1$, for inputs of unit norm.

    Returns:
        The probability, by quadrature over $q$.
    """
    if features == 1 or delta == 0:  # on a line no perturbation turns the input
        return near_probability(radius)
    scale = math.sqrt(2 * (1 - delta**2))
    middle = math.sqrt(features - 1)
    found = scipy.integrate.quad(
        lambda q: (
            scipy.special.erf((radius + q * delta) / scale)
            * scipy.stats.chi.pdf(q, features - 1)
        ),
        max(0.0, middle - 12),
        middle + 12,
        epsabs=0,
        epsrel=1e-10,
        limit=200,
        points=[middle],
    )
    return float(min(found[0], 1.0))


def possible_probability_bound(features: float, radius: float, delta: float) -> float:
    """No less than `possible_probability`: `erf` is concave, the mean of q small."""
    moved = radius + math.sqrt(max(features - 1, 0)) * delta
    return math.erf(moved / math.sqrt(2 * (1 - delta**2)))


def fourth_root(d: float, delta: float) -> float:
    r"""$(4 R \sqrt{\log d})^{1/4}$ of Lemmas B.8 and B.9."""
    return (4 * delta * math.sqrt(math.log(d))) ** 0.25


def uniform_terms(
    m: float, d: float, c_0: float, gamma: float
) -> tuple[float, float, float]:
    """The terms of Lemma B.8 that do not depend on the direction."""
    tail = math.log(4 / gamma)
    size = math.sqrt(d + 4 * math.sqrt(d * math.log(8 * m / gamma)))
    first = 3 * math.sqrt((c_0 + math.sqrt(tail / 2)) / math.sqrt(m)) * size
    return (
        first,
        5 * (c_0 + math.sqrt(tail)),
        math.sqrt(math.log(4 * m / gamma)) + 3,
    )


def any_units(m: float, k_0: float, k_1: float, root: float, tail: float) -> float:
    """Norm of a sum over units that may be chosen with the weights in view."""
    # The coefficients have norm at most the sum of the roots, and every `k` columns of
    # a Gaussian matrix with `root**2` rows have a bounded operator norm.
    k = min(m, k_0 + k_1)
    subsets = k * (1 + math.log(m / k))  # the logarithm of their number, at most
    norm = math.sqrt(k) + root + math.sqrt(2 * (subsets + tail))
    return (math.sqrt(k_0) + math.sqrt(k_1)) / math.sqrt(m) * norm
