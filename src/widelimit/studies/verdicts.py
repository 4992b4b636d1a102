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

    @property
    def measured(self) -> str:
        """The statistic with its interval, as text."""
        return str(Interval(self.statistic, self.uncertainty))

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

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "not measured"
        if not math.isfinite(self.half_width):
            return f"{self.mean:.3g}, no interval"
        return f"{self.mean:.3g} ± {self.half_width:.2g}"


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


@dataclass(frozen=True)
class ShareInterval:
    """Mean of shares over seeds, and both ends of its interval, which is not symmetric.

    Attributes:
        mean: The mean.
        low: Lower end, 0 at least; minus infinity with fewer than two seeds.
        high: Upper end, 1 at most; infinity with fewer than two seeds.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "not measured"
        if not math.isfinite(self.low):
            return f"{self.mean:.2%}, no interval"
        return f"{self.mean:.2%} ({self.low:.2%} to {self.high:.2%})"


def share_interval(values: Sequence[float] | np.ndarray) -> ShareInterval:
    r"""Wilson's interval for the mean of one share per seed, inside [0, 1], 95 %.

    The standard error $s$ over seeds says how many independent trials a share $p$ is
    worth, $n = p (1 - p) / s^2$. Wilson's interval for that number holds every $\pi$
    with $(p - \pi)^2 \le t^2\,\pi (1 - \pi) / n$, where $t$ is Student's quantile as
    in `interval`; far from 0 and 1 the two agree.

    Args:
        values: The share of every seed; NaN for a seed that diverged.

    Returns:
        Mean and ends; a single point where all seeds have the same share.

    References:
        Wilson (1927), J. Am. Stat. Assoc. 22; with such an effective n, Dean & Pagano
        (2015), J. Surv. Stat. Methodol. 3
    """
    found = interval(values)
    p, q = found.mean, found.half_width
    if not (math.isfinite(p) and math.isfinite(q)):
        return ShareInterval(p, -math.inf, math.inf)
    if q == 0:
        return ShareInterval(p, p, p)
    w = q**2 / (p * (1 - p))  # t^2 / n
    middle, half = p + w / 2, math.sqrt(q**2 + w**2 / 4)
    low, high = (middle - half) / (1 + w), (middle + half) / (1 + w)
    return ShareInterval(p, max(low, 0.0), min(high, 1.0))  # but for rounding


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
        The interval of the group that decides, the answer, and that group's name. The
        group that refutes is the one with the lowest widened interval; otherwise it is
        the weakest, whose own interval reaches lowest.
    """
    wide = {n: interval(values, tests=len(groups)) for n, values in groups.items()}
    refuting = min(wide, key=lambda name: _high(wide[name]))
    if judge(wide[refuting]) is False:
        return wide[refuting], False, refuting
    own = {name: interval(values) for name, values in groups.items()}
    weakest = min(own, key=lambda name: _low(own[name]))
    return own[weakest], judge(own[weakest]) or None, weakest


def every_seed(values: np.ndarray) -> tuple[Interval, bool | None]:
    """Judges that a statistic is positive for *every* seed.

    Args:
        values: The statistic of every seed; NaN for a seed that diverged.

    Returns:
        The interval of its mean, and the answer, which is open where the mean is
        positive and some seed is not.
    """
    found = interval(values)
    if found.low > 0:
        return found, True if (values > 0).all() else None
    return found, False if found.high < 0 else None


def claim_of_every(
    name: str,
    statement: str,
    groups: Mapping[Any, np.ndarray],
    *,
    detail: str,
    scope: Mapping[str, Any],
) -> Claim:
    """The claim that a statistic is positive in every group, as `every` judges it.

    Args:
        name: As of the claim, like the others.
        statement: The claim in words.
        groups: The statistic of every seed, by group.
        detail: What the statistic is.
        scope: The part of the grid that the claim is judged on.

    Returns:
        The claim, with the interval of the group that decides.
    """
    found, holds, _ = every(groups)
    return Claim(
        name, statement, found.mean, found.half_width, holds, detail=detail, scope=scope
    )


