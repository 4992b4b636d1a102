"""Robust accuracy over width and the ball's radius: wang2022, Fig. 4 right."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.figure import Figure
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

CONSTANT = 25.0  # of the paper's curve 25 / sqrt(m)
BELOW, GONE = 0.75, 0.05
ABOVE, STANDS = 1.25, 0.9


class RobustDeviationSettings(RobustSettings):
    """Adversarial training of several widths in balls of several sizes.

    Attributes:
        deviations: Radii V of the ball.
    """

    seeds: PositiveInt = 5
    sides: tuple[PositiveInt, ...] = Field((8,), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((64, 256, 1024), min_length=1)
    deviations: tuple[PositiveFloat, ...] = Field(geometric(0.05, 1.0, 6), min_length=1)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        **MNIST,
        "sides": (28,),
        "widths": (256, 512, 1024, 2048),
        "deviations": geometric(0.2, 2.0, 8),
    },
    "paper": {
        **PAPER,
        "sides": (28,),
        "widths": (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000),
        "deviations": geometric(0.05, 1.0, 20),
    },
}


V_50 = Threshold(
    symbol="V_50",
    constant=CONSTANT,
    along="deviation",
    over="width",
    letter="m",
    rises=True,
    x_title="width m",
    y_title="deviation V",
)


def points(results: "xr.Dataset") -> "Iterator[tuple[int, float, xr.Dataset]]":
    """Dimension, size of the perturbation and results of every combination."""
    for side in results["side"].values:
        for radius in results["radius"].values:
            at = results.sel(side=side, radius=radius)
            yield int(side) ** 2, float(radius), at


def _claims(results: "xr.Dataset") -> list[Claim]:
    return [claim for point in points(results) for claim in _of(*point)]


def _of(dimension: int, radius: float, at: "xr.Dataset") -> list[Claim]:
    name, place = f"[d={dimension},R={radius:g}]", f"d = {dimension}, R = {radius:g}"
    scope = {"side": round(dimension**0.5), "radius": radius}
    gone, stands = V_50.beside_curve(at, BELOW), V_50.beside_curve(at, ABOVE)
    return [
        *V_50.claims(
            at,
            name,
            f"{place}: the deviation V_50 from which on the robust test accuracy is "
            "over one half goes as m^-1/2.",
            f"{place}: V_50 sqrt(m) is {CONSTANT:g}, within a factor of {FACTOR:g}, at "
            "every width.",
            scope,
        ),
        claim_of_every(
            f"zero-below{name}",
            f"{place}: with a ball smaller than {CONSTANT:g}/sqrt(m) the robust test "
            f"accuracy is zero: at {BELOW:g} of it, below {GONE:.0%}, at every width.",
            {w: GONE - values for w, values in gone.items()},
            detail=f"{GONE:g} less the accuracy, interpolated. "
            + V_50.told_accuracies(gone),
            scope=scope,
        ),
        claim_of_every(
            f"robust-above{name}",
            f"{place}: with a slightly larger ball networks are robust: at {ABOVE:g} "
            f"times {CONSTANT:g}/sqrt(m) the robust test accuracy is over "
            f"{STANDS:.0%}, at every width.",
            {w: values - STANDS for w, values in stands.items()},
            detail=f"The accuracy less {STANDS:g}, interpolated. "
            + V_50.told_accuracies(stands),
            scope=scope,
        ),
    ]


def _figures(results: "xr.Dataset") -> list[Figure]:
    return [
        Figure(
            name=f"robust-deviation-{dimension}-{radius:g}",
            title=f"Robust accuracy over width and deviation, d = {dimension}, "
            f"R = {radius:g}",
            caption="Networks trained by Algorithm 1 in the ball of radius V and "
            "attacked by PGD; means over seeds. White: the paper's 25/√m. Right: "
            "where the robust accuracy crosses one half (geometric means over the "
            "seeds that do, 95 % intervals), beside 25/√m. As wang2022, Figure 4 "
            "right.",
            panels=V_50.panels(at),
        )
        for dimension, radius, at in points(results)
    ]


ROBUST_DEVIATION = Study(
    name="robust-deviation",
    title="Adversarial training in the lazy regime, over width and deviation",
    question="How far must weights be allowed to move for adversarial training to "
    "succeed, and does that distance fall as 25/sqrt(m)?",
    source="wang2022, Sec. 5.2 and Fig. 4 right.",
    settings=RobustDeviationSettings,
    presets=PRESETS,
    axes={
        "side": "sides",
        "radius": "radii",
        "width": "widths",
        "deviation": "deviations",
    },
    trial=ROBUST_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_robust,
)
