"""Minimal flips of lazily trained networks against the dimension: wang2022, Sec. 5."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import SCALES, seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.flip_curves import (
    CAPTION,
    POWERS,
    WORDS,
    cells,
    exponent_claims,
    flip_panels,
    general_claims,
    scales_of,
)
from widelimit.studies.flip_settings import FlipCurveSettings
from widelimit.studies.flip_trial import FLIP_TRIAL
from widelimit.studies.verdicts import Claim, claim_of_every, log2
from widelimit.studies.wang2022_problem import check_lazy

if TYPE_CHECKING:
    import xarray as xr

MNIST = {"data": "mnist", "classes": (0, 1), "batch_size": 64}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"sides": (4, 6, 8)},
    "laptop": {
        **MNIST,
        "sides": (5, 7, 10, 14, 20, 28),
        "widths": (1000, 4000),
        "epochs": 10,
        "test_rows": 500,
    },
    "paper": {
        **MNIST,
        "sides": (5, 7, 10, 14, 20, 25, 28),
        "widths": (1000, 10_000, 100_000),
        "constants": (10.0, 20.0, 30.0, 40.0),
        "epochs": 100,
        "seeds": 5,
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale, at in scales_of(results):
        for label, words, one in _series(at):
            claims += exponent_claims(
                one,
                f"{scale},{label}",
                f"{SCALES[scale]}, {words}",
                {
                    "scale": scale,
                    "width": int(one["width"]),
                    "constant": float(one["constant"]),
                },
            )
        claims += general_claims(scale, at, results.attrs["reach"])
        claims += [_farther(scale, at, name) for name in POWERS]
        claims += _bounds(scale, at, results.attrs["gamma"])
    return claims


def _series(at: "xr.Dataset") -> "list[tuple[str, str, xr.Dataset]]":
    """The curves of the paper's figures: widths at one constant, and the reverse."""
    first, widest = float(at["constant"].min()), int(at["width"].max())
    pairs = [(int(w), first) for w in at["width"].values]
    pairs += [(widest, float(c)) for c in at["constant"].values if c != first]
    return [
        (
            f"m={width},C0={constant:g}",
            f"m = {width}, C_0 = {constant:g}",
            at.sel(width=width, constant=constant),
        )
        for width, constant in pairs
    ]


def _farther(scale: str, at: "xr.Dataset", name: str) -> Claim:
    """Figure 3: what a larger ball does, judged on seeds that left the smaller one."""
    wide = at.sel(width=at["width"].max())
    values = wide[name].transpose("constant", "d", "seed").values
    left = wide["left_at"].transpose("constant", "d", "seed").values > 0
    with np.errstate(invalid="ignore"):
        ratios = np.where(left[:-1], log2(values[1:] / values[:-1]), np.nan)
    constants = wide["constant"].values
    groups = {
        float(c): _seed_means(ratios[i])
        for i, c in enumerate(constants[1:])
        if np.isfinite(ratios[i]).any()
    }
    told = "; ".join(
        f"{np.nanmean(ratios[i]):.2g} from {constants[i]:g} to {c:g} "
        f"({np.isfinite(ratios[i]).sum()} of {ratios[i].size} networks left the ball)"
        for i, c in enumerate(constants[1:])
        if np.isfinite(ratios[i]).any()
    )
    return claim_of_every(
        f"larger-ball-{name.replace('_', '-')}[{scale}]",
        f"{SCALES[scale]}: the larger C_0, the larger the {WORDS[name]}, on average "
        "over dimensions, at the largest width (Fig. 3).",
        groups or {"": np.full(1, np.nan)},
        detail="log2 of the ratio of one constant to the one before, of networks that "
        "left the smaller ball (to the others a larger one makes no difference): "
        f"{told or 'none did'}.",
        scope={"scale": scale},
    )


def _seed_means(rows: np.ndarray) -> np.ndarray:
    """Mean over dimensions of every seed that left the ball at some of them."""
    return np.array(
        [c[np.isfinite(c)].mean() if np.isfinite(c).any() else np.nan for c in rows.T]
    )


