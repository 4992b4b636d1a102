"""Power laws: fitted per seed, judged against the one claimed, and drawn."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.figure import Curve
from widelimit.studies.verdicts import interval, log2, slopes

if TYPE_CHECKING:
    import xarray as xr

TOLERANCE = 0.25
"""How far a measured power may be from the one claimed."""


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
    return str(interval(found))


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
