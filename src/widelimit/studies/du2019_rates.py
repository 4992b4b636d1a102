"""Rates of gradient descent in the du2019 studies: claimed, and measured."""

import math
from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.du2019_settings import parse

if TYPE_CHECKING:
    import xarray as xr

_THEOREMS = {"fully-connected": "3.1", "resnet": "4.1", "conv-resnet": "5.1"}


def theorem(at: "xr.Dataset", label: str) -> str:
    """Whether the theorem applies at one width."""
    width, step = float(at["required_width"]), float(at["required_step"])
    applies = int(at["width"]) >= width and float(at["step_size"]) <= step
    return (
        f"Theorem {_THEOREMS[parse(label)[0]]}, constants set to 1, asks for m >= "
        f"{width:.2g} and eta <= {step:.2g}; here eta = {float(at['step_size']):.2g}: "
        f"it {'applies' if applies else 'does not apply'}."
    )


def since(statistics: np.ndarray, widths: np.ndarray) -> str:
    """From which width on it is so for every seed."""
    seeds = np.sum(statistics > 0, axis=0)  # NaN, a seed that diverged, is not
    missed = np.flatnonzero(seeds < len(statistics))
    first = missed[-1] + 1 if len(missed) else 0
    if first == len(widths):
        return f"so for {seeds[-1]} of {len(statistics)} seeds"
    return f"so for every seed from width {widths[first]} on"


def slowest(at: "xr.Dataset") -> "xr.DataArray":
    """The least -log(L(k+1) / L(k)) over steps; negative where the loss rose."""
    rates = -log(at["loss"] / at["loss"].shift(step=1)).isel(step=slice(1, None))
    return rates.min("step", skipna=False).transpose("seed", "width")


def log(values: "xr.DataArray") -> "xr.DataArray":
    """Natural logarithm, quiet where a value is missing or zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return values.copy(data=np.log(values.values))


def claimed(at: "xr.Dataset") -> float:
    """The rate of Condition 6.1, -log(1 - eta lambda_0 / 2)."""
    return float(-np.log1p(-known(at["step_size"]) * known(at["lambda_0"]) / 2))


def known(values: "xr.DataArray") -> float:
    """The same number at all widths, NaN where a trial is missing."""
    finite = values.values[np.isfinite(values.values)]
    return float(finite.max()) if len(finite) else math.nan