def _bounds(scale: str, at: "xr.Dataset", gamma: float) -> list[Claim]:
    least = 1 - gamma
    ratio = {
        "b4": (at["possible"] / at["b4"], at["changed"] / at["b4"]),
        "b5": (at["output_max"] / at["b5"], at["output"] / at["b5"]),
    }
    told = {k: [_mean_range(r) for r in pair] for k, pair in ratio.items()}
    words = SCALES[scale]
    return [
        claim_of_every(
            f"lemma-b4[{scale}]",
            f"{words}: the units that can change sign in the ball are no more than "
            f"Lemma B.4 says, at a share 1 - γ = {least:g} of the images or more.",
            cells(at, "b4_holds", least),
            detail="The share less 1 - γ. |S_v|, counted exactly, is "
            f"{told['b4'][0]} of the bound in the mean over images; units that did "
            f"change sign are {told['b4'][1]} of it.",
            scope={"scale": scale},
        ),
        claim_of_every(
            f"lemma-b5[{scale}]",
            f"{words}: |f(x)| / |x| is no more than Lemma B.5 says, at a share "
            f"1 - γ = {least:g} of the images or more.",
            cells(at, "b5_holds", least),
            detail="The share less 1 - γ. The largest |f(x)| / |x| is "
            f"{told['b5'][0]} of the bound, the median {told['b5'][1]}.",
            scope={"scale": scale},
        ),
    ]


def _mean_range(ratio: "xr.DataArray") -> str:
    mean = ratio.mean("seed")
    return f"{float(mean.min()):.2g} to {float(mean.max()):.2g}"


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for scale, at in scales_of(results):
        first, widest = float(at["constant"].min()), int(at["width"].max())
        widths = [
            (f"m = {w}", at.sel(width=w, constant=first)) for w in at["width"].values
        ]
        balls = [
            (f"C_0 = {c:g}", at.sel(width=widest, constant=c))
            for c in at["constant"].values
        ]
        words = SCALES[scale]
        numbers = {"unit": ("5", "6"), "raw": ("2", "3")}[scale]
        figures += [
            Figure(
                name=f"widths-{scale}",
                title=f"Minimal flips, {words}, C_0 = {first:g}, by width",
                caption=f"{CAPTION} As wang2022, Figure {numbers[0]}.",
                panels=flip_panels(widths),
            ),
            Figure(
                name=f"constants-{scale}",
                title=f"Minimal flips, {words}, width {widest}, by C_0",
                caption=f"{CAPTION} As wang2022, Figure {numbers[1]}. Curves coincide "
                "where the smaller ball was not left.",
                panels=flip_panels(balls),
            ),
            Figure(
                name=f"bounds-{scale}",
                title=f"What training did, {words}, width {widest}",
                caption="Means over seeds with 95 % intervals. Left: how far the unit "
                "that moved most is from its start; networks end at C_0 / sqrt(m), or "
                "when the epochs are over. Middle: units that can change sign within "
                "the ball, counted, and Lemma B.4 (dashed). Right: the largest "
                "|f(x)| / |x| of the test images, and Lemma B.5 (dashed).",
                panels=(
                    Panel("Distance from the start", "dimension d",
                          "distance times sqrt(m)", _over_d(balls, "moved")),
                    Panel("|S_v| and its bound", "dimension d", "units",
                          _over_d(balls, "possible", "b4")),
                    Panel("|f| and its bound", "dimension d", "|f(x)| / |x|",
                          _over_d(balls, "output_max", "b5")),
                ),
            ),
        ]  # fmt: skip
    return figures


def _over_d(series: Any, name: str, bound: str = "") -> list[Curve]:
    curves = []
    for label, at in series:
        curves.append(seed_curve(at[name], label, "d", log=True))
        if bound:
            x, y = at["d"].values.tolist(), at[bound].values.tolist()
            curves.append(Curve(label, x, y, theory=True))
    return curves


FLIP_DIMENSION = Study(
    name="flip-dimension",
    title="Minimal flips of lazily trained networks against the dimension",
    question="Does a step of O(1 / sqrt(d)) along the gradient flip the prediction of "
    "a network trained in the lazy regime, and how do the step's parts go with d?",
    source="wang2022, Theorem 3.1, Sec. 5.1 and Fig. 2, 3, 5, 6.",
    settings=FlipCurveSettings,
    presets=PRESETS,
    axes={"scale": "scales", "width": "widths", "side": "sides"},
    trial=FLIP_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_lazy,
)
"""Perturbation, gradient norm and step size over d, for widths and constants."""
