"""Eigenfeatures of standard and robust training: kim2023, Sec. 5.2."""

from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.eigenfeatures_claims import (
    cases,
    claims_of,
    correlation,
    penalties,
    strengths,
)
from widelimit.studies.eigenfeatures_settings import PRESETS, EigenfeatureSettings
from widelimit.studies.eigenfeatures_trial import DRAWN, EIGENFEATURES_TRIAL
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.kim2023_tables import check_tables, title_of

if TYPE_CHECKING:
    import xarray as xr


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for table, activation, at in cases(results):
        title = f"{title_of(table, activation)}, depth {int(at['depth'].max())}"
        figures += [
            _pairs(f"{table}-{activation}", title, at),
            _over_lambda(f"{table}-{activation}", title, at),
        ]
    return figures


def _pairs(name: str, title: str, at: "xr.Dataset") -> Figure:
    x = "test accuracy"
    labels: Any = {"x_log": False, "y_log": False, "joined": False}
    panels = []
    for strength in strengths(at):
        standard = [_cloud("standard", at, 0.0, strength)]
        robust = [_cloud(f"λ = {v:g}", at, v, strength) for v in penalties(at)]
        least = min(min([*c.x, *c.y, 1.0]) for c in (*standard, *robust))
        equal = Curve("equal", [least, 1.0], [least, 1.0], theory=True)
        y = f"accuracy under perturbation {strength:g}"
        for heading, curves in (
            ("Standard training", standard),
            ("With Jacobian regularisation", robust),
        ):
            panels.append(Panel(heading, x, y, [*curves, equal], **labels))
    return Figure(
        name=f"pairs-{name}",
        title=f"Accuracy and robustness of eigenfeatures, {title}",
        caption=f"Every point is an eigenfeature, of the {DRAWN} largest eigenvalues "
        "of each training and of all divisions into training and test rows; where "
        "points lie on each other it is darker. On the dashed line the perturbation, "
        "one gradient step against the standard predictor with that learning rate, "
        "costs nothing.",
        panels=tuple(panels),
    )


def _cloud(series: str, at: "xr.Dataset", lam: float, strength: float) -> Curve:
    at = at.sel(regularization=lam)
    clean, under = (
        at["feature_accuracy"].sel(strength=s).transpose("seed", "feature").values
        for s in (0.0, strength)
    )
    sizes = at["eigenvalue"].transpose("seed", "feature").values
    known = np.isfinite(clean) & np.isfinite(under)
    return Curve(
        series,
        clean[known].tolist(),
        under[known].tolist(),
        notes=[f"eigenvalue {size:.3g}" for size in sizes[known]],
    )


def _over_lambda(name: str, title: str, at: "xr.Dataset") -> Figure:
    lams = penalties(at)
    related, accurate = [], []
    for strength in strengths(at):
        found = [correlation(at, lam, strength) for lam in lams]
        related.append(
            Curve(
                f"{strength:g}",
                lams,
                np.tanh([i.mean for i in found]).tolist(),
                np.tanh([i.low for i in found]).tolist(),
                np.tanh([i.high for i in found]).tolist(),
            )
        )
        mean = float(np.tanh(correlation(at, 0.0, strength).mean))
        related.append(_level(f"{strength:g}", lams, mean))
    for strength in (*strengths(at), 0.0):
        values = at["predictor"].sel(strength=strength)
        series = f"{strength:g}" if strength else "none"
        accurate.append(
            seed_curve(
                values.sel(regularization=lams), series, "regularization", share=True
            )
        )
        mean = float(values.sel(regularization=0.0).mean())
        accurate.append(_level(series, lams, mean))
    moved = [
        f"{float(at['moved'].sel(regularization=0.0, strength=s).mean()):.2g}"
        for s in strengths(at)
    ]
    return Figure(
        name=f"lambda-{name}",
        title=f"Alignment and accuracy against λ, {title}",
        caption="Left: correlation over all eigenfeatures of test accuracy and "
        "accuracy under perturbation; right: accuracy of their sum, the trained "
        "network. Dashed: standard training. Means over divisions into training and "
        "test rows, with 95 % intervals. The perturbations move inputs, of norm 1, by "
        f"{' and '.join(moved)} on average. At t = inf the predictor does not depend "
        "on λ > 0, its eigenfeatures do.",
        panels=(
            Panel("Accuracy and robustness of eigenfeatures", "λ", "correlation",
                  related, y_log=False, legend="perturbation", ordered=False),
            Panel("The predictor", "λ", "accuracy", accurate, y_log=False,
                  legend="perturbation", ordered=False),
        ),
    )  # fmt: skip


def _level(series: str, lams: list[float], value: float) -> Curve:
    return Curve(series, lams, [value] * len(lams), theory=True)


EIGENFEATURES = Study(
    name="eigenfeatures",
    title="Accuracy and robustness of eigenfeatures",
    question="Does Jacobian regularisation align accuracy and robustness of the "
    "eigenfeatures that make up the trained network?",
    source="kim2023, Sec. 5.2, Fig. 4, 5 and B9 to B13.",
    settings=EigenfeatureSettings,
    presets=PRESETS,
    axes={
        "table": "tables",
        "activation": "activations",
        "regularization": "regularizations",
    },
    trial=EIGENFEATURES_TRIAL,
    claims=claims_of,
    figures=_figures,
    demo=False,
    check=check_tables,
)
"""Usefulness of eigenfeatures with and without perturbation, against lambda."""
