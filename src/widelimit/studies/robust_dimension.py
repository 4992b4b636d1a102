"""Robust accuracy over perturbation size and dimension: wang2022, Fig. 4 left."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.figure import Curve, Figure
from widelimit.studies.verdicts import Claim, claim_of_every
from widelimit.studies.wang2022_robust import (
    MNIST,
    PAPER,
    ROBUST_TRIAL,
    RobustSettings,
    check_robust,
    geometric,
)
from widelimit.studies.wang2022_threshold import FACTOR, Threshold

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


R_50 = Threshold(
    symbol="R_50",
    constant=CONSTANT,
    along="radius",
    over="dimension",
    letter="d",
    rises=False,
    x_title="dimension d",
    y_title="perturbation size R",
)


def _over_dimension(results: "xr.Dataset") -> "Iterator[tuple[int, xr.Dataset]]":
    """Width and results of every width, over dimensions in place of sides."""
    results = results.assign_coords(side=results["side"].values ** 2)
    results = results.rename(side="dimension")
    for width in results["width"].values:
        yield int(width), results.sel(width=width)


def _claims(results: "xr.Dataset") -> list[Claim]:
    return [claim for point in _over_dimension(results) for claim in _of(*point)]


def _of(width: int, at: "xr.Dataset") -> list[Claim]:
    dims, half, scope = R_50.sizes(at), R_50.crossings(at), {"width": width}
    apart = at["separation"].max("radius").transpose("dimension").values
    stands, gone = R_50.beside_curve(at, BELOW), R_50.beside_curve(at, ABOVE)
    return [
        *R_50.claims(
            at,
            f"[m={width}]",
            f"m = {width}: the size R_50 at which the robust test accuracy falls below "
            "one half goes as d^-1/2.",
            f"m = {width}: R_50 sqrt(d) is {CONSTANT:g}, within a factor of "
            f"{FACTOR:g}, in every dimension.",
            scope,
        ),
        claim_of_every(
            f"robust-below[m={width}]",
            f"m = {width}: networks are robust against perturbations below "
            f"{CONSTANT:g}/sqrt(d): at {BELOW:g} of it the robust test accuracy is "
            f"over {STANDS:.0%}, in every dimension.",
            {d: values - STANDS for d, values in stands.items()},
            detail=f"The accuracy less {STANDS:g}, interpolated. "
            + R_50.told_accuracies(stands),
            scope=scope,
        ),
        claim_of_every(
            f"zero-above[m={width}]",
            f"m = {width}: slightly above {CONSTANT:g}/sqrt(d) the robust test "
            f"accuracy is zero: at {ABOVE:g} times it, below {GONE:.0%}, in every "
            "dimension.",
            {d: GONE - values for d, values in gone.items()},
            detail=f"{GONE:g} less the accuracy, interpolated. "
            + R_50.told_accuracies(gone),
            scope=scope,
        ),
        claim_of_every(
            f"network-not-data[m={width}]",
            f"m = {width}: it is the network that fails, not the data: R_50 is below "
            "half the median distance of test rows from the other class by a factor of "
            f"{FACTOR:g}, in every dimension (ours).",
            {
                d: np.log2(apart[i] / half.at[:, i]) - np.log2(FACTOR)
                for i, d in enumerate(dims)
            },
            detail="log2 of the factor found less that claimed, where it is smallest. "
            f"R_50 over that distance: {R_50.told(half.at / apart, dims)}.",
            scope=scope,
        ),
    ]


def _figures(results: "xr.Dataset") -> list[Figure]:
    figures = []
    for width, at in _over_dimension(results):
        apart = at["separation"].max("radius").values.tolist()
        dims = at["dimension"].values.tolist()
        other = Curve("half distance of classes", dims, apart, theory=True)
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
                panels=R_50.panels(at, other),
            )
        )
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
