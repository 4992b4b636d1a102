"""Perturbation stability of convolutional networks against width and depth."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import (
    at_peak,
    last,
    name_of,
)
from widelimit.studies.figure import Figure
from widelimit.studies.image_curves import (
    radius_of,
    sensitivity_figure,
    training_figure,
    width_panels,
)
from widelimit.studies.image_settings import PlainSettings
from widelimit.studies.image_trial import check_images
from widelimit.studies.verdicts import (
    Claim,
    every,
    interval,
    judge,
    log2,
    mean_of,
    rises_then_falls,
    slopes,
)

if TYPE_CHECKING:
    import xarray as xr

_NAMES = {"cnn": "CNN", "fcn": "Fully-connected network"}
_UNIT = {"cnn": "channels", "fcn": "units"}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for network in map(str, results["network"].values):
        values = results.sel(network=network)["stability"]
        claims += [
            _phase(values.isel(epoch=-1), network, int(d))
            for d in results["depth"].values
        ]
        for when, epoch in (("before", 0), ("after", -1)):
            claims.append(_depth(values.isel(epoch=epoch), network, when))
    if {"cnn", "fcn"} <= set(map(str, results["network"].values)):
        claims.append(_spread(last(results)["stability"]))
    return claims


def _phase(values: "xr.DataArray", network: str, depth: int) -> Claim:
    rows = values.sel(depth=depth).transpose("seed", "width").values
    found, holds, peak = rises_then_falls(log2(rows))
    where = at_peak(values["width"].values, peak)
    return Claim(
        f"{network}-rises-then-falls[L={depth + 1}]",
        f"{_NAMES[network]}, L = {depth + 1}: stability rises, then falls with the "
        f"{_UNIT[network]}.",
        found.mean, found.half_width, holds,
        detail=f"The smaller of log2 P(peak) / P(ends) after training, {where}.",
        scope={"network": network, "depth": depth},
    )  # fmt: skip


def _depth(values: "xr.DataArray", network: str, when: str) -> Claim:
    positions = np.log2(values["depth"].values + 1)
    groups = {
        int(w): slopes(
            log2(values.sel(width=w).transpose("seed", "depth").values), positions
        )
        for w in values["width"].values
    }
    found, holds, width = every(groups)
    return Claim(
        f"{network}-grows-with-depth-{when}-training",
        f"{_NAMES[network]}: {when} training, stability grows with depth at every "
        "width.",
        found.mean, found.half_width, holds,
        detail="Slope of log2 P against log2 L, at the width that "
        f"decides, {width}. Over all widths it is "
        f"{mean_of(np.concatenate(list(groups.values()))):.3g}.",
        scope={"network": network, "when": when},
    )  # fmt: skip


def _spread(values: "xr.DataArray") -> Claim:
    def spreads(network: str) -> np.ndarray:
        found = log2(
            values.sel(network=network).transpose("seed", "width", "depth").values
        )
        found = np.where(np.isfinite(found), found, np.nan)
        return (found.max(-1) - found.min(-1)).mean(-1)

    cnn, fcn = spreads("cnn"), spreads("fcn")
    found = interval(cnn - fcn)
    return Claim(
        "cnn-depths-differ-more",
        "The difference between depths is larger for CNNs than for fully-connected "
        "networks.",
        found.mean, found.half_width, judge(found),
        detail="Range over depths of log2 P after training, mean over widths: that of "
        f"CNNs ({mean_of(cnn):.3g}) less that of fully-connected networks "
        f"({mean_of(fcn):.3g}), as many units as channels.",
    )  # fmt: skip


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    start = name_of(str(results.attrs.get("initialization", "he")))
    for network in map(str, results["network"].values):
        at = results.sel(network=network)
        groups = [(f"L = {d + 1}", at.sel(depth=d)) for d in results["depth"].values]
        unit = _UNIT[network]
        figures.append(
            Figure(
                name=network,
                title=f"Stability and width, {_NAMES[network]}, {start}",
                caption="Perturbation stability per unit radius, in the units of the "
                "inputs as the network takes them, exact per test image; larger is "
                "less robust. L counts layers with weights. Bands: 95 %, over seeds "
                "and images.",
                panels=width_panels(groups, unit, legend="depth"),
            )
        )
        widest = [(name, one.isel(width=-1)) for name, one in groups]
        width = int(results["width"].values[-1])
        title = f"{_NAMES[network]}, {width} {unit}"
        figures.append(
            training_figure(
                widest, name=network, title=title, legend="depth", ordered=True
            )
        )
        figures.append(
            sensitivity_figure(
                [widest[0], widest[-1]],
                name=f"{network}-images",
                title=title,
                legend="depth",
                radius=radius_of(results),
            )
        )
    return figures


STABILITY_CNN = Study(
    name="stability-cnn",
    title="Width and depth of convolutional networks",
    question="Does the stability of CNNs rise and fall with their channels, and does "
    "depth matter more to them than to fully-connected networks?",
    source="zhu2022, Fig. 7, App. E.3.",
    settings=PlainSettings,
    presets={
        "quick": {"depths": (3, 9), "widths": (8, 16, 32), "epochs": 30, "seeds": 3},
        "laptop": {
            "data": "cifar10", "size": 16, "widths": (8, 16, 32), "seeds": 3,
            "train_rows": 1280, "test_rows": 500,
            "momentum": 0.9,  # without it so few rows teach these networks nothing
        },
        "paper": {
            "data": "cifar10", "widths": (4, 8, 16, 32, 64, 128, 256), "seeds": 5,
            "train_rows": None, "stability_rows": 1000,
        },
    },
    axes={"network": "networks", "depth": "depths", "width": "widths"},
    trial="widelimit.studies.image_trial:train_on_images",
    claims=_claims,
    figures=_figures,
    check=check_images,
    demo=False,
)  # fmt: skip
