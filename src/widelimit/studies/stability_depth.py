"""Perturbation stability against depth, under three initialisations."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import (
    SCALES,
    STABILITY,
    accuracy_panel,
    last,
    name_of,
    sizes,
    stability_curve,
)
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.settings import AXES, TRIAL, TrainingSettings, presets
from widelimit.studies.theory import theorem1_value, theory_over_depth
from widelimit.studies.trial import check_data
from widelimit.studies.verdicts import Claim, every, log2, slopes

if TYPE_CHECKING:
    import xarray as xr

_DIRECTION = {"he": 1, "ntk": 1, "lecun": -1}
_WORD = {1: "grows", -1: "shrinks"}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale in (str(s) for s in results["scale"].values):
        for label in (str(v) for v in results["initialization"].values):
            if label not in _DIRECTION:
                continue
            at = results.sel(scale=scale, initialization=label)["stability"]
            for when, epoch in (("before", 0), ("after", -1)):
                claims.append(_trend(at.isel(epoch=epoch), label, scale, when))
    return claims


def _trend(values: "xr.DataArray", label: str, scale: str, when: str) -> Claim:
    """The paper measures trained networks; the start shows what training adds."""
    sign = _DIRECTION[label]
    layers = values["depth"].values + 1
    # He and NTK: a power of L. LeCun: exponential in L.
    positions = np.log2(layers) if sign > 0 else layers
    groups = {}
    for width in values["width"].values:
        rows = values.sel(width=width).transpose("seed", "depth").values
        groups[int(width)] = sign * slopes(log2(rows), positions)
    found, holds, width = every(groups)
    return Claim(
        name=f"{label}-{_WORD[sign]}-with-depth-{when}-training[{scale}]",
        statement=f"{name_of(label)}: {when} training, stability {_WORD[sign]} with "
        f"depth at every width ({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=holds,
        detail=f"{'S' if sign > 0 else 'Minus the s'}lope of log2 P against "
        f"{'log2 L' if sign > 0 else 'L'}, at the width that decides, {width}.",
        scope={"scale": scale, "initialization": label, "when": when},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    features, outputs = sizes(results)
    # The axis is the paper's L.
    results = results.assign_coords(depth=results["depth"].values + 1)
    depths = results["depth"].values - 1
    for label in (str(v) for v in results["initialization"].values):
        for scale in (str(s) for s in results["scale"].values):
            at = results.sel(initialization=label, scale=scale)
            widths = results["width"].values
            groups = [(str(w), last(at).sel(width=w)) for w in widths]
            start = [(str(w), at.isel(epoch=0).sel(width=w)) for w in widths]
            theory = [
                theory_over_depth(
                    theorem1_value,
                    label,
                    str(w),
                    depths,
                    width=int(w),
                    features=features,
                    outputs=outputs,
                )
                for w in widths
            ]
            labels = {"legend": "width", "x_log": False}
            measured = [stability_curve(r, n, "depth") for n, r in groups]
            initial = [stability_curve(r, n, "depth") for n, r in start]
            axis = "L (weight matrices)"
            figures.append(
                Figure(
                    name=f"{label.replace(':', '-')}-{scale}",
                    title=f"Stability and depth, {name_of(label)}, {SCALES[scale]}",
                    caption="L counts weight matrices, one more than the hidden "
                    "layers. Dashed: the right side of Theorem 1 with its unspecified "
                    "constant set to 1, so compare shapes. Bands: 95 %, over seeds and "
                    "inputs.",
                    panels=(
                        Panel(
                            "After training",
                            axis,
                            STABILITY,
                            [*measured, *theory],
                            **labels,
                        ),
                        accuracy_panel(groups, "depth", **labels | {"x_title": axis}),
                        Panel("At initialisation", axis, STABILITY, initial, **labels),
                    ),
                )
            )
    return figures


STABILITY_DEPTH = Study(
    name="stability-depth",
    title="Depth: perturbation stability under three initialisations",
    question="Does depth hurt robustness under He and NTK initialisation, and help it "
    "under LeCun's?",
    source="zhu2022, Fig. 5a, 5b and 10, Theorem 1, Sec. 5.4 and App. E.6.",
    settings=TrainingSettings,
    presets=presets(initializations=("he", "lecun", "ntk")),
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    check=check_data,
)
