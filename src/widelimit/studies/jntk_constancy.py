"""The Jacobian NTK along robust training against width: kim2023, Theorem 9."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.jacobian_blocks import BLOCK_WORDS
from widelimit.studies.jntk_constancy_trial import (
    JNTK_CONSTANCY_TRIAL,
    NORMS,
    check_constancy,
)
from widelimit.studies.kim2023_tables import Depth, Kappa, OneTableSettings, title_of
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.verdicts import Claim, claim_of_every

if TYPE_CHECKING:
    import xarray as xr

_POWER = -0.5
_NORM_WORDS = {"one": "1-norm", "two": "2-norm", "inf": "inf-norm"}


class JntkConstancySettings(OneTableSettings):
    """Widths of one network, trained on one table.

    Attributes:
        depth: Number of hidden layers.
        widths: Units of each.
        kappa: Scale of the output.
        regularization: Weight of the penalty on the input gradient.
        learning_rate: Step of gradient descent.
        rows: Rows to train on, drawn at random.
        test_rows: Other rows, for the accuracy.
        kernel_rows: Rows of training, of which the kernel is measured.
        steps: Steps of gradient descent.
        seeds: Initialisations per width.
    """

    depth: Depth = 11
    widths: tuple[PositiveInt, ...] = Field((64, 128, 256, 512), min_length=1)
    kappa: Kappa = 0.1
    regularization: float = Field(0.01, gt=0, le=1)
    learning_rate: PositiveFloat = 1.0
    rows: PositiveInt = 32
    test_rows: PositiveInt = 60
    kernel_rows: int = Field(16, ge=2)
    steps: int = Field(128, ge=4)
    seeds: PositiveInt = 8

    @model_validator(mode="after")
    def _kernel_of_training(self) -> "JntkConstancySettings":
        if self.kernel_rows > self.rows:
            raise ValueError(
                f"kernel_rows ({self.kernel_rows}) must not exceed rows ({self.rows}), "
                "as the kernel is taken at rows of training"
            )
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "widths": (64, 128, 256, 512, 1024, 2048),
        "rows": 64,
        "kernel_rows": 32,
        "steps": 512,
        "seeds": 3,
    },
    "paper": {
        "widths": tuple(2**k for k in range(6, 14)),
        "rows": 224,
        "test_rows": 20,
        "kernel_rows": 224,
        "steps": 2048,
        "seeds": 10,
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = [
        claim
        for block in BLOCK_WORDS
        for claim in _of_block(block, results.sel(block=block))
    ]
    if int(results.attrs["depth"]) > 1:
        claims.append(_movement(results))
    return claims


def _of_block(block: str, at: "xr.Dataset") -> list[Claim]:
    later = at.sel(step=at["step"].values[1:])
    steps, scope = later["step"].values, {"block": block}
    limit, start = (
        {int(t): powers(later[name].sel(step=t), "width") for t in steps}
        for name in ("to_limit", "to_start")
    )
    size = float(at["size"].max())
    wide = at.isel(width=-1)
    shares = [
        float(wide[name].isel(step=-1).mean()) / size
        for name in ("to_limit", "to_start")
    ]
    widest = int(at["width"].max())
    return [
        claim_of_every(
            f"to-limit[{block}]",
            f"Block {block}: the finite Jacobian NTK's distance from the limit falls "
            "as m^-1/2 with width, at every recorded step (Theorem 9).",
            {
                (t, side): values
                for t, power in limit.items()
                for side, values in near(power, _POWER).items()
            },
            detail=f"{TOLERANCE} less |p + 1/2|, with p the power of the largest "
            f"difference over pairs, at the step that decides; {_told(limit)} At width "
            f"{widest} it is {shares[0]:.2g} of the limit's largest entry at the end.",
            scope=scope,
        ),
        claim_of_every(
            f"nearer-when-wide[{block}]",
            f"Block {block}: the distance from the limit falls with width, however "
            "fast, at every recorded step.",
            {t: -power for t, power in limit.items()},
            detail=f"Minus the power of m, at the step that decides; {_told(limit)}",
            scope=scope,
        ),
        claim_of_every(
            f"to-start[{block}]",
            f"Block {block}: its distance from its own start falls at least as fast as "
            "m^-1/2, at every recorded step.",
            {t: _POWER + TOLERANCE - power for t, power in start.items()},
            detail=f"-1/2 + {TOLERANCE} less the power p of m, at the step that "
            f"decides; {_told(start)} At width {widest} it is {shares[1]:.2g} of the "
            "limit's largest entry at the end.",
            scope=scope,
        ),
        *_over_time(block, at),
    ]


def _told(found: Mapping[int, np.ndarray]) -> str:
    first, last = min(found), max(found)
    return (
        f"p = {told(found[first])} at step {first}, {told(found[last])} at step {last}."
    )


def _hidden(results: "xr.Dataset") -> "xr.DataArray":
    """Of the hidden matrices, which have m rows and columns, the most."""
    depth = int(results.attrs["depth"])
    return results["movement"].sel(layer=slice(2, depth)).max("layer", skipna=False)


def _movement(results: "xr.Dataset") -> Claim:
    hidden = _hidden(results)
    moved = {norm: powers(hidden.sel(norm=norm), "width") for norm in NORMS}
    every = "; ".join(f"{told(p)} ({_NORM_WORDS[n]})" for n, p in moved.items())
    return claim_of_every(
        "movement",
        "The hidden weight matrix that moves most moves by a share of sqrt(m) that "
        "falls at least as fast as m^-1/2, in the 1-, 2- and inf-norm.",
        {norm: _POWER + TOLERANCE - found for norm, found in moved.items()},
        detail=f"-1/2 + {TOLERANCE} less the power p of m, of the norm that decides; "
        f"p = {every}. {_reached(results)}",
        scope={},
    )


def _over_time(block: str, at: "xr.Dataset") -> list[Claim]:
    """Whether the distance grows with training, and ever more slowly."""
    steps = at["step"].values
    end = int(steps[-1])
    if not {end // 4, end // 2} <= set(steps) or end % 4:
        return []
    distance = at["to_limit"].transpose("width", "seed", "step")
    quarter, half, last, first = (
        distance.sel(step=t).values for t in (end // 4, end // 2, end, steps[1])
    )
    widths = at["width"].values.tolist()
    scope = {"block": block}

    def groups(values: np.ndarray) -> dict[int, np.ndarray]:
        return dict(zip(widths, values, strict=True))

    most = np.maximum(np.maximum(quarter, half), last)
    told_as = "of the largest distance, at the width that decides."
    return [
        claim_of_every(
            f"grows[{block}]",
            f"Block {block}: the distance from the limit grows in training, at every "
            "width.",
            groups((last - first) / most),
            detail=f"From the first step to the last, as a share {told_as}",
            scope=scope,
        ),
        claim_of_every(
            f"settles[{block}]",
            f"Block {block}: the increments of the distance from the limit become "
            "smaller, at every width: the last doubling of the steps adds less than "
            "the one before.",
            groups((half - quarter - (last - half)) / most),
            detail=f"Increment from step {end // 4} to {end // 2} less that to {end}, "
            f"as a share {told_as}",
            scope=scope,
        ),
        claim_of_every(
            f"settles-per-step[{block}]",
            f"Block {block}: likewise, per step.",
            groups((2 * (half - quarter) - (last - half)) / most),
            detail=f"Twice the increment from step {end // 4} to {end // 2} less that "
            f"to {end}, as a share {told_as}",
            scope=scope,
        ),
    ]


def _reached(results: "xr.Dataset") -> str:
    per = results[["train_accuracy", "accuracy"]].mean("seed")
    loss = results["loss"].mean("seed")
    told = [
        f"{int(w)}: loss {float(loss.sel(width=w).isel(step=0)):.2g} to "
        f"{float(loss.sel(width=w).isel(step=-1)):.2g}, accuracy "
        f"{float(per['train_accuracy'].sel(width=w)):.0%} in training, "
        f"{float(per['accuracy'].sel(width=w)):.0%} in test"
        for w in results["width"].values
    ]
    return f"By width {'; '.join(told)}."


def _figures(results: "xr.Dataset") -> list[Figure]:
    attrs, depth = results.attrs, int(results.attrs["depth"])
    steps = results["step"].values[1:]
    title = f"{title_of(attrs['table'], attrs['activation'])}, L = {depth}"
    rows, kernel = (int(results[n].max()) for n in ("rows", "kernel_rows"))
    panels, starts = [], []
    for block, words in BLOCK_WORDS.items():
        curves: list[Curve] = []
        for t in steps:
            distance = results["to_limit"].sel(block=block, step=t)
            curves.append(seed_curve(distance, f"t = {t}", "width", log=True))
        curves.append(guide(curves[0], _POWER))
        panels.append(
            Panel(words, "width", "largest difference", curves, legend="step")
        )
        later = results["to_start"].sel(block=block, step=steps)
        starts.append(
            Panel(words, "step", "largest difference", [
                seed_curve(later.sel(width=w), f"width {w}", "step", log=True)
                for w in results["width"].values
            ])
        )  # fmt: skip
    moved = []
    if depth > 1:
        hidden = _hidden(results)
        moved = [
            seed_curve(hidden.sel(norm=n), _NORM_WORDS[n], "width", log=True)
            for n in NORMS
        ]
    reached = [
        seed_curve(results[name], words, "width", share=True)
        for name, words in (("train_accuracy", "training"), ("accuracy", "test"))
    ]
    loss = results["loss"].sel(step=steps)
    losses = [
        seed_curve(loss.sel(width=w), f"width {w}", "step", log=True)
        for w in results["width"].values
    ]
    about = (
        f"Training on {rows} rows; largest differences over all pairs of {kernel} of "
        "them. Geometric means over seeds with 95 % intervals."
    )
    return [
        Figure(
            name="to-limit",
            title=f"Jacobian NTK in training and its limit, {title}",
            caption=f"{about} Dashed: m^-1/2 through the widest at the first step. As "
            "kim2023, Figure 3.",
            panels=tuple(panels),
        ),
        Figure(
            name="to-start",
            title=f"Jacobian NTK in training and at its start, {title}",
            caption=about,
            panels=tuple(starts),
        ),
        Figure(
            name="training",
            title=f"Training, {title}",
            caption="Left: of the hidden layer that moves most, at the end, with "
            f"m^-1/2 dashed. {about}",
            panels=(
                Panel("Movement of hidden weights", "width", "‖W(t) − W(0)‖ / √m",
                      [*moved, *(guide(c, _POWER) for c in moved)], ordered=False),
                Panel("Training loss", "step", "squared loss", losses),
                Panel("Accuracy reached", "width", "accuracy", reached, y_log=False,
                      ordered=False),
            ),
        ),
    ]  # fmt: skip


JNTK_CONSTANCY = Study(
    name="jntk-constancy",
    title="The Jacobian NTK along robust training",
    question="Does the Jacobian NTK of a finite network stay near its limit while it "
    "is trained on values and input gradients, the nearer the wider it is?",
    source="kim2023, Theorem 9 and Fig. 3.",
    settings=JntkConstancySettings,
    presets=PRESETS,
    axes={"width": "widths"},
    trial=JNTK_CONSTANCY_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_constancy,
)
"""Distances of finite Jacobian NTKs from their limit and start, over time and width."""
