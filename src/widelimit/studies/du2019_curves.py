"""Series and curves that the du2019 studies share."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.du2019_settings import name_of
from widelimit.studies.figure import Curve

if TYPE_CHECKING:
    import xarray as xr

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


def some_steps(steps: int) -> np.ndarray:
    """Steps 0 to the last to draw, not too many."""
    return np.unique(np.linspace(0, steps, _POINTS).round().astype(int))


def over_steps(series: str, steps: np.ndarray, values: Sequence[float] | np.ndarray):
    """A dashed line over training steps."""
    return Curve(series, steps.tolist(), np.asarray(values).tolist(), theory=True)
