"""Perturbation stability in the lazy and the non-lazy regime, against width."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.bounds.zhu2022 import theorem3_rate
from widelimit.studies.base import Study
from widelimit.studies.curves import (
    SCALES,
    STABILITY,
    accuracy_panel,
    last,
    name_of,
    seed_curve,
    sizes,
    stability_curve,
)
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.settings import AXES, TRIAL, TwoLayerSettings, presets
from widelimit.studies.trial import check_data, initialization
from widelimit.studies.verdicts import Claim, every, interval, judge, log2, slopes

if TYPE_CHECKING:
    import xarray as xr


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    labels = [str(label) for label in results["initialization"].values]
    lazy = [label for label in labels if not label.startswith("non-lazy")]
    for scale in (str(s) for s in results["scale"].values):
        final = last(results.sel(scale=scale))["stability"].squeeze("depth")
        for label in (v for v in labels if v.startswith("non-lazy")):
            claims += [_below(final, label, reference, scale) for reference in lazy]
            claims.append(_falls(final, label, scale))
            claims.append(_trained(results, label, scale))
    return claims


def _below(final: "xr.DataArray", label: str, reference: str, scale: str) -> Claim:
    ratio = final.sel(initialization=reference) / final.sel(initialization=label)
    found, holds, width = every(
        {int(w): log2(ratio.sel(width=w).values) for w in ratio["width"].values}
    )
    return Claim(
        name=f"{label}-below-{reference}[{scale}]",
        statement=f"{name_of(label)} lies below {name_of(reference)} at every width "
        f"({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=holds,
        detail="log2 of lazy over non-lazy stability after training, at the width that "
        f"decides, {width}.",
        scope={"scale": scale, "initialization": label},
    )


def _falls(final: "xr.DataArray", label: str, scale: str) -> Claim:
    rows = final.sel(initialization=label).transpose("seed", "width")
    found = interval(-slopes(log2(rows.values), np.log2(rows["width"].values)))
    return Claim(
        name=f"{label}-falls-with-width[{scale}]",
        statement=f"{name_of(label)}: stability falls with width ({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=judge(found),
        detail="Minus the slope of log stability against log width, after training.",
        scope={"scale": scale, "initialization": label},
    )


def _trained(results: "xr.Dataset", label: str, scale: str) -> Claim:
    """Guards the two claims above against networks that never left their start."""
    at = last(results.sel(scale=scale, initialization=label)).squeeze("depth")
    _, outputs = sizes(results)
    chance = 1 / outputs
    found, holds, width = every(
        {
            int(w): at["accuracy"].sel(width=w).values - 2 * chance
            for w in at["width"].values
        }
    )
    return Claim(
        name=f"{label}-learns[{scale}]",
        statement=f"{name_of(label)}: the network learns, to more than twice the "
        f"accuracy of chance at every width ({SCALES[scale]}); where it does not, its "
        "low stability only says that it still is near zero.",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=holds,
        detail=f"Test accuracy less {2 * chance:.0%}, at the width that decides, "
        f"{width}.",
        scope={"scale": scale, "initialization": label},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for scale in (str(s) for s in results["scale"].values):
        at = results.sel(scale=scale).squeeze("depth")
        groups = [
            (name_of(str(label)), last(at).sel(initialization=label))
            for label in results["initialization"].values
        ]
        kappa = [seed_curve(r["kappa"], n, "width", log=True) for n, r in groups]
        labels = {"legend": "initialisation", "ordered": False}
        figures.append(
            Figure(
                name=scale,
                title=f"Stability in both regimes, {SCALES[scale]}",
                caption="Two-layer networks. Dashed: the rate of Theorem 3 in the "
                "non-lazy regime, Eq. (4), with its unspecified constant set to 1, so "
                "compare shapes; its explicit constants exist for no data set, because "
                "the radius R_a in its proof is negative for each. Bands: 95 %.",
                panels=(
                    Panel(
                        "After training",
                        "width",
                        STABILITY,
                        [
                            *(stability_curve(r, n, "width") for n, r in groups),
                            *_theorem3(at),
                        ],
                        **labels,
                    ),
                    accuracy_panel(groups, "width", **labels),
                    Panel("Lazy ratio after training", "width", "κ", kappa, **labels),
                ),
            )
        )
    return figures


def _theorem3(at: "xr.Dataset") -> list[Curve]:
    """The rate for each non-lazy exponent that the theorem covers, c >= 1.5."""
    first, last_ = at["width"].values[[0, -1]]
    widths = np.unique(np.geomspace(first, last_, 48).round())
    curves = []
    for label in (str(v) for v in at["initialization"].values):
        exponent = initialization(label).get("exponent", 2.0)
        if not label.startswith("non-lazy") or exponent < 1.5:
            continue
        rates = theorem3_rate(
            width=widths, samples=float(at["samples"].max()), exponent=exponent
        )
        curves.append(
            Curve(name_of(label), widths.tolist(), rates.tolist(), theory=True)
        )
    return curves


STABILITY_REGIME = Study(
    name="stability-regime",
    title="Regime: perturbation stability, lazy and non-lazy",
    question="Is the non-lazy regime more robust, and does width help there? Two-layer "
    "networks (L = 2, one hidden layer), all weights of standard deviation 1/m^c.",
    source="zhu2022, Fig. 4b and 9, Theorem 3, Sec. 5.3 and App. E.5.",
    settings=TwoLayerSettings,
    presets=presets(initializations=("he", "non-lazy:1.5", "non-lazy:2"), depths=(1,)),
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    check=check_data,
)
