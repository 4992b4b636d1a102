"""How minimal flips are spread over test images: wang2022, Fig. 7."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.curves import SCALES
from widelimit.studies.figure import Curve, Figure, Histogram
from widelimit.studies.flip_dimension import MNIST
from widelimit.studies.flip_settings import FlipSettings
from widelimit.studies.flip_trial import FLIP_ROWS_TRIAL
from widelimit.studies.powers import told
from widelimit.studies.verdicts import Claim, claim_of_every, log2
from widelimit.studies.wang2022_problem import check_lazy

if TYPE_CHECKING:
    import xarray as xr

WORDS = {
    "relative": "relative perturbation |δ| / |x|",
    "gradient_norm": "norm of the gradient",
    "step": "step size η",
}
SKEWNESS, KURTOSIS = 0.5, 1.0  # how far from a Gaussian's 0 they may be
STEP = 0.045  # that the paper names, for d = 784, m = 1e5, C_0 = 10
PAPER = (784, 100_000, 10.0)
_LILLIEFORS = 0.886  # over sqrt(n): exceeded by 5 % of Gaussian samples
_BARS = 30


class FlipHistogramSettings(FlipSettings):
    """One dimension, width and constant.

    Attributes:
        constants: C_0 of the lazy balls.
        sides: Sides to which images are averaged down.
        widths: Units m of the hidden layer.
    """

    constants: tuple[PositiveFloat, ...] = Field((10.0,), min_length=1)
    sides: tuple[PositiveInt, ...] = Field((8,), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((1024,), min_length=1)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {**MNIST, "sides": (28,), "widths": (4000,), "epochs": 10},
    "paper": {
        **MNIST, "sides": (28,), "widths": (100_000,), "epochs": 100, "seeds": 5,
    },
}  # fmt: skip


def _points(results: "xr.Dataset") -> "list[tuple[str, xr.Dataset]]":
    """Every point of the grid that is finished, with its name."""
    axes = ("scale", "constant", "width", "side")
    stacked = results.stack(point=axes)
    found = []
    for point in stacked["point"].values:
        at = results.sel(dict(zip(axes, point, strict=True)))
        if np.isfinite(at["accuracy"].values).any():
            found.append((_name(at), at))
    return found


def _name(at: "xr.Dataset") -> str:
    return (
        f"{at['scale'].item()},d={int(at['side']) ** 2},m={int(at['width'])},"
        f"C0={float(at['constant']):g}"
    )


def _words(at: "xr.Dataset") -> str:
    return (
        f"{SCALES[at['scale'].item()]}, d = {int(at['side']) ** 2}, "
        f"m = {int(at['width'])}, C_0 = {float(at['constant']):g}"
    )


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for name, at in _points(results):
        claims += [_gaussian(name, at, quantity) for quantity in WORDS]
        claims.append(_small_step(name, at))
    return claims


def _gaussian(name: str, at: "xr.Dataset", quantity: str) -> Claim:
    every = at[quantity].transpose("seed", "row").values
    labels = at["label"].values
    skewness, kurtosis = _moments(every)
    far = np.array([_distance(row) for row in every])
    classes = [_moments(every[:, labels == label]) for label in np.unique(labels)]
    own = "; ".join(
        f"{told(s)} and {told(k)} of class {i + 1}" for i, (s, k) in enumerate(classes)
    )
    n = int(np.isfinite(every).sum(axis=1).min())
    return claim_of_every(
        f"gaussian-{quantity.replace('_', '-')}[{name}]",
        f"{_words(at)}: over test images the {WORDS[quantity]} has the shape of a "
        f"Gaussian: a skewness within {SKEWNESS} and an excess kurtosis within "
        f"{KURTOSIS} of zero.",
        {
            "skewness above": SKEWNESS - skewness,
            "skewness below": SKEWNESS + skewness,
            "kurtosis above": KURTOSIS - kurtosis,
            "kurtosis below": KURTOSIS + kurtosis,
        },
        detail=f"Skewness {told(skewness)}, excess kurtosis {told(kurtosis)} ({own}). "
        f"The largest distance from the fitted normal distribution function is "
        f"{told(far)}; {_LILLIEFORS / math.sqrt(n):.2g} would be exceeded by 5 % of "
        f"Gaussian samples of {n}. {_training(at)}",
        scope=_scope(at),
    )


def _small_step(name: str, at: "xr.Dataset") -> Claim:
    steps = at["step"].transpose("seed", "row").values
    medians = np.array([np.median(row) for row in steps])  # NaN if a flip is missing
    here = (int(at["side"]) ** 2, int(at["width"]), float(at["constant"]))
    ratio = log2(medians / STEP)
    theirs = here == PAPER
    kept = {"above": 1 - ratio, "below": 1 + ratio}
    return claim_of_every(
        f"step[{name}]",
        f"{_words(at)}: the step size concentrates around {STEP}, within a factor 2.",
        kept if theirs else {"": np.full(1, np.nan)},
        detail=f"1 less |log2(median / {STEP})|; the median is {told(medians)}. "
        + (
            ""
            if theirs
            else f"Judged only where the paper names it: d = {PAPER[0]}, m = "
            f"{PAPER[1]}, C_0 = {PAPER[2]:g}. "
        )
        + _training(at),
        scope=_scope(at),
    )


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skewness and excess kurtosis per seed, of the images whose flip is known."""
    kept = [row[np.isfinite(row)] for row in rows]
    return (
        np.array([scipy.stats.skew(row) if len(row) > 2 else np.nan for row in kept]),
        np.array(
            [scipy.stats.kurtosis(row) if len(row) > 3 else np.nan for row in kept]
        ),
    )


