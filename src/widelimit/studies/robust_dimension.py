"""Robust accuracy over perturbation size and dimension: wang2022, Fig. 4 left."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.du2019_curves import TOLERANCE, near, told
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.verdicts import Claim, claim_of_every
from widelimit.studies.wang2022_robust import (
    FACTOR,
    MNIST,
    PAPER,
    ROBUST_TRIAL,
    RobustSettings,
    at_position,
    cells,
    check_robust,
    constant_near,
    crossings,
    curve_of,
    geometric,
)

if TYPE_CHECKING:
    import xarray as xr

CONSTANT = 5.0  # of the paper's curve 5 / sqrt(d)
BELOW, STANDS = 0.5, 0.9
ABOVE, GONE = 1.25, 0.05


class RobustDimensionSettings(RobustSettings):
    """Adversarial training in several dimensions.

    Attributes:
        constant: C_0 of the ball's radius V = C_0 / sqrt(m).
    """

    sides: tuple[PositiveInt, ...] = Field((4, 6, 8), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((256,), min_length=1)
    radii: tuple[PositiveFloat, ...] = Field(geometric(0.05, 1.0, 7), min_length=1)
    constant: PositiveFloat = 10.0


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        **MNIST,
        "sides": (5, 7, 10, 14, 20, 28),
        "widths": (1000,),
        "radii": geometric(0.05, 1.0, 10),
    },
    "paper": {
        **PAPER,
        "sides": tuple(range(5, 29)),
        "widths": (1000,),
        "radii": geometric(0.05, 1.0, 20),
    },
}


def _widths(results: "xr.Dataset") -> "Iterator[tuple[int, xr.Dataset]]":
    for width in results["width"].values:
        yield int(width), results.sel(width=width)


def _claims(results: "xr.Dataset") -> list[Claim]:
    return [claim for width, at in _widths(results) for claim in _of(width, at)]


def _of(width: int, at: "xr.Dataset") -> list[Claim]:
    sides = at["side"].values
    robust = at["robust_accuracy"]
    half = crossings(robust, "radius", "side", rises=False)
    power = half.powers(sides.astype(float) ** 2)
    scaled = half.at * sides
    numbers = "; ".join(
        f"{told(scaled[:, i])} at d = {side**2}" for i, side in enumerate(sides)
    )
    scope = {"width": width}

    def near_curve(factor: float) -> dict[int, np.ndarray]:
        return {
            int(side): at_position(
                robust.sel(side=side), "radius", factor * CONSTANT / side
            )
            for side in sides
        }

    apart = at["separation"].max("radius").transpose("side").values
    stands, gone = near_curve(BELOW), near_curve(ABOVE)
    return [
        claim_of_every(
            f"power[m={width}]",
            f"m = {width}: the size R_50 at which the robust test accuracy falls below "
            "one half goes as d^-1/2.",
            near(power, -0.5),
            detail=f"{TOLERANCE} less |p + 1/2|, with p the power; p = {told(power)}. "
            + half.told("dimensions"),
            scope=scope,
        ),
        claim_of_every(
            f"constant[m={width}]",
            f"m = {width}: R_50 sqrt(d) is {CONSTANT:g}, within a factor of "
            f"{FACTOR:g}, in every dimension.",
            {
                (side, end): values
                for i, side in enumerate(sides)
                for end, values in constant_near(scaled[:, i], CONSTANT).items()
            },
            detail=f"log2 of the factor less that found, where it is largest. R_50 "
            f"sqrt(d): {numbers}.",
            scope=scope,
        ),
        claim_of_every(
            f"robust-below[m={width}]",
            f"m = {width}: networks are robust against perturbations below "
            f"{CONSTANT:g}/sqrt(d): at {BELOW:g} of it the robust test accuracy is "
            f"over {STANDS:.0%}, in every dimension.",
            {s: values - STANDS for s, values in stands.items()},
            detail=f"The accuracy less {STANDS:g}, interpolated. {_told(stands)}",
            scope=scope,
        ),
        claim_of_every(
            f"zero-above[m={width}]",
            f"m = {width}: slightly above {CONSTANT:g}/sqrt(d) the robust test "
            f"accuracy is zero: at {ABOVE:g} times it, below {GONE:.0%}, in every "
            "dimension.",
            {s: GONE - values for s, values in gone.items()},
            detail=f"{GONE:g} less the accuracy, interpolated. {_told(gone)}",
            scope=scope,
        ),
        claim_of_every(
            f"network-not-data[m={width}]",
            f"m = {width}: it is the network that fails, not the data: R_50 is below "
            "half the median distance of test rows from the other class by a factor of "
            f"{FACTOR:g}, in every dimension (ours).",
            {
                side: np.log2(apart[i] / half.at[:, i]) - np.log2(FACTOR)
                for i, side in enumerate(sides)
            },
            detail="log2 of the factor found less that claimed, where it is smallest. "
            "R_50 over that distance: "
            + "; ".join(
                f"{told(half.at[:, i] / apart[i])} at d = {side**2}"
                for i, side in enumerate(sides)
            )
            + ".",
            scope=scope,
        ),
    ]  # fmt: skip


def _told(groups: Mapping[int, np.ndarray]) -> str:
    parts = [
        f"{np.nanmean(v):.2f} at d = {side**2}"
        if np.isfinite(v).any()
        else f"not measured at d = {side**2}"
        for side, v in groups.items()
    ]
    return "Mean accuracies: " + "; ".join(parts) + "."


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for width, at in _widths(results):
        at = at.assign_coords(side=at["side"].values.astype(float) ** 2)
        at = at.rename(side="dimension")
        dims = at["dimension"].values
        half = crossings(at["robust_accuracy"], "radius", "dimension", rises=False)
        found = at["robust_accuracy"].isel(radius=0).transpose("seed", "dimension")
        measured = seed_curve(found.copy(data=half.at), "R_50", "dimension", log=True)
        apart = at["separation"].max("radius")
        labels = {"x_title": "dimension d", "y_title": "perturbation size R"}
        paper = curve_of("5/√d", CONSTANT, dims)
        line = [CONSTANT / np.sqrt(d) for d in dims]
        figures.append(
            Figure(
                name=f"robust-dimension-{width}",
                title=f"Robust accuracy over perturbation size and dimension, m = "
                f"{width}",
                caption="Networks trained by Algorithm 1 and attacked by PGD of the "
                "same size; means over seeds. White: the paper's 5/√d. Right: "
                "where the robust accuracy crosses one half (geometric means over the "
                "seeds that do, 95 % intervals), beside 5/√d and half the median "
                "distance of test rows from the other class. As wang2022, Figure 4 "
                "left.",
                panels=(
                    cells(at, "robust_accuracy", "dimension", "radius",
                          title="Robust test accuracy", value_title="robust accuracy",
                          curves=[paper], **labels),
                    cells(at, "accuracy", "dimension", "radius",
                          title="Clean test accuracy", value_title="accuracy",
                          curves=[paper], **labels),
                    Panel("Where one half is crossed", "dimension d", "size R",
                          [measured,
                           Curve("5/√d", dims.tolist(), line, theory=True),
                           Curve("half distance of classes", dims.tolist(),
                                 apart.values.tolist(), theory=True)],
                          ordered=False),
                ),
            )
        )  # fmt: skip
    return figures


ROBUST_DIMENSION = Study(
    name="robust-dimension",
    title="Adversarial training in the lazy regime, over dimension",
    question="From which perturbation size on does adversarial training inside the "
    "lazy ball fail, and does that size fall as 5/sqrt(d)?",
    source="wang2022, Sec. 5.2 and Fig. 4 left.",
    settings=RobustDimensionSettings,
    presets=PRESETS,
    axes={"width": "widths", "side": "sides", "radius": "radii"},
    trial=ROBUST_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_robust,
)
"""Robust accuracy of projected adversarial training over R and d."""
