"""What the studies of minimal flips against the dimension share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.curves import SCALES, seed_curve
from widelimit.studies.figure import Curve, Panel
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every

if TYPE_CHECKING:
    import xarray as xr

POWERS = {"relative": -0.5, "gradient_norm": 0.5, "step": -1.0}
WORDS = {
    "relative": "relative perturbation |δ| / |x|",
    "gradient_norm": "norm of the gradient",
    "step": "step size η",
}
_TEXT = {-0.5: "d^-1/2", 0.5: "d^1/2", -1.0: "d^-1"}
SHARE = 0.95  # of the images that a claim about every image asks for
ACCURACY = 0.99


def by_dimension(results: "xr.Dataset") -> "xr.Dataset":
    """Results with the dimension d in place of the side."""
    return results.assign_coords(side=results["side"] ** 2).rename(side="d")


def scales_of(results: "xr.Dataset") -> "list[tuple[str, xr.Dataset]]":
    """Every scale that has a finished trial, with its results by dimension."""
    found = [(str(s), results.sel(scale=s)) for s in results["scale"].values]
    return [
        (s, by_dimension(at))
        for s, at in found
        if np.isfinite(at["test_rows"].values).any()
    ]


def exponent_claims(
    at: "xr.Dataset", label: str, words: str, scope: Any
) -> list[Claim]:
    """Whether the three quantities go with the dimension as Theorem 3.1 says.

    Args:
        at: Results of one series, with dimensions `d` and `seed`.
        label: For the names of the claims.
        words: The series, for readers.
        scope: The part of the grid.

    Returns:
        Three claims.
    """
    claims = []
    for name, power in POWERS.items():
        found = powers(at[name], "d")
        claims.append(
            claim_of_every(
                f"{name.replace('_', '-')}[{label}]",
                f"{words}: the {WORDS[name]} goes as {_TEXT[power]}.",
                near(found, power),
                detail=f"{TOLERANCE} less the distance of the power p from {power:g}; "
                f"p = {told(found)} of medians over test images, d from "
                f"{int(at['d'].min())} to {int(at['d'].max())}. {training(at)}",
                scope=scope,
            )
        )
    return claims


def training(at: "xr.Dataset") -> str:
    """How far training went, and what is censored, in sentences."""
    left, known = at["left_at"].values, np.isfinite(at["left_at"].values)
    out = left[known] > 0
    when = f" (step {_range(left[known][out])})" if out.any() else ""
    text = (
        f"{out.sum()} of {out.size} networks reached the border of the ball{when}; "
        f"distances from the start are {_range(at['moved'].values)} / sqrt(m)."
    )
    lost = {
        name: float(np.nanmax(at[name].values)) for name in ("censored", "unresolved")
    }
    told = ", ".join(f"{v:.2g} {n}" for n, v in lost.items() if v > 0)
    return text + (f" Largest share of images: {told}." if told else "")


def _range(values: np.ndarray) -> str:
    low, high = np.nanmin(values), np.nanmax(values)
    return f"{low:.3g}" if low == high else f"{low:.4g} to {high:.4g}"


def cells(at: "xr.Dataset", name: str, less: float = 0.0) -> dict[Any, np.ndarray]:
    """A quantity of every point of the grid, less a number, per seed.

    Args:
        at: Results; all dimensions but `seed` count points.
        name: The quantity.
        less: What is subtracted.

    Returns:
        Groups for `verdicts.every`; points without a finished trial are left out.
    """
    values = at[name]
    others = [dim for dim in values.dims if dim != "seed"]
    rows = values.stack(point=others).transpose("point", "seed")
    return {
        point: row - less
        for point, row in zip(rows["point"].values, rows.values, strict=True)
        if np.isfinite(row).any()
    } or {"": np.full(1, np.nan)}


def general_claims(scale: str, at: "xr.Dataset", reach: float) -> list[Claim]:
    """Accuracy, and that every image flips within the order of |x| / sqrt(d).

    Args:
        scale: `unit` or `raw`.
        at: Its results, by dimension.
        reach: As in the settings.

    Returns:
        Three claims.
    """
    others = [dim for dim in at["relative_95"].dims if dim not in ("d", "seed")]
    rows = at["relative_95"].stack(series=others).transpose("series", "seed", "d")
    growth = {
        series.item() if hasattr(series, "item") else series: TOLERANCE
        - (powers(rows.sel(series=series), "d") + 0.5)
        for series in rows["series"].values
    }
    scaled = at["relative_95"] * np.sqrt(at["d"])
    scope, words = {"scale": scale}, SCALES[scale]
    reached = at["accuracy"].mean("seed")
    lowest = ", ".join(
        f"{float(reached.sel(constant=c).min()):.1%} for C_0 = {float(c):g}"
        for c in at["constant"].values
    )
    return [
        claim_of_every(
            f"accuracy[{scale}]",
            f"{words}: every network reaches a test accuracy of {ACCURACY:.0%}.",
            cells(at, "accuracy", ACCURACY),
            detail=f"Accuracy less {ACCURACY}, at the point of the grid that decides; "
            f"the lowest means over seeds are {lowest}.",
            scope=scope,
        ),
        claim_of_every(
            f"bounded[{scale}]",
            f"{words}: nearly every test image flips within O(|x| / sqrt(d)).",
            growth,
            detail=f"{TOLERANCE} less the power of d of the {SHARE:.0%} quantile of "
            "|δ| / |x| times sqrt(d), which is to stay bounded and is "
            f"{_range(scaled.values)}.",
            scope=scope,
        ),
        claim_of_every(
            f"one-step[{scale}]",
            f"{words}: one gradient step of length {reach:g} |x| / sqrt(d) flips "
            f"{SHARE:.0%} of the test images, at every point of the grid.",
            cells(at, "one_step", SHARE),
            detail=f"The share less {SHARE}; the lowest mean share is "
            f"{float(at['one_step'].mean('seed').min()):.2g}, the highest "
            f"{float(at['one_step'].mean('seed').max()):.2g}.",
            scope=scope,
        ),
    ]


def flip_panels(series: "Sequence[tuple[str, xr.Dataset]]") -> tuple[Panel, ...]:
    """The three panels of the paper's figures, with the theory's powers.

    Args:
        series: Name and results, with dimensions `d` and `seed`, of every curve.

    Returns:
        The panels.
    """
    panels = []
    for name, power in POWERS.items():
        curves: list[Curve] = []
        for label, at in series:
            curve = seed_curve(at[name], label, "d", log=True)
            curves += [curve, guide(curve, power)]
        title = WORDS[name][0].upper() + WORDS[name][1:]
        panels.append(Panel(title, "dimension d", _AXIS[name], curves))
    return tuple(panels)


_AXIS = {"relative": "|δ| / |x|", "gradient_norm": "|∇f|", "step": "η"}
CAPTION = (
    "Geometric means over seeds of medians over test images, with 95 % intervals. "
    "Dashed: d^-1/2, d^1/2 and d^-1 through the largest dimension."
)
