"""Outputs and gradients at initialisation against width: kim2023, Theorem 3."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.gp_convergence_trial import GP_CONVERGENCE_TRIAL, PROJECTIONS
from widelimit.studies.jacobian_blocks import BLOCK_WORDS, BLOCKS
from widelimit.studies.kim2023_lattice import (
    AXES,
    PAPER,
    LatticeSettings,
    check_lattice,
    depths_of,
)
from widelimit.studies.kim2023_tables import ACTIVATIONS
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every, interval, judge, log2

if TYPE_CHECKING:
    import xarray as xr

_LEVEL = 0.05  # of the tests of normality together
NEGLIGIBLE = 0.1  # root mean square of a difference, of that of the limit


class GpConvergenceSettings(LatticeSettings):
    """Networks on a lattice of points.

    Attributes:
        networks: Initialisations of which one estimate of the covariance is made; even.
    """

    networks: int = Field(128, ge=4, multiple_of=2)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "rows": 256,
        "widths": (64, 128, 256, 512, 1024),
        "networks": 256,
    },
    "paper": {**PAPER, "networks": 1000},
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    return [claim for depth, at in depths_of(results) for claim in _of(depth, at)]


def _of(depth: int, at: "xr.Dataset") -> list[Claim]:
    k, scope = int(at["networks"].max()), {"depth": depth}
    widest = int(at["width"].max())
    one, plain = (_by_block(at[name]) for name in ("one", "plain"))
    kurtosis = {
        p: powers(at["kurtosis"].sel(projection=p), "width") for p in PROJECTIONS
    }
    last = at.isel(width=-1)
    share = float((last["plain_noise"] / last["plain"]).mean())
    better = {
        b: log2((last["plain"] / last["mean"]).sel(block=b).values) for b in BLOCKS
    }
    worth = float(((last["plain_error"] / last["mean_error"]) ** 2).mean())
    excess = float(last["kurtosis"].max("projection").mean())
    return [
        claim_of_every(
            f"one-network[L={depth}]",
            f"L = {depth}: the covariance from one network, its last layer averaged "
            "out, approaches the limit as m^-1/2, in every block (Theorem 3).",
            _sides(one, -0.5),
            detail=f"{TOLERANCE} less |p + 1/2|, with p the power of the largest "
            f"difference over pairs of points, of the block that decides; {_told(one)}",
            scope=scope,
        ),
        claim_of_every(
            f"plain-flat[L={depth}]",
            f"L = {depth}: products of outputs and gradients over {k} networks come no "
            "nearer to the limit with width, as their Monte-Carlo error dominates.",
            _sides(plain, 0.0),
            detail=f"{TOLERANCE} less |p|, of the block that decides; {_told(plain)} "
            f"At width {widest} a draw of the Monte-Carlo error alone has "
            f"{share:.0%} of the distance's size.",
            scope=scope,
        ),
        claim_of_every(
            f"averaged-nearer[L={depth}]",
            f"L = {depth}: with the last layer averaged out the same {k} networks are "
            "nearer to the limit, at the largest width.",
            better,
            detail="log2 of the ratio of distances at width "
            f"{widest}, of the block that decides. One network is worth {worth:.3g} "
            "of plain sampling, by their variances.",
            scope=scope,
        ),
        _bias(depth, at),
        claim_of_every(
            f"gaussian[L={depth}]",
            f"L = {depth}: the excess kurtosis of projections of outputs and "
            "gradients, exact in the last layer, falls as 1/m.",
            _sides(kurtosis, -1.0),
            detail=f"{TOLERANCE} less |p + 1|, of the kind of projection that decides; "
            f"{_told(kurtosis)} At width {widest} the largest is {excess:.2g}. "
            f"{_tested(at)}",
            scope=scope,
        ),
    ]


def _by_block(values: "xr.DataArray") -> dict[str, np.ndarray]:
    return {block: powers(values.sel(block=block), "width") for block in BLOCKS}


def _sides(found: Mapping[str, np.ndarray], power: float) -> dict[Any, np.ndarray]:
    return {
        (name, side): values
        for name, one in found.items()
        for side, values in near(one, power).items()
    }


def _told(found: Mapping[str, np.ndarray]) -> str:
    return "p = " + "; ".join(f"{told(p)} of {name}" for name, p in found.items()) + "."


def _bias(depth: int, at: "xr.Dataset") -> Claim:
    """Whether the mean's own distance falls as 1/m where it is seen, or is small."""
    name = f"bias[L={depth}]"
    words = (
        f"L = {depth}: the mean covariance at finite width differs from the limit by "
        "no more than 1/m times what it does at the smallest width, or by less than a "
        "tenth."
    )
    widths = at["width"].values
    squares = (
        (at["bias"] / at["square"]).mean("block").transpose("width", "seed").values
    )
    found = [interval(row, tests=len(widths)) for row in squares]
    seen = [i for i, one in enumerate(found) if judge(one) is True]
    rms = ", ".join(
        f"{np.sqrt(max(found[i].mean, 0)):.2g} at {widths[i]}" for i in seen
    )
    detail = (
        "Mean squares over pairs of points and blocks, relative to the limit's, "
        "estimated without bias. Root mean squares where they are above their error: "
        f"{rms or 'nowhere'}."
    )
    if len(seen) > 1:
        first, *others = seen
        allowed = {
            int(widths[i]): squares[first]
            * (widths[first] / widths[i]) ** (2 * (1 - TOLERANCE))
            - squares[i]
            for i in others
        }
        return claim_of_every(
            name, words, allowed, scope={"depth": depth},
            detail=f"What m^-{1 - TOLERANCE} allows less what is found, at the width "
            f"that decides. {detail}",
        )  # fmt: skip
    unseen = [i for i in range(len(widths)) if i not in seen]
    if not unseen:  # a single width
        return Claim(
            name, words, np.nan, 0.0, None, detail=detail, scope={"depth": depth}
        )
    allowed = {int(widths[i]): NEGLIGIBLE**2 - squares[i] for i in unseen}
    return claim_of_every(
        name, words, allowed, scope={"depth": depth},
        detail=f"{NEGLIGIBLE}^2 less the mean square where it is not seen, at the "
        f"width that decides. {detail}",
    )  # fmt: skip


