"""Robust training beside its limit: kim2023, Theorems 10 and 11."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt

from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.kim2023_tables import Depth, Kappa, OneTableSettings, title_of
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.robust_limit_trial import (
    ROBUST_LIMIT_TRIAL,
    check_robust_limit,
)
from widelimit.studies.verdicts import (
    Claim,
    claim_of_every,
    every_seed,
    explained,
    log2,
    slopes,
)

if TYPE_CHECKING:
    import xarray as xr

_POWER = -0.5
_STRAIGHT = 0.95  # least share of the variance that a straight line explains
_SAYS = 0.01  # least fall of a bound, in natural logarithms, that says something


class RobustLimitSettings(OneTableSettings):
    """Widths and scales of one network, trained on one table.

    Attributes:
        depth: Number of hidden layers.
        widths: Units of each hidden layer.
        kappas: Scales of the output.
        rows: Rows to train on, drawn at random.
        test_rows: Other rows, to compare functions on.
        regularization: Weight of the penalty on the input gradient.
        step_share: The step, as a share of the largest stable one in the limit. Narrow
            networks, whose kernel may be larger, need a small one.
        steps: Steps of gradient descent.
        seeds: Initialisations per width and scale.
    """

    depth: Depth = 2
    widths: tuple[PositiveInt, ...] = Field((64, 128, 256, 512), min_length=1)
    kappas: tuple[Kappa, ...] = Field((0.1, 1.0), min_length=1)
    rows: PositiveInt = 40
    test_rows: PositiveInt = 60
    regularization: float = Field(0.01, gt=0, le=1)
    step_share: float = Field(0.2, gt=0, lt=1)
    steps: PositiveInt = 128
    seeds: PositiveInt = 6


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "depth": 3,
        "widths": (64, 128, 256, 512, 1024),
        "rows": 100,
        "steps": 1024,
        "seeds": 10,
    },
    "paper": {
        "depth": 11,
        "widths": tuple(2**k for k in range(6, 14)),
        "kappas": (0.01, 0.1, 1.0),
        "rows": 180,
        "steps": 2048,
        "seeds": 10,
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = [claim for at in _scales(results) for claim in _of_scale(at)]
    kappas = results["kappa"].values
    if len(kappas) > 1:
        ends = float(kappas.min()), float(kappas.max())
        claims.append(
            _small_scale(
                "small-kappa",
                results,
                *ends,
                "to_zero",
                "the infinite one, trained as long from zero",
            )
        )
        claims.append(
            _small_scale(
                "small-kappa-ntk",
                results,
                *ends,
                "to_ntk",
                "f_ntk, the limit of infinite time (Theorem 10)",
            )
        )
    return claims


def _scales(results: "xr.Dataset") -> "list[xr.Dataset]":
    found = [results.sel(kappa=kappa) for kappa in results["kappa"].values]
    return [at for at in found if np.isfinite(at["rows"].values).any()]


def _of_scale(at: "xr.Dataset") -> list[Claim]:
    kappa = float(at["kappa"])
    end = at.isel(step=-1)
    limit, tangent = (powers(end[k], "width") for k in ("to_limit", "to_linear"))
    scope = {"kappa": kappa}
    widest, seeds = int(at["width"].max()), ("seed", "width")
    steps = int(at["step"].max())
    loss = (at["loss"] + at["penalty"]).transpose(*seeds, "step")
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.log(loss.values / loss.values[..., :1])
        allowed = -float(at["rate"].max()) * at["step"].values
    margin = (allowed - fall)[..., 1:].min(-1)
    holds = [every_seed(column) for column in margin.T]
    last, answer = holds[-1]
    if answer and -allowed[-1] < _SAYS:
        answer = None  # it forbids nothing but a rise
    since = [w for w, (_, a) in zip(at["width"].values, holds, strict=True) if a]
    gap = float(at["limit_to_ntk"].isel(step=-1).max())
    return [
        claim_of_every(
            f"to-limit[kappa={kappa:g}]",
            f"κ = {kappa:g}: the trained network's distance from the infinite one, "
            "trained as long from the same start, falls as m^-1/2 with width.",
            near(limit, _POWER),
            detail=f"{TOLERANCE} less |p + 1/2|, with p the power of the root mean "
            f"square over test rows after {steps} steps; p = {told(limit)}. At width "
            f"{widest} the infinite network itself, from zero, is {gap:.2g} from "
            "f_ntk, which it is only after infinite time.",
            scope=scope,
        ),
        claim_of_every(
            f"to-linear[kappa={kappa:g}]",
            f"κ = {kappa:g}: the trained network's distance from its linearisation "
            "falls at least as fast as m^-1/2.",
            {"": _POWER + TOLERANCE - tangent},
            detail=f"-1/2 + {TOLERANCE} less the power p of m; p = {told(tangent)}.",
            scope=scope,
        ),
        Claim(
            f"exponential[kappa={kappa:g}]",
            f"κ = {kappa:g}: the training loss is at most that at the start times "
            "(1 - η λ_min / N)^2k after k steps, at the largest width "
            "(Theorem 11, with the limit's smallest eigenvalue).",
            last.mean,
            last.half_width,
            answer,
            detail="The least of log of the bound less log of the loss over recorded "
            f"steps, at width {widest}; it is so at widths "
            f"{', '.join(map(str, since)) or 'none'}. The bound itself falls by "
            f"{-allowed[-1]:.2g} in {steps} steps (undecided where that is below "
            f"{_SAYS}, as any loss that does not rise would pass), the loss by "
            f"{-np.nanmean(fall[:, -1, -1]):.2g} (natural logarithms).",
            scope=scope,
        ),
        *_fitted(at, fall[:, -1], scope),
    ]


def _fitted(
    at: "xr.Dataset", fall: np.ndarray, scope: Mapping[str, Any]
) -> list[Claim]:
    """Whether the loss of the widest networks falls, and as an exponential does."""
    kappa, steps = scope["kappa"], at["step"].values
    rates = -slopes(fall, steps)
    straight = explained(fall, steps)
    theorem = float(at["rate"].max())
    fit = (
        f"of a straight line through log loss against all {len(steps)} recorded "
        f"steps, 0 to {int(steps[-1])}, at width {int(at['width'].max())}"
    )
    return [
        claim_of_every(
            f"decay[kappa={kappa:g}]",
            f"κ = {kappa:g}: the training loss decays at a rate above zero, as fitted.",
            {"": rates},
            detail=f"Slope {fit}, per step: {told(rates)}; Theorem 11 has "
            f"{theorem:.2g} with the limit's smallest eigenvalue. R² = "
            f"{told(straight)}.",
            scope=scope,
        ),
        claim_of_every(
            f"log-linear[kappa={kappa:g}]",
            f"κ = {kappa:g}: the decay is that of one exponential: R² is at least "
            f"{_STRAIGHT}.",
            {"": straight - _STRAIGHT},
            detail=f"R² less {_STRAIGHT}, {fit}; R² = {told(straight)}. Where it is "
            "less, the loss falls fast at first and ever more slowly, one eigenvalue "
            "after the other.",
            scope=scope,
        ),
    ]


def _small_scale(
    name: str, results: "xr.Dataset", small: float, large: float, key: str, goal: str
) -> Claim:
    wide = results.isel(width=-1, step=-1)[key]
    ratio = log2((wide.sel(kappa=large) / wide.sel(kappa=small)).values)
    near_ntk = wide.sel(kappa=small).values
    return claim_of_every(
        name,
        f"A small κ brings the trained network nearer to {goal}, at the largest width.",
        {"": ratio},
        detail=f"log2 of the distance for κ = {large:g} over that for κ = "
        f"{small:g}, which is {np.nanmean(near_ntk):.2g} on average, in units of the "
        "targets.",
        scope={},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    scales = _scales(results)
    by_width: list[Curve] = []
    for at in scales:
        end = at.isel(step=-1)
        for name, label in (("to_limit", "infinite"), ("to_linear", "linearised")):
            series = f"{label}, κ = {float(at['kappa']):g}"
            curve = seed_curve(end[name], series, "width", log=True)
            by_width.append(curve)
            if name == "to_limit":
                by_width.append(guide(curve, _POWER))
    at = scales[0]
    later = at.sel(step=at["step"].values[1:])
    loss = (later["loss"] + later["penalty"]).transpose("width", "seed", "step")
    losses = [
        seed_curve(loss.sel(width=w), f"width {w}", "step", log=True)
        for w in at["width"].values
    ]
    limit = later["limit_loss"].isel(width=-1).mean("seed")
    steps = later["step"].values.tolist()
    losses.append(Curve("infinite", steps, limit.values.tolist(), theory=True))
    wide = later.isel(width=-1)
    names = {
        "to_limit": "finite and infinite",
        "to_linear": "finite and linearised",
        "linear_to_limit": "linearised and infinite",
        "to_zero": "finite and infinite from zero",
        "to_ntk": "finite and f_ntk",
    }
    over_time = [
        seed_curve(wide[name], label, "step", log=True) for name, label in names.items()
    ]
    kappa, widest = float(at["kappa"]), int(at["width"].max())
    return [
        Figure(
            name="robust-limit",
            title="Robust training, finite, linearised and infinite, "
            + title_of(results.attrs["table"], results.attrs["activation"]),
            caption="Root mean squares over test rows of the differences between "
            "functions, in units of the targets; geometric means over seeds with 95 % "
            "intervals. Dashed: m^-1/2 through the widest (left), the infinite network "
            "(middle). f_ntk is what the infinite network becomes after infinite time "
            "from zero.",
            panels=(
                Panel("After training", "width", "distance", by_width, ordered=False),
                Panel(f"Training loss, κ = {kappa:g}", "step", "loss of Eq. (1)",
                      losses),
                Panel(f"Width {widest}, κ = {kappa:g}", "step", "distance", over_time,
                      ordered=False),
            ),
        )
    ]  # fmt: skip


ROBUST_LIMIT = Study(
    name="robust-limit",
    title="Jacobian-regularised training beside its limit",
    question="Does a wide network, trained on values and input gradients, follow the "
    "infinitely wide one, and does its loss fall exponentially?",
    source="kim2023, Theorems 10 and 11.",
    settings=RobustLimitSettings,
    presets=PRESETS,
    axes={"kappa": "kappas", "width": "widths"},
    trial=ROBUST_LIMIT_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_robust_limit,
)
"""Functions and losses of trained networks of growing width."""
