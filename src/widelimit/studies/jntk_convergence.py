"""Jacobian NTKs at initialisation against width: kim2023, Theorem 7."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.jacobian_blocks import BLOCK_WORDS, BLOCKS
from widelimit.studies.jntk_convergence_trial import JNTK_CONVERGENCE_TRIAL
from widelimit.studies.kim2023_lattice import (
    AXES,
    PAPER,
    LatticeSettings,
    check_lattice,
    depths_of,
)
from widelimit.studies.kim2023_tables import ACTIVATIONS, Kappa
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every, log2

if TYPE_CHECKING:
    import xarray as xr

_POWER = -0.5


class JntkConvergenceSettings(LatticeSettings):
    """Networks on a lattice of points.

    Attributes:
        kappa: Scale of the output, which is divided out again.
    """

    kappa: Kappa = 0.1


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"seeds": 16},
    "laptop": {"rows": 256, "widths": (64, 128, 256, 512, 1024, 2048), "seeds": 10},
    "paper": PAPER,
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for depth, at in depths_of(results):
        distance, scope = at["distance"], {"depth": depth}
        found = {b: powers(distance.sel(block=b), "width") for b in BLOCKS}
        ratio = log2((distance.sel(block="22") / distance.sel(block="00")).values)
        order = distance.sel(block="00").dims.index("width")
        size = at["size"].isel(width=-1)
        scales = float(size.sel(block="22") / size.sel(block="00"))
        claims += [
            claim_of_every(
                f"rate[L={depth}]",
                f"L = {depth}: the finite Jacobian NTK's distance from its limit falls "
                "as m^-1/2 with width, in every block (Theorem 7).",
                {
                    (block, side): values
                    for block, power in found.items()
                    for side, values in near(power, _POWER).items()
                },
                detail=f"{TOLERANCE} less |p + 1/2|, with p the power of the largest "
                "difference over pairs of points, of the block that decides; p = "
                + "; ".join(f"{told(p)} of block {b}" for b, p in found.items())
                + ".",
                scope=scope,
            ),
            claim_of_every(
                f"gradients-farther[L={depth}]",
                f"L = {depth}: the distance of the block of one derivative, 22, is "
                "larger than that of values, 00, at every width.",
                dict(enumerate(np.moveaxis(ratio, order, 0))),
                detail="log2 of the ratio, at the width that decides; "
                f"{np.nanmean(ratio):.2g} on average. The largest entries of the two "
                f"blocks of the limit themselves have a ratio of {scales:.2g}.",
                scope=scope,
            ),
        ]
    return claims


def _figures(results: "xr.Dataset") -> list[Figure]:
    panels = []
    for block, words in BLOCK_WORDS.items():
        curves = []
        for depth, at in depths_of(results):
            distance = at["distance"].sel(block=block)
            curve = seed_curve(distance, f"L = {depth}", "width", log=True)
            curves += [curve, guide(curve, _POWER)]
        panels.append(Panel(words, "width", "largest difference", curves))
    rows, radius = int(results["rows"].max()), float(results["covering_radius"].max())
    activation = ACTIVATIONS[results.attrs["activation"]]
    return [
        Figure(
            name="jntk-convergence",
            title=f"Jacobian NTK at initialisation and its limit, {activation}",
            caption=f"Largest difference over all pairs of {rows} points of a lattice "
            f"on the sphere (covering radius {radius:.2f}); geometric means over seeds "
            "with 95 % intervals. Dashed: m^-1/2 through the widest. As kim2023, "
            "Figure 2.",
            panels=tuple(panels),
        )
    ]


JNTK_CONVERGENCE = Study(
    name="jntk-convergence",
    title="The Jacobian NTK at initialisation beside its limit",
    question="Does the Jacobian NTK of a finite network tend to that of the infinitely "
    "wide one as m^-1/2?",
    source="kim2023, Theorem 7 and Fig. 2.",
    settings=JntkConvergenceSettings,
    presets=PRESETS,
    axes=AXES,
    trial=JNTK_CONVERGENCE_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=functools.partial(check_lattice, "jntk-convergence"),
)
"""Distances of finite Jacobian NTKs from their limit, against width."""
