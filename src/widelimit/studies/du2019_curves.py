"""Series, curves and powers that the du2019 studies share."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.du2019_settings import name_of
from widelimit.studies.figure import Curve
from widelimit.studies.verdicts import Interval, interval, log2, slopes

if TYPE_CHECKING:
    import xarray as xr

TOLERANCE = 0.25
"""How far a measured power may be from the one claimed."""

_POINTS = 41  # of a curve over steps


def cases(results: "xr.Dataset") -> "Iterator[tuple[str, int, xr.Dataset]]":
    """Architecture, depth and results of every combination."""
    for label in results["architecture"].values:
        for depth in results["depth"].values:
            at = results.sel(architecture=label, depth=depth)
            yield str(label), int(depth), at


def title_of(label: str, depth: int) -> str:
    """For readers, such as `ResNet, λ = 1, H = 3`."""
    return f"{name_of(label)}, H = {depth}"


def powers(values: "xr.DataArray", x: str) -> np.ndarray:
    """Per seed the power $p$ of values that go as $x^p$: least squares of logarithms.

    Args:
        values: Dimensions `seed` and `x`.
        x: The axis.

    Returns:
        One power per seed; NaN where a value is missing or zero.
    """
    rows = log2(values.transpose("seed", x).values)
    return slopes(rows, np.log2(values[x].values))


def near(found: np.ndarray, power: float) -> dict[str, np.ndarray]:
    """What must be positive for a power to be within `TOLERANCE` of the one claimed.

    Two statistics per seed, the distances from either end, each with an interval of its
    own: the mean of |p - power| would count the spread of seeds as a distance.

    Args:
        found: The power of every seed.
        power: The power claimed.

    Returns:
        Groups for `verdicts.every`.
    """
    return {
        "above": found - (power - TOLERANCE),
        "below": (power + TOLERANCE) - found,
    }


def told(found: np.ndarray) -> str:
    """A mean over seeds with its interval, as text; `not measured` without any."""
    mean = interval(found)
    if not np.isfinite(mean.mean):
        return "not measured"
    return f"{mean.mean:.3g} ± {mean.half_width:.2g}"


def guide(curve: Curve, power: float) -> Curve:
    """A dashed line of one power through the last known point of a curve.

    Args:
        curve: A measured curve.
        power: The power.

    Returns:
        A line of theory of the same series.
    """
    x = np.asarray(curve.x, dtype=float)
    known = np.flatnonzero(np.isfinite(curve.y))
    last = known[-1] if len(known) else -1
    y = curve.y[last] * (x / x[last]) ** power
    return Curve(curve.series, x.tolist(), y.tolist(), theory=True)


def some_steps(steps: int) -> np.ndarray:
    """Steps 0 to the last to draw, not too many."""
    return np.unique(np.linspace(0, steps, _POINTS).round().astype(int))


def over_steps(series: str, steps: np.ndarray, values: Sequence[float] | np.ndarray):
    """A dashed line over training steps."""
    return Curve(series, steps.tolist(), np.asarray(values).tolist(), theory=True)


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