def _distance(row: Float[np.ndarray, " n"]) -> float:
    """Largest distance of the distribution function from the fitted normal one."""
    row = row[np.isfinite(row)]
    if len(row) < 4 or row.std() == 0:
        return math.nan
    fitted: Any = scipy.stats.norm(row.mean(), row.std(ddof=1))
    found: Any = scipy.stats.ks_1samp(row, fitted.cdf)
    return float(found.statistic)


def _training(at: "xr.Dataset") -> str:
    left = at["left_at"].values
    lost = float(at["censored"].mean() + at["unresolved"].mean())
    return (
        f"{int((left > 0).sum())} of {left.size} networks reached the border of the "
        f"ball; distances from the start are {float(at['moved'].min()):.3g} to "
        f"{float(at['moved'].max()):.3g} / sqrt(m). The flip of a share {lost:.2g} of "
        "the images is not known."
    )


def _scope(at: "xr.Dataset") -> dict[str, Any]:
    return {
        "scale": at["scale"].item(),
        "constant": float(at["constant"]),
        "width": int(at["width"]),
        "side": int(at["side"]),
    }


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for name, at in _points(results):
        lost = float(at["censored"].mean() + at["unresolved"].mean())
        classes = results.attrs["classes"]
        figures.append(
            Figure(
                name=f"histogram-{name}",
                title=f"Minimal flips over test images, {_words(at)}",
                caption=f"All {at.sizes['seed']} seeds together; the classes' bars are "
                "stacked, and have the area 1 in all. Dashed: the normal density of "
                "the same mean and variance. A share "
                f"{lost:.2g} of the images, whose flip is not known, is left out of "
                "the first and last panel. As wang2022, Figure 7.",
                panels=tuple(_panel(at, quantity, classes) for quantity in WORDS),
            )
        )
    return figures


def _panel(at: "xr.Dataset", quantity: str, classes: Any) -> Histogram:
    every = at[quantity].transpose("seed", "row").values
    known = every[np.isfinite(every)]
    edges = np.histogram_bin_edges(known, bins=_BARS)
    labels = np.broadcast_to(at["label"].values, every.shape)
    size = len(known) * (edges[1] - edges[0])
    bars = []
    for place, label in enumerate(np.unique(labels)):
        part = every[(labels == label) & np.isfinite(every)]
        heights = np.histogram(part, bins=edges)[0] / size
        bars.append((f"class {classes[place]}", heights.tolist()))
    curves = []
    if len(known) > 1 and known.std() > 0:
        x = np.linspace(edges[0], edges[-1], 101)
        fitted: Any = scipy.stats.norm(known.mean(), known.std())
        y = fitted.pdf(x)
        curves.append(Curve("normal density", x.tolist(), y.tolist(), theory=True))
    title = WORDS[quantity][0].upper() + WORDS[quantity][1:]
    axis = {"relative": "|δ| / |x|", "gradient_norm": "|∇f|", "step": "η"}[quantity]
    return Histogram(title, axis, "density", edges.tolist(), bars, curves)


FLIP_HISTOGRAM = Study(
    name="flip-histogram",
    title="Minimal flips over test images",
    question="Are the smallest perturbation, the norm of the gradient and the step "
    "spread over test images as a Gaussian is, and how small is the step?",
    source="wang2022, App. A and Fig. 7.",
    settings=FlipHistogramSettings,
    presets=PRESETS,
    axes={
        "scale": "scales",
        "constant": "constants",
        "width": "widths",
        "side": "sides",
    },
    trial=FLIP_ROWS_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_lazy,
)
"""Histograms of the flips of every test image."""
