"""Robust error against the distance from initialisation: wang2022's third question."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from widelimit.studies.base import Study
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.powers import told
from widelimit.studies.robust_deviation import points
from widelimit.studies.verdicts import Claim, claim_of_every, interval
from widelimit.studies.wang2022_robust import (
    MNIST,
    PAPER,
    ROBUST_TRIAL,
    RobustSettings,
    check_robust,
)

if TYPE_CHECKING:
    import xarray as xr

SAME = 0.1  # largest gap between curves that are one
LAZY = 10.0  # the paper's C_0


class RobustDistanceSettings(RobustSettings):
    """Adversarial training of several widths, as far as they may go.

    Attributes:
        constants: C_0 of the balls' radii C_0 / sqrt(m), rising; 0, which comes first,
            stands for adversarial training without projection.
    """

    seeds: PositiveInt = 5
    sides: tuple[PositiveInt, ...] = Field((8,), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((64, 512), min_length=1)
    constants: tuple[NonNegativeFloat, ...] = Field(
        (0.0, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0), min_length=2
    )

    @field_validator("constants")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in itertools.pairwise(values)):
            raise ValueError("constants must rise")
        return values


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        **MNIST,
        "sides": (28,),
        "widths": (256, 1024),
        "constants": (0.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 40.0),
    },
    "paper": {
        **PAPER,
        "sides": (28,),
        "widths": (1000, 10_000),
        "constants": (0.0, 1.25, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 40.0, 80.0, 160.0),
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    return [claim for point in points(results) for claim in _of(*point)]


def _of(dimension: int, radius: float, at: "xr.Dataset") -> list[Claim]:
    widths = [int(w) for w in at["width"].values]
    name, place = f"[d={dimension},R={radius:g}]", f"d = {dimension}, R = {radius:g}"
    scope = {"side": round(dimension**0.5), "radius": radius}
    at = at.assign(error=1 - at["robust_accuracy"])
    kept = at.sel(constant=at["constant"].values[at["constant"].values > 0])
    ends = {
        w: _rows(kept["error"], w)[:, 0] - _rows(kept["error"], w)[:, -1]
        for w in widths
    }
    claims = [
        claim_of_every(
            f"falls{name}",
            f"{place}: the robust test error falls with the largest distance from "
            "initialisation, at every width.",
            {w: values - SAME for w, values in ends.items()},
            detail=f"The error with the smallest C_0 less that with the largest, less "
            f"{SAME:g}: " + "; ".join(f"{told(v)} at m = {w}" for w, v in ends.items())
            + " (before that).",
            scope=scope,
        )
    ]  # fmt: skip
    if len(widths) > 1:
        claims += _collapse(name, place, kept, widths, scope)
    if 0 in at["constant"].values:
        claims += _free(name, place, at, kept, widths, scope)
    return claims


def _collapse(
    name: str, place: str, kept: "xr.Dataset", widths: list[int], scope: dict
) -> list[Claim]:
    pairs = list(itertools.pairwise(widths))
    scaled = {p: _gaps(kept, *p, scaled=True) for p in pairs}
    plain = {p: _gaps(kept, *p, scaled=False) for p in pairs}
    return [
        claim_of_every(
            f"collapse{name}",
            f"{place}: in units of 1/sqrt(m), the curves of different widths are one: "
            f"their mean gap is below {SAME:g}.",
            {p: SAME - gap for p, gap in scaled.items()},
            detail=f"{SAME:g} less the mean of |difference of errors| over the "
            "distances that both reach, of neighbouring widths; the gap is "
            + "; ".join(f"{told(g)} for m = {a}, {b}" for (a, b), g in scaled.items())
            + ".",
            scope=scope,
        ),
        claim_of_every(
            f"units{name}",
            f"{place}: these units bring the curves nearer than plain distances do.",
            {p: plain[p] - scaled[p] for p in pairs},
            detail="The mean gap at equal distances less that at equal distances times "
            "sqrt(m); at equal distances it is "
            + "; ".join(f"{told(g)} for m = {a}, {b}" for (a, b), g in plain.items())
            + ".",
            scope=scope,
        ),
    ]


def _free(
    name: str,
    place: str,
    at: "xr.Dataset",
    kept: "xr.Dataset",
    widths: list[int],
    scope: dict,
) -> list[Claim]:
    free = at.sel(constant=0)
    moved = {w: free["moved"].sel(width=w).values for w in widths}
    error = {w: free["error"].sel(width=w).values for w in widths}
    claims = [
        claim_of_every(
            f"leaves{name}",
            f"{place}: adversarial training without projection ends outside the ball "
            f"of C_0 = {LAZY:g}, at every width.",
            {w: np.log2(v / LAZY) for w, v in moved.items()},
            detail=f"log2 of its distance times sqrt(m) over {LAZY:g}; the distance "
            "is " + "; ".join(f"{told(v)} at m = {w}" for w, v in moved.items())
            + ", and depends on how long it trains.",
            scope=scope,
        )
    ]  # fmt: skip
    if LAZY in kept["constant"].values:
        lazy = {w: kept["error"].sel(width=w, constant=LAZY).values for w in widths}
        claims.append(
            claim_of_every(
                f"lazy-costs{name}",
                f"{place}: the ball of C_0 = {LAZY:g} costs robustness: without "
                "projection the robust test error is lower, at every width.",
                {w: lazy[w] - error[w] for w in widths},
                detail="The error in the ball less that without; without it is "
                + "; ".join(f"{told(v)} at m = {w}" for w, v in error.items())
                + ".",
                scope=scope,
            )
        )
    return claims


def _rows(values: "xr.DataArray", width: int) -> np.ndarray:
    return values.sel(width=width).transpose("seed", "constant").values


def _gaps(kept: "xr.Dataset", one: int, two: int, *, scaled: bool) -> np.ndarray:
    """Per seed the mean gap between two curves over the distances both reach."""
    found = []
    unit = [1.0, 1.0] if scaled else [one**0.5, two**0.5]
    errors = [_rows(kept["error"], w) for w in (one, two)]
    places = [
        _rows(kept["moved"], w) / u for w, u in zip((one, two), unit, strict=True)
    ]
    for seed in range(len(errors[0])):
        x = [np.log(side[seed]) for side in places]
        y = [side[seed] for side in errors]
        if not all(np.isfinite(np.concatenate([*x, *y]))):
            found.append(np.nan)
            continue
        order = [np.argsort(side) for side in x]
        x, y = ([a[o] for a, o in zip(s, order, strict=True)] for s in (x, y))
        low, high = max(s[0] for s in x), min(s[-1] for s in x)
        grid = np.linspace(low, high, 41)
        gap = np.abs(np.interp(grid, x[0], y[0]) - np.interp(grid, x[1], y[1]))
        found.append(gap.mean() if low < high else np.nan)
    return np.array(found)


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for dimension, radius, at in points(results):
        at = at.assign(
            error=1 - at["robust_accuracy"], fit_error=1 - at["train_robust"],
            plain=at["moved"] / np.sqrt(at["width"]),
        )  # fmt: skip
        figures.append(
            Figure(
                name=f"robust-distance-{dimension}-{radius:g}",
                title=f"Robust error and distance from initialisation, d = {dimension},"
                f" R = {radius:g}",
                caption="Networks trained adversarially inside balls of several "
                "sizes, and without projection (points alone); means over "
                "seeds with 95 % intervals, at the mean of the measured distances. "
                "An answer to wang2022's third open question.",
                panels=(
                    Panel("In units of 1/√m", "‖W - W₀‖ √m (2, ∞)",
                          "robust test error", _curves(at, "moved", "error"),
                          y_log=False, ordered=False),
                    Panel("Plain distances", "‖W - W₀‖ (2, ∞)",
                          "robust test error", _curves(at, "plain", "error"),
                          y_log=False, ordered=False),
                    Panel("On the training rows", "‖W - W₀‖ √m (2, ∞)",
                          "robust training error", _curves(at, "moved", "fit_error"),
                          y_log=False, ordered=False),
                ),
            )
        )  # fmt: skip
    return figures


def _curves(at: "xr.Dataset", x: str, y: str) -> list[Curve]:
    """Per width a curve over the balls, and a point for training without one."""
    curves = []
    constants = at["constant"].values
    for width in at["width"].values:
        for label, chosen in (
            (f"m = {width}", constants[constants > 0]),
            (f"m = {width}, free", constants[constants == 0]),
        ):
            part = at.sel(width=width, constant=chosen).transpose("constant", "seed")
            ends = [interval(row) for row in part[y].values]
            places = [interval(row).mean for row in part[x].values]
            kept = [i for i, p in enumerate(places) if np.isfinite(p)]
            if not kept:
                continue
            curves.append(
                Curve(
                    label,
                    [float(f"{places[i]:.4g}") for i in kept],
                    [ends[i].mean for i in kept],
                    [max(ends[i].low, 0.0) for i in kept],
                    [min(ends[i].high, 1.0) for i in kept],
                    notes=[f"C_0 = {chosen[i]:g}" for i in kept] if any(chosen) else (),
                )
            )
    return curves


ROBUST_DISTANCE = Study(
    name="robust-distance",
    title="Robust error and distance from initialisation",
    question="How does the robust error behave as a function of the largest distance "
    "of weight vectors from initialisation, and is 1/sqrt(m) its unit?",
    source="wang2022, Sec. 6, third open question; ours.",
    settings=RobustDistanceSettings,
    presets=PRESETS,
    axes={
        "side": "sides",
        "radius": "radii",
        "width": "widths",
        "constant": "constants",
    },
    trial=ROBUST_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_robust,
)
"""Robust error of adversarial training over the distance from the start."""