def _tested(at: "xr.Dataset") -> str:
    """What a plain test of the draws says, all of this depth taken together."""
    p = at["normality"].transpose("width", "projection", "copy").values
    tests = int(np.isfinite(p).sum())
    draws = int(at["networks"].max()) * at.sizes["seed"]
    least = np.nanmin(p.reshape(len(p), -1), axis=1) * tests
    rejected = at["width"].values[least < _LEVEL]
    where = ", ".join(map(str, rejected)) or "no width"
    return (
        f"A Kolmogorov-Smirnov test of {draws} draws against the limit's variance "
        f"rejects at {where} (5 %, corrected for {tests} tests; smallest corrected p "
        f"at the largest width: {min(least[-1], 1.0):.2g})."
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    activation = ACTIVATIONS[results.attrs["activation"]]
    rows, k = int(results["rows"].max()), int(results["networks"].max())
    radius = float(results["covering_radius"].max())
    found = depths_of(results)
    figures = []
    for depth, at in found:
        panels = []
        for block, words in BLOCK_WORDS.items():
            by_width = at.sel(block=block)
            curves = []
            for name, series, power in (
                ("plain", f"{k} networks, plain", None),
                ("one", "one, last layer averaged out", -0.5),
                ("mean", f"{k}, last layer averaged out", -0.5),
            ):
                curve = seed_curve(by_width[name], series, "width", log=True)
                curves.append(curve)
                if power is not None:
                    curves.append(guide(curve, power))
            panels.append(
                Panel(words, "width", "largest difference", curves, ordered=False)
            )
        figures.append(
            Figure(
                name=f"depth-{depth}",
                title="Covariance of outputs and gradients and its limit, "
                f"{activation}, L = {depth}",
                caption=f"Largest difference over all pairs of {rows} points of a "
                f"lattice on the sphere (covering radius {radius:.2f}); geometric "
                "means over seeds with 95 % intervals. Dashed: m^-1/2 through the "
                "widest. As kim2023, Figure 1, whose plain sampling has 10^6 networks.",
                panels=tuple(panels),
            )
        )
    panels = []
    for name in PROJECTIONS:
        curves = []
        for depth, at in found:
            values = at["kurtosis"].sel(projection=name)
            curve = seed_curve(values, f"L = {depth}", "width", log=True)
            curves += [curve, guide(curve, -1.0)]
        panels.append(
            Panel(_KINDS[name], "width", "excess kurtosis", curves, legend="depth")
        )
    figures.append(
        Figure(
            name="gaussian",
            title=f"How far from Gaussian outputs and gradients are, {activation}",
            caption="Excess kurtosis of projections, 3 Var(v) / (E v)^2 with v their "
            "variance given the hidden layers: exact in the last layer. Geometric "
            "means over seeds with 95 % intervals. Dashed: 1/m through the widest.",
            panels=tuple(panels),
        )
    )
    return figures


_KINDS = {
    "value": "value at a point",
    "derivative": "derivative at a point",
    "mixed": "mixtures of all values and derivatives",
}


GP_CONVERGENCE = Study(
    name="gp-convergence",
    title="Outputs and gradients of a wide network as a Gaussian process",
    question="Do a network's outputs and input gradients become jointly Gaussian with "
    "the limit's covariance, and how fast?",
    source="kim2023, Theorem 3 and Fig. 1.",
    settings=GpConvergenceSettings,
    presets=PRESETS,
    axes=AXES,
    trial=GP_CONVERGENCE_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=functools.partial(check_lattice, "gp-convergence"),
)
"""Covariances of outputs and gradients, plain and with the last layer averaged out."""
