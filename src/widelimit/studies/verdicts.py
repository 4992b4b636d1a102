"""From measurements to verdicts: one statistic per seed, one interval, one answer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, judged on our measurements.

    Args:
        name: Short identifier, with the scope in brackets.
        statement: The claim in words.
        statistic: What was measured; positive where it speaks for the claim.
        uncertainty: Half-width of its 95 % interval.
        holds: `True` (holds), `False` (does not hold) or `None` (undecided).
        detail: What the statistic is, and where it is weakest.
        scope: The part of the grid that the claim is judged on.
    """

    name: str
    statement: str
    statistic: float
    uncertainty: float
    holds: bool | None
    detail: str = ""
    scope: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`holds`, `does not hold` or `undecided`."""
        return {True: "holds", False: "does not hold", None: "undecided"}[self.holds]

    def to_dict(self) -> dict[str, Any]:
        """The claim as JSON data; numbers that are not finite become null."""
        return {
            "name": self.name,
            "statement": self.statement,
            "statistic": _finite(self.statistic),
            "uncertainty": _finite(self.uncertainty),
            "holds": self.holds,
            "verdict": self.verdict,
            "detail": self.detail,
            "scope": dict(self.scope),
        }


@dataclass(frozen=True)
class Interval:
    """Mean over seeds and the half-width of its interval."""

    mean: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


def interval(values: Sequence[float] | np.ndarray, *, tests: int = 1) -> Interval:
    """Student's interval for the mean of one statistic per seed, two-sided, 95 %.

    Seeds are independent, whatever they share within; so the statistic may compare
    points of the grid that used the same seed. The data set is held fixed.

    Args:
        values: The statistic of every seed; NaN for a seed that diverged.
        tests: Number of intervals that must hold together (Bonferroni's correction).

    Returns:
        Mean and half-width; the half-width is infinite with fewer than two seeds.
    """
    kept = np.asarray(values, dtype=float)
    kept = kept[np.isfinite(kept)]
    if len(kept) == 0:
        return Interval(math.nan, math.inf)
    if len(kept) == 1:
        return Interval(float(kept[0]), math.inf)
    quantile = stats.t.ppf(1 - (1 - LEVEL) / (2 * tests), len(kept) - 1)
    error = kept.std(ddof=1) / math.sqrt(len(kept))
    return Interval(float(kept.mean()), float(quantile * error))


def judge(statistic: Interval) -> bool | None:
    """Whether the statistic is positive: `None` when its interval contains zero."""
    if not math.isfinite(statistic.mean) or math.isinf(statistic.half_width):
        return None
    return True if statistic.low > 0 else False if statistic.high < 0 else None


def every(groups: Mapping[Any, np.ndarray]) -> tuple[Interval, bool | None, Any]:
    """Judges that a statistic is positive in *every* group.

    It holds if each group's own 95 % interval lies above zero (an intersection-union
    test, which needs no correction). It does not hold if some group's interval,
    widened for the number of groups, lies below.

    Args:
        groups: The statistic of every seed, by group.

    Returns:
        The interval of the weakest group (the lowest lower end), the answer, and the
        weakest group's name.
    """
    own = {name: interval(values) for name, values in groups.items()}
    lows = {name: i.low if np.isfinite(i.low) else -math.inf for name, i in own.items()}
    weakest = min(lows, key=lambda name: lows[name])
    wide = [interval(values, tests=len(groups)) for values in groups.values()]
    if all(judge(i) is True for i in own.values()):
        return own[weakest], True, weakest
    if any(judge(i) is False for i in wide):
        refuting = min(own, key=lambda name: own[name].high)
        return own[refuting], False, refuting
    return own[weakest], None, weakest


def slopes(values: np.ndarray, positions: Sequence[float] | np.ndarray) -> np.ndarray:
    """Least-squares slope of every row of `values` against `positions`.

    Args:
        values: One row per seed, one column per position.
        positions: Where the columns stand.

    Returns:
        One slope per seed; NaN for a row with a value that is not finite.
    """
    x = np.asarray(positions, dtype=float)
    x = x - x.mean()
    return np.asarray(values, dtype=float) @ x / np.sum(x**2)


def rises_then_falls(values: np.ndarray) -> tuple[Interval, bool | None, int]:
    """Judges that curves rise to a peak inside the range and fall after it.

    For each inner column the evidence is the smaller of two differences: column less
    first, and column less last. The claim holds if for some inner column both are
    positive (intervals corrected for the number of inner columns, which are searched);
    it does not hold if every inner column has a difference whose interval, corrected
    alike, lies below zero: a curve that significantly only rises, only falls, or dips.

    Args:
        values: One row per seed, one column per position, at least three columns;
            logarithms, for ratios.

    Returns:
        The interval of the best inner column's smaller difference, the answer, and the
        index of that column.
    """
    inner = range(1, values.shape[1] - 1)

    def smaller(column: int) -> Interval:
        sides = (values[:, column] - values[:, 0], values[:, column] - values[:, -1])
        both = [interval(side, tests=len(inner)) for side in sides]
        return min(both, key=lambda i: i.low if np.isfinite(i.low) else -math.inf)

    evidence = {column: smaller(column) for column in inner}
    best = max(
        evidence,
        key=lambda c: evidence[c].low if np.isfinite(evidence[c].low) else -math.inf,
    )
    if judge(evidence[best]) is True:
        return evidence[best], True, best
    refuted = all(
        any(
            judge(interval(side, tests=len(inner))) is False
            for side in (
                values[:, column] - values[:, 0],
                values[:, column] - values[:, -1],
            )
        )
        for column in inner
    )
    return evidence[best], False if refuted else None, best


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
