"""Lazy ratio against time and width, in the lazy and the non-lazy regime."""

from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import (
    SCALES,
    accuracy_panel,
    at_peak,
    last,
    name_of,
    seed_curve,
)
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.settings import AXES, TRIAL, TwoLayerSettings, presets
from widelimit.studies.trial import check_data
from widelimit.studies.verdicts import (
    Claim,
    every,
    interval,
    judge,
    log2,
    rises_then_falls,
    slopes,
)

if TYPE_CHECKING:
    import xarray as xr

_FLAT = 0.1
_LINEAR = 0.25
_EARLY = (1, 25)  # epochs between which the learning rate is constant


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale in results["scale"].values:
        at = results.sel(scale=scale)
        for label in results["initialization"].values:
            kappa = at["kappa"].sel(initialization=label)
            lazy = not str(label).startswith("non-lazy")
            claims += _over_time(kappa, str(label), str(scale), lazy=lazy)
            claims.append(_over_width(kappa, str(label), str(scale), lazy=lazy))
        claims += _above_lazy(at["kappa"].isel(epoch=-1), str(scale))
    return claims


def _over_time(
    kappa: "xr.DataArray", label: str, scale: str, *, lazy: bool
) -> list[Claim]:
    """How kappa grows from epoch 1 to 25, where the learning rate is constant."""
    early = kappa.sel(epoch=slice(*_EARLY))
    times = np.log2(early["epoch"].values)
    groups = {}
    for width in kappa["width"].values:
        rows = early.sel(width=width).squeeze("depth").transpose("seed", "epoch")
        powers = slopes(log2(rows.values), times)
        groups[int(width)] = _FLAT - powers if lazy else _LINEAR - np.abs(powers - 1)
    found, holds, width = every(groups)
    epochs = early["epoch"].values
    over = f"epochs {epochs[0]} to {epochs[-1]}" if len(epochs) else "no epoch"
    if lazy:
        statement = f"{name_of(label)}: the lazy ratio hardly changes with time"
        detail = (
            f"{_FLAT} less the power p in kappa ~ t^p over {over}, weakest at "
            f"width {width}, where p = {_FLAT - found.mean:.2f}."
        )
    else:
        statement = f"{name_of(label)}: the lazy ratio grows about linearly with time"
        detail = (
            f"{_LINEAR} less |p - 1|, with p the power in kappa ~ t^p over {over}, "
            f"weakest at width {width}."
        )
    return [
        Claim(
            name=f"{label}-kappa-over-time[{scale}]",
            statement=f"{statement} ({SCALES[scale]}).",
            statistic=found.mean,
            uncertainty=found.half_width,
            holds=holds,
            detail=detail,
            scope={"scale": scale, "initialization": label},
        )
    ]


def _over_width(kappa: "xr.DataArray", label: str, scale: str, *, lazy: bool) -> Claim:
    final = kappa.isel(epoch=-1).squeeze("depth").transpose("seed", "width")
    widths = np.log2(final["width"].values)
    logs = log2(final.values)
    if lazy:
        found = interval(-slopes(logs, widths))
        return Claim(
            name=f"{label}-kappa-shrinks-with-width[{scale}]",
            statement=f"{name_of(label)}: the lazy ratio shrinks with width "
            f"({SCALES[scale]}).",
            statistic=found.mean,
            uncertainty=found.half_width,
            holds=judge(found),
            detail="Minus the slope of log kappa against log width, after training.",
            scope={"scale": scale, "initialization": label},
        )
    found, holds, peak = rises_then_falls(logs)
    return Claim(
        name=f"{label}-kappa-rises-then-falls[{scale}]",
        statement=f"{name_of(label)}: the lazy ratio rises, then falls with width "
        f"({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=holds,
        detail="The smaller of log2 kappa(peak) / kappa(ends), "
        f"{at_peak(final['width'].values, peak)}.",
        scope={"scale": scale, "initialization": label},
    )


def _above_lazy(final: "xr.DataArray", scale: str) -> list[Claim]:
    labels = [str(v) for v in final["initialization"].values]
    lazy = [v for v in labels if not v.startswith("non-lazy")]
    claims = []
    for reference in lazy:
        for label in (v for v in labels if v.startswith("non-lazy")):
            pair = [final.sel(initialization=name) for name in (label, reference)]
            ratio = (pair[0] / pair[1]).squeeze("depth")
            found, holds, width = every(
                {int(w): log2(ratio.sel(width=w).values) for w in ratio["width"].values}
            )
            claims.append(
                Claim(
                    name=f"{label}-kappa-above-{reference}[{scale}]",
                    statement=f"The lazy ratio of {name_of(label)} lies above that of "
                    f"{name_of(reference)} at every width ({SCALES[scale]}).",
                    statistic=found.mean,
                    uncertainty=found.half_width,
                    holds=holds,
                    detail="log2 of the ratio of the two after training, at the width "
                    f"that decides, {width}.",
                    scope={"scale": scale, "initialization": label},
                )
            )
    return claims


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for label in results["initialization"].values:
        for scale in results["scale"].values:
            at = results.sel(initialization=label, scale=scale).squeeze("depth")
            late = at["kappa"].isel(epoch=slice(1, None))
            over_time = [
                seed_curve(late.sel(width=w), str(w), "epoch", log=True)
                for w in results["width"].values
            ]
            over_width = [
                seed_curve(last(at)["kappa"], "after training", "width", log=True)
            ]
            figures.append(
                Figure(
                    name=f"{str(label).replace(':', '-')}-{scale}",
                    title=f"Lazy ratio, {name_of(str(label))}, {SCALES[str(scale)]}",
                    caption="Geometric mean over seeds of kappa, the sum over layers "
                    "of the distances from initialisation over the sum of norms at "
                    "initialisation; bands are 95 % intervals over seeds.",
                    panels=(
                        Panel("κ over training", "epoch", "κ", over_time,
                              legend="width", x_log=False),
                        Panel("κ after training", "width", "κ", over_width),
                        accuracy_panel([("after training", last(at))], "width"),
                    ),
                )
            )  # fmt: skip
    return figures


LAZY_RATIO = Study(
    name="lazy-ratio",
    title="Lazy ratio: how far training moves the weights",
    question="Is training lazy at the initialisation that theory calls lazy, and not "
    "at the small one? Two-layer networks (L = 2, one hidden layer).",
    source="zhu2022, Fig. 2 and 3, Sec. 5.2.",
    settings=TwoLayerSettings,
    presets=presets(initializations=("he", "non-lazy:2"), depths=(1,)),
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    check=check_data,
)
