"""How Gram matrices and weights move, against width: du2019, Sec. 6."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.du2019_curves import cases, title_of
from widelimit.studies.du2019_settings import (
    AXES,
    PRESETS,
    DescentSettings,
    name_of,
)
from widelimit.studies.du2019_trial import TRIAL, check
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every, log2

if TYPE_CHECKING:
    import xarray as xr

_POWER = -0.5

_COMMON: Mapping[str, Any] = {
    "architectures": ("fully-connected", "resnet:1", "conv-resnet:1"),
}
_PRESETS = {
    # The distance from K^(H) is nearly one Gaussian number, whose logarithm varies so
    # much that powers over few widths need many seeds.
    "quick": {**PRESETS["quick"], **_COMMON, "steps": 40, "seeds": 64},
    "laptop": {**PRESETS["laptop"], **_COMMON, "steps": 200, "seeds": 16},
    "paper": {**PRESETS["paper"], **_COMMON, "steps": 2000, "seeds": 6},
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for label, depth, at in cases(results):
        start = powers(at["initial_error"], "width")
        change = powers(_most(at["change"]), "width")
        moved = _layers(at, depth)
        layers = {h: powers(moved.sel(layer=h), "width") for h in range(1, depth + 1)}
        by_layer = {
            (h, side): values
            for h, power in layers.items()
            for side, values in near(power, _POWER).items()
        }
        every_layer = "; ".join(f"{told(p)} in layer {h}" for h, p in layers.items())
        claims += [
            _claim("start", label, depth, near(start, _POWER),
                   "||G^(H)(0) - K^(H)|| falls as m^-1/2 with width.",
                   f"{_HOW}; p = {told(start)}."),
            _claim("change", label, depth, {"": _POWER + TOLERANCE - change},
                   "max over k of ||G^(H)(k) - G^(H)(0)|| falls at least as fast as "
                   "m^-1/2, the order of the paper's bound.",
                   f"-1/2 + {TOLERANCE} less the power p of m; p = {told(change)}."),
            _claim("change-no-faster", label, depth, near(change, _POWER),
                   "max over k of ||G^(H)(k) - G^(H)(0)|| falls as m^-1/2 and no "
                   "faster: the bound has the right order.",
                   f"{_HOW}; p = {told(change)}."),
            _claim("movement", label, depth, by_layer,
                   "||W^(h)(k) - W^(h)(0)||_F / sqrt(m) falls as m^-1/2 with width, in "
                   "every layer.",
                   f"{_HOW} at the layer that decides; p = {every_layer}."),
            *_quarters(at, label, depth),
        ]  # fmt: skip
    return claims


_HOW = f"{TOLERANCE} less |p + 1/2|, with p the mean power of m"


def _claim(
    name: str,
    label: str,
    depth: int,
    groups: Mapping[Any, np.ndarray],
    words: str,
    detail: str,
) -> Claim:
    return claim_of_every(
        f"{name}[{label},H={depth}]",
        f"{title_of(label, depth)}: {words}",
        groups,
        detail=detail,
        scope={"architecture": label, "depth": depth},
    )


def _quarters(at: "xr.Dataset", label: str, depth: int) -> list[Claim]:
    """Whether the two steps of the proof are taken at the widest network."""
    last, claims = at.isel(width=-1), []
    quarter = float(last["lambda_0"]) / 4
    width = int(last["width"])
    for name, values, words in (
        ("start-in-reach", last["initial_error"], "||G^(H)(0) - K^(H)||"),
        (
            "change-in-reach",
            _most(last["change"]),
            "max over k of ||G^(H)(k) - G^(H)(0)||",
        ),
    ):
        claims.append(
            _claim(name, label, depth, {"": log2(quarter / values.values)},
                   f"{words} is at most lambda_0 / 4, as the proof needs it, at the "
                   "largest width.",
                   f"log2 of lambda_0 / 4 = {quarter:.2g} over what was measured, "
                   f"{float(values.mean()):.2g} on average, at width {width}.")
        )  # fmt: skip
    return claims


def _most(change: "xr.DataArray") -> "xr.DataArray":
    return change.max("step", skipna=False)


def _layers(at: "xr.Dataset", depth: int) -> "xr.DataArray":
    """The largest movement over steps, of the layers that a network has."""
    return at["movement"].sel(layer=slice(1, depth)).max("step", skipna=False)


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    labels = [str(label) for label in results["architecture"].values]
    for depth in (int(d) for d in results["depth"].values):
        panels: dict[str, list] = {"start": [], "change": [], "movement": []}
        for label in labels:
            at, name = results.sel(architecture=label, depth=depth), name_of(label)
            size = at["gram_norm"]
            for key, values in (
                ("start", at["initial_error"] / size),
                ("change", _most(at["change"]) / size),
                ("movement", _layers(at, depth).max("layer")),
            ):
                curve = seed_curve(values, name, "width", log=True)
                panels[key] += [curve, guide(curve, _POWER)]
        figures.append(
            Figure(
                name=f"depth-{depth}",
                title=f"Gram matrices and weights against width, H = {depth}",
                caption="Dashed: m^-1/2 through the widest, the order of the paper's "
                "bounds. Gram matrices relative to ||K^(H)||, of the whole descent the "
                "largest values. Geometric means over seeds with 95 % intervals.",
                panels=(
                    Panel("From the limit, at the start", "width",
                          "‖G^(H)(0) − K^(H)‖ / ‖K^(H)‖", panels["start"],
                          ordered=False),
                    Panel("Change in training", "width",
                          "max ‖G^(H)(k) − G^(H)(0)‖ / ‖K^(H)‖", panels["change"],
                          ordered=False),
                    Panel("Movement of the layer that moves most", "width",
                          "‖W(k) − W(0)‖ / √m", panels["movement"], ordered=False),
                ),
            )
        )  # fmt: skip
    return figures


GRAM_STABILITY = Study(
    name="gram-stability",
    title="Gram matrices stay near their limit",
    question="Does G^(H) start near K^(H) and stay near its start, as m^-1/2, while "
    "weights move as much?",
    source="du2019, Sec. 6, Lemmas A.2, A.4, A.5 and their like in App. B and C.",
    settings=DescentSettings,
    presets=_PRESETS,
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check,
)
"""Distances from the limit and from the start, against width."""
