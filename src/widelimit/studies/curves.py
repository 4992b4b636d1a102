"""Curves of the zhu2022 studies, from their results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.figure import Curve, Panel
from widelimit.studies.verdicts import interval, share_interval

if TYPE_CHECKING:
    import xarray as xr

SCALES = {
    "unit": "rows of norm 1",
    "raw": "raw pixels in [0, 1]",
}
INITIALIZATIONS = {"he": "He", "lecun": "LeCun", "ntk": "NTK (Allen-Zhu)"}
STABILITY = "P(f, ε) / ε"


def name_of(initialization: str) -> str:
    """The initialisation's name for readers, such as `non-lazy, c = 1.5`."""
    name, _, exponent = initialization.partition(":")
    if name == "non-lazy":
        return f"non-lazy, c = {exponent or 2}"
    return INITIALIZATIONS[name]


def layers_of(depth: int) -> str:
    """The depth for readers: the paper's L and our number of hidden layers."""
    return f"L = {depth + 1} ({depth} hidden)"


def stability_curve(results: "xr.Dataset", series: str, x: str) -> Curve:
    """Mean stability over seeds and inputs along one axis, with its 95 % band.

    The band is taken on the logarithm: a factor of exp(1.96 s / mean) either way, s the
    standard error over seeds and inputs together.

    Args:
        results: One epoch of one series: only the axis `x` (and seeds) left.
        series: Name in the legend.
        x: The axis.

    Returns:
        The curve.
    """
    mean, error = results["mean_stability"].values, results["mean_stability_se"].values
    with np.errstate(all="ignore"):  # a mean of zero has no band
        factor = np.exp(1.96 * error / mean)
    accuracy = [
        interval(row).mean for row in results["accuracy"].transpose(x, "seed").values
    ]
    return Curve(
        series,
        results[x].values.tolist(),
        mean.tolist(),
        (mean / factor).tolist(),
        (mean * factor).tolist(),
        notes=[f"test accuracy {a:.0%}" for a in accuracy],
    )


def seed_curve(
    values: "xr.DataArray",
    series: str,
    x: str,
    *,
    log: bool = False,
    share: bool = False,
) -> Curve:
    """Mean over seeds along one axis, with its 95 % interval (Student's, or Wilson's).

    Args:
        values: Dimensions `x` and `seed` only.
        series: Name in the legend.
        x: The axis.
        log: Whether to average logarithms (a geometric mean and its interval).
        share: Whether values are shares, whose interval stays inside [0, 1].

    Returns:
        The curve.
    """
    rows = values.transpose(x, "seed").values
    with np.errstate(divide="ignore"):
        rows = np.log(rows) if log else rows
    ends = [share_interval(row) if share else interval(row) for row in rows]
    back = np.exp if log else np.asarray
    return Curve(
        series,
        values[x].values.tolist(),
        back([i.mean for i in ends]).tolist(),
        back([i.low for i in ends]).tolist(),
        back([i.high for i in ends]).tolist(),
    )


def accuracy_panel(
    groups: Sequence[tuple[str, "xr.Dataset"]], x: str, **labels: Any
) -> Panel:
    """The test accuracy reached, beside another panel of the same groups.

    Args:
        groups: Per series its name and results, with only `x` and seeds left.
        x: The axis.
        **labels: Of the panel.

    Returns:
        The panel.
    """
    curves = [seed_curve(r["accuracy"], series, x, share=True) for series, r in groups]
    return Panel(
        **{
            "title": "Test accuracy reached",
            "x_title": x,
            "y_title": "test accuracy",
            "curves": curves,
            "y_log": False,
            **labels,
        }
    )


def last(results: "xr.Dataset") -> "xr.Dataset":
    """The results at the end of training."""
    return results.isel(epoch=-1)


def at_peak(widths: np.ndarray, peak: int | None) -> str:
    """Where `rises_then_falls` found its peak, for the detail of a claim."""
    if peak is None:
        return "which needs at least three widths"
    return f"at the best inner width, {widths[peak]}"


def sizes(results: "xr.Dataset") -> tuple[int, int]:
    """Input features and outputs, the same in every trial that finished.

    Args:
        results: Results over the *whole* grid: a part may have no finished trial.

    Returns:
        Both numbers.
    """
    return int(results["features"].max()), int(results["outputs"].max())
