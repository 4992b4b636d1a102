"""Perturbation stability against width, at several depths, in the lazy regime."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import (
    SCALES,
    STABILITY,
    accuracy_panel,
    at_peak,
    last,
    layers_of,
    name_of,
    sizes,
    stability_curve,
)
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.settings import AXES, TRIAL, TrainingSettings, presets
from widelimit.studies.theory import (
    root_mean_square,
    theorem1_value,
    theory_over_width,
)
from widelimit.studies.trial import check_data
from widelimit.studies.verdicts import Claim, interval, judge, log2, rises_then_falls

if TYPE_CHECKING:
    import xarray as xr


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale in results["scale"].values:
        for label in results["initialization"].values:
            at = results.sel(scale=scale, initialization=label)
            for depth in results["depth"].values:
                claims.append(_phase(at, int(depth), str(scale), str(label)))
            claims.append(_below_lemma5(at, str(scale), str(label), sizes(results)))
    return claims


def _phase(at: "xr.Dataset", depth: int, scale: str, label: str) -> Claim:
    rows = last(at)["stability"].sel(depth=depth).transpose("seed", "width").values
    found, holds, peak = rises_then_falls(log2(rows))
    return Claim(
        name=f"{label}-rises-then-falls[L={depth + 1},{scale}]",
        statement=f"{name_of(label)}, L = {depth + 1}: stability rises, then falls "
        f"with width ({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=holds,
        detail="The smaller of log2 P(peak) / P(ends) after training, "
        f"{at_peak(at['width'].values, peak)}.",
        scope={"scale": scale, "initialization": label, "depth": depth},
    )


def _below_lemma5(
    at: "xr.Dataset", scale: str, label: str, features_outputs: tuple[int, int]
) -> Claim:
    """Jensen's inequality on the exact mean square: it must hold at initialisation."""
    features, outputs = features_outputs
    margins = []
    for depth in at["depth"].values:
        for width in at["width"].values:
            cell = at.sel(depth=depth, width=width)
            bound = root_mean_square(
                label,
                depth=int(depth),
                width=int(width),
                features=features,
                outputs=outputs,
            )
            values = cell["stability"].isel(epoch=0).values
            margins.append(np.log2(bound) - log2(values))
    found = interval(np.mean(margins, axis=0))
    return Claim(
        name=f"{label}-below-lemma-5[{scale}]",
        statement=f"{name_of(label)}: at initialisation stability lies below the root "
        f"of Lemma 5's exact mean square ({SCALES[scale]}).",
        statistic=found.mean,
        uncertainty=found.half_width,
        holds=judge(found),
        detail="log2 of bound over measured, averaged over the grid.",
        scope={"scale": scale, "initialization": label},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for label in results["initialization"].values:
        for scale in results["scale"].values:
            at = results.sel(initialization=label, scale=scale)
            groups = [
                (layers_of(int(d)), last(at).sel(depth=d))
                for d in results["depth"].values
            ]
            start = [
                (layers_of(int(d)), at.isel(epoch=0).sel(depth=d))
                for d in results["depth"].values
            ]
            figures.append(
                Figure(
                    name=f"{str(label).replace(':', '-')}-{scale}",
                    title=f"Stability and width, {name_of(str(label))}, "
                    f"{SCALES[str(scale)]}",
                    caption="Perturbation stability per unit radius, exact per test "
                    "input; larger is less robust. Bands: 95 %, over seeds and inputs. "
                    "Dashed after training: the right side of Theorem 1 with its "
                    "unspecified constant set to 1, so compare shapes. Dashed at "
                    "initialisation: the root of Lemma 5's exact mean square, a true "
                    "upper bound.",
                    panels=(
                        _panel(
                            "After training",
                            groups,
                            _theory(results, str(label), theorem1_value),
                        ),
                        accuracy_panel(groups, "width", legend="depth"),
                        _panel(
                            "At initialisation",
                            start,
                            _theory(results, str(label), root_mean_square),
                        ),
                    ),
                )
            )
    return figures


def _panel(
    title: str, groups: "list[tuple[str, xr.Dataset]]", theory: list[Curve]
) -> Panel:
    measured = [stability_curve(r, series, "width") for series, r in groups]
    return Panel(title, "width", STABILITY, [*measured, *theory], legend="depth")


def _theory(
    results: "xr.Dataset", label: str, bound: Callable[..., float]
) -> list[Curve]:
    features, outputs = sizes(results)
    return [
        theory_over_width(
            bound,
            label,
            layers_of(int(depth)),
            results["width"].values,
            depth=int(depth),
            features=features,
            outputs=outputs,
        )
        for depth in results["depth"].values
    ]


STABILITY_WIDTH = Study(
    name="stability-width",
    title="Width: perturbation stability in the lazy regime",
    question="Does robustness get worse and then better with width, at every depth?",
    source="zhu2022, Fig. 4a, Theorem 1, Sec. 5.3.",
    settings=TrainingSettings,
    presets=presets(initializations=("he",)),
    axes=AXES,
    trial=TRIAL,
    claims=_claims,
    figures=_figures,
    check=check_data,
)
