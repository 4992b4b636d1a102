"""Shares of successes, with their intervals."""

from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import ArrayLike

from widelimit._checks import check_count


@dataclass(frozen=True)
class Proportion:
    """A share of inputs, and what it says about the distribution they came from.

    Args:
        value: The share, between 0 and 1; NaN of no inputs.
        low: Lower end of Clopper and Pearson's 95 % interval, which covers at least so
            often for any share and any number.
        high: Its upper end.
        count: How many inputs are counted.
        total: Out of how many.
    """

    value: float
    low: float
    high: float
    count: int
    total: int

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def proportion(values: ArrayLike) -> Proportion:
    """The share of true values, with its binomial interval.

    Args:
        values: One truth value per input, drawn independently.

    Returns:
        The share and the interval; all of [0, 1] of no inputs.
    """
    flags = np.asarray(values).astype(bool).ravel()
    return proportion_of(int(flags.sum()), len(flags))


def proportion_of(count: int, total: int) -> Proportion:
    """The same from counts.

    Args:
        count: How many.
        total: Out of how many.

    Returns:
        The share and the interval.

    Raises:
        ValueError: If `count` is not between 0 and `total`.
    """
    check_count("proportion_of", "count", count, 0)
    check_count("proportion_of", "total", total, count)
    if total == 0:
        return Proportion(float("nan"), 0.0, 1.0, 0, 0)
    found = scipy.stats.binomtest(count, total).proportion_ci(method="exact")
    return Proportion(count / total, float(found.low), float(found.high), count, total)
