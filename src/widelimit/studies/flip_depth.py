"""Minimal flips of deeper lazily trained networks: a question wang2022 leaves open."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.curves import SCALES, seed_curve
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.flip_curves import (
    CAPTION,
    exponent_claims,
    flip_panels,
    general_claims,
    scales_of,
)
from widelimit.studies.flip_dimension import MNIST
from widelimit.studies.flip_settings import FlipCurveSettings
from widelimit.studies.flip_trial import FLIP_TRIAL
from widelimit.studies.verdicts import Claim, claim_of_every, log2
from widelimit.studies.wang2022_problem import Scale, check_lazy

if TYPE_CHECKING:
    import xarray as xr


class FlipDepthSettings(FlipCurveSettings):
    """Networks of several depths.

    Attributes:
        depths: Numbers of hidden layers.
        widths: Units of each hidden layer.
    """

    scales: tuple[Scale, ...] = Field(("unit",), min_length=1)
    constants: tuple[float, ...] = Field((10.0,), min_length=1)
    depths: tuple[PositiveInt, ...] = Field((1, 2, 3, 5), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((256,), min_length=1)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"sides": (4, 8), "constants": (5.0,), "epochs": 20},
    "laptop": {
        **MNIST,
        "sides": (5, 7, 10, 14, 20, 28),
        "widths": (1024,),
        "epochs": 5,
        "test_rows": 300,
    },
    "paper": {
        **MNIST,
        "scales": ("unit", "raw"),
        "sides": (5, 7, 10, 14, 20, 25, 28),
        "widths": (1024, 4096),
        "epochs": 50,
        "seeds": 5,
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale, every in scales_of(results):
        at = _one_network(every)
        for depth in map(int, at["depth"].values):
            one = at.sel(depth=depth)
            claims += exponent_claims(
                one,
                f"{scale},L={depth}",
                f"{SCALES[scale]}, {_layers(depth)}",
                {
                    "scale": scale,
                    "depth": depth,
                    "width": int(at["width"]),
                    "constant": float(at["constant"]),
                },
            )
        claims += general_claims(scale, every, results.attrs["reach"])
        claims += [_deepest(scale, at, "relative"), _deepest(scale, at, "output")]
    return claims


def _one_network(at: "xr.Dataset") -> "xr.Dataset":
    """The largest width and the first constant."""
    return at.sel(width=at["width"].max(), constant=at["constant"].min())


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _deepest(scale: str, at: "xr.Dataset", name: str) -> Claim:
    """Whether the deepest network is more robust, or larger, than the shallowest."""
    values = at[name].transpose("depth", "d", "seed").values
    with np.errstate(invalid="ignore"):
        ratio = log2(values[-1] / values[0])
    first, last = int(at["depth"].min()), int(at["depth"].max())
    words = {
        "relative": "needs a larger perturbation |δ| / |x| to flip",
        "output": "has a larger |f(x)| / |x|",
    }[name]
    known = np.isfinite(ratio).any()
    return claim_of_every(
        f"deeper-{name}[{scale}]",
        f"{SCALES[scale]}: the network of {_layers(last)} {words} than that of "
        f"{_layers(first)}, at every dimension.",
        {int(d): ratio[i] for i, d in enumerate(at["d"].values)},
        detail="log2 of the ratio of medians, at the dimension that decides; "
        f"{float(np.nanmean(ratio)) if known else np.nan:.2g} on average.",
        scope={"scale": scale, "width": int(at["width"])},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for scale, every in scales_of(results):
        at = _one_network(every)
        series = [(_layers(int(d)), at.sel(depth=d)) for d in at["depth"].values]
        width, constant = int(at["width"]), float(at["constant"])
        words = f"{SCALES[scale]}, width {width}, C_0 = {constant:g}"
        figures += [
            Figure(
                name=f"depths-{scale}",
                title=f"Minimal flips by depth, {words}",
                caption=CAPTION,
                panels=flip_panels(series),
            ),
            Figure(
                name=f"training-{scale}",
                title=f"What training did, {words}",
                caption="Means over seeds with 95 % intervals: the distance of the "
                "unit that moved most, of all hidden layers, in units of 1 / sqrt(m); "
                "the median |f(x)| / |x| of the test images; the test accuracy.",
                panels=(
                    _panel("Distance from the start", "distance times sqrt(m)",
                           series, "moved"),
                    _panel("Size of the function", "|f(x)| / |x|", series, "output"),
                    _panel("Test accuracy", "accuracy", series, "accuracy"),
                ),
            ),
        ]  # fmt: skip
    return figures


def _panel(title: str, y_title: str, series: Any, name: str) -> Panel:
    log = name != "accuracy"
    curves = [
        seed_curve(at[name], label, "d", log=log, share=not log) for label, at in series
    ]
    return Panel(title, "dimension d", y_title, curves, y_log=log)


FLIP_DEPTH = Study(
    name="flip-depth",
    title="Minimal flips of deeper lazily trained networks",
    question="Does what wang2022 finds for one hidden layer, steps of O(1 / sqrt(d)) "
    "that flip predictions, stay so for several, all of whose units are near their "
    "start?",
    source="Beyond wang2022: the first question of its Sec. 6.",
    settings=FlipDepthSettings,
    presets=PRESETS,
    axes={"scale": "scales", "depth": "depths", "width": "widths", "side": "sides"},
    trial=FLIP_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_lazy,
)
"""The flips of `flip-dimension` for networks of several depths."""