def within(
    differences: Sequence[float] | np.ndarray, margin: float
) -> tuple[Interval, bool | None]:
    """Judges that a mean difference lies between `-margin` and `margin`.

    Two one-sided statistics, the room left on either side; `every` judges them. So it
    holds if both ends of the 95 % interval of the difference lie inside, and not only
    if a difference could not be found.

    Args:
        differences: The difference of every seed; NaN for a seed that diverged.
        margin: The largest difference that counts as none, in their units.

    Returns:
        The interval of the room on the side that decides, and the answer.
    """
    values = np.asarray(differences, dtype=float)
    found, holds, _ = every({"below": margin + values, "above": margin - values})
    return found, holds


def log2(values: np.ndarray) -> np.ndarray:
    """Base-2 logarithm of ratios, quiet where a value is zero or missing.

    Args:
        values: Not negative, such as stabilities; NaN for a seed that diverged.

    Returns:
        The logarithms; what is not finite is left out by `interval`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(np.asarray(values, dtype=float))


def mean_of(values: np.ndarray) -> float:
    """Mean of the finite values; NaN, and no warning, without any.

    Args:
        values: Any shape.

    Returns:
        The mean.
    """
    kept = np.asarray(values, dtype=float)
    kept = kept[np.isfinite(kept)]
    return float(kept.mean()) if len(kept) else math.nan


def slopes(values: np.ndarray, positions: Sequence[float] | np.ndarray) -> np.ndarray:
    """Least-squares slope of every row of `values` against `positions`.

    Args:
        values: One row per seed, one column per position.
        positions: Where the columns stand.

    Returns:
        One slope per seed; NaN for a row with a value that is not finite, and with
        fewer than two positions.
    """
    rows, x = np.asarray(values, dtype=float), np.asarray(positions, dtype=float)
    if len(x) < 2:
        return np.full(len(rows), math.nan)
    rows = np.where(np.isfinite(rows), rows, math.nan)
    x = x - x.mean()
    return rows @ x / np.sum(x**2)


def explained(
    values: np.ndarray, positions: Sequence[float] | np.ndarray
) -> np.ndarray:
    r"""$R^2$ of the least-squares line through every row of `values`.

    Args:
        values: One row per seed, one column per position.
        positions: Where the columns stand.

    Returns:
        The share of the variance that the line explains, from 0 to 1; NaN for a row
        that is constant or has a value that is not finite, and with fewer than three
        positions.
    """
    rows, x = np.asarray(values, dtype=float), np.asarray(positions, dtype=float)
    if len(x) < 3:
        return np.full(len(rows), math.nan)
    rows = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, math.nan)
    x, rows = x - x.mean(), rows - rows.mean(axis=1, keepdims=True)
    whole = np.sum(rows**2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (rows @ x) ** 2 / (whole * np.sum(x**2))


def rises_then_falls(values: np.ndarray) -> tuple[Interval, bool | None, int | None]:
    """Judges that curves rise to a peak inside the range and fall after it.

    For each inner column there are two differences: column less first, and column less
    last, with intervals corrected for the number of inner columns, which are searched.
    The claim holds if for some inner column both intervals lie above zero. It does not
    hold if every inner column has one that lies below: a curve that significantly only
    rises, only falls, or dips.

    Args:
        values: One row per seed, one column per position; logarithms, for ratios.

    Returns:
        The interval that decides, the answer, and the index of its inner column, the
        one that speaks most for the claim. With fewer than three columns there is no
        inner one: the answer is open and the index `None`.
    """
    inner = range(1, values.shape[1] - 1)
    if not inner:
        return Interval(math.nan, math.inf), None, None

    def sides(column: int) -> list[Interval]:
        ends = (values[:, column] - values[:, 0], values[:, column] - values[:, -1])
        return [interval(end, tests=len(inner)) for end in ends]

    against = {column: min(sides(column), key=_high) for column in inner}
    least = max(against, key=lambda column: _high(against[column]))
    if judge(against[least]) is False:
        return against[least], False, least
    evidence = {column: min(sides(column), key=_low) for column in inner}
    best = max(evidence, key=lambda column: _low(evidence[column]))
    return evidence[best], judge(evidence[best]) or None, best


def _low(found: Interval) -> float:
    return found.low if math.isfinite(found.low) else -math.inf


def _high(found: Interval) -> float:
    return found.high if math.isfinite(found.high) else math.inf


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
