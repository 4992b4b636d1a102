"""Attacks run to convergence, which wang2022 leaves open: by what factor, and when."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from widelimit.studies.attack_convergence_trial import (
    ATTACK_CONVERGENCE_TRIAL,
    FLIP,
)
from widelimit.studies.base import Study
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.powers import TOLERANCE, guide, near, powers, told
from widelimit.studies.trial import check_test_rows
from widelimit.studies.verdicts import Claim, claim_of_every, interval, mean_of
from widelimit.studies.wang2022_problem import (
    LazySettings,
    Scale,
    check_lazy,
    data_of,
)

if TYPE_CHECKING:
    import xarray as xr

_POWER = -0.5
_LITTLE = 0.01  # share of the distance that more steps must bring to help


class AttackConvergenceSettings(LazySettings):
    r"""Networks in the lazy ball, and attacks of more and more steps.

    Attributes:
        scales: `unit` (rows of norm 1) or `raw` (pixels in [0, 1]).
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        learning_rate: Step of SGD.
        attack_rows: Test rows that are attacked; there must be as many.
        attack_steps: Numbers of steps of PGD, rising.
        restarts: Its starts, the first at the input.
        max_distance: Largest perturbation, in the units of the rows.
        tolerance: Relative length of the last interval of radii.
    """

    scales: tuple[Scale, ...] = Field(("unit",), min_length=1)
    sides: tuple[PositiveInt, ...] = Field((4, 6, 8), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((512,), min_length=1)
    seeds: PositiveInt = 4
    c_0: PositiveFloat = 10.0
    learning_rate: PositiveFloat = 0.1
    attack_rows: PositiveInt = 40
    attack_steps: tuple[PositiveInt, ...] = Field((1, 3, 10, 30, 100), min_length=1)
    restarts: PositiveInt = 2
    max_distance: PositiveFloat = 1.0
    tolerance: float = Field(0.01, gt=0, lt=1)

    @field_validator("attack_steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if len(steps) < 2 or list(steps) != sorted(set(steps)):
            raise ValueError(f"attack_steps must be two at least, and rise: {steps}")
        return steps


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"attack_steps": (1, 10, 100)},
    "laptop": {
        "data": "mnist",
        "sides": (5, 7, 10, 14, 20),
        "widths": (1000,),
        "batch_size": 64,
        "train_rows": 2000,
        "test_rows": 500,
        "attack_rows": 50,
    },
    "paper": {
        "data": "mnist",
        "sides": (5, 10, 15, 20, 25, 28),
        "widths": (1000, 10_000),
        "batch_size": 64,
        "attack_rows": 500,
        "restarts": 5,
        "tolerance": 0.001,
        "seeds": 5,
    },
}


def _check(settings: Any) -> None:
    """Raise where no trial could succeed, as without data or with too few rows."""
    check_lazy(settings)
    side, scale = settings.sides[0], settings.scales[0]
    data = data_of(settings.model_dump() | {"scale": scale, "side": side})
    check_test_rows(settings, "attack_rows", settings.data, len(data.x_test))


def _claims(results: "xr.Dataset") -> list[Claim]:
    found: list[Claim] = []
    for at in _cases(results):
        label, scope = _label(at), _scope(at)
        if at.sizes["side"] > 1:
            found += [_power(at, str(n), label, scope) for n in at["attack"].values]
        found += [_lower(at, label, scope), _enough(at, label, scope)]
    return found


def _cases(results: "xr.Dataset") -> "list[xr.Dataset]":
    """One for every scale and width, with the dimension for the side."""
    cases = [
        results.sel(scale=scale, width=width)
        for scale in results["scale"].values
        for width in results["width"].values
    ]
    return [
        at.assign_coords(side=at["side"].values ** 2)
        for at in cases
        if np.isfinite(at["rows"].values).any()
    ]


def _scope(at: "xr.Dataset") -> dict[str, Any]:
    return {"scale": str(at["scale"].values), "width": int(at["width"])}


def _label(at: "xr.Dataset") -> str:
    return f"{at['scale'].values},m={int(at['width'])}"


def _name(attack: str) -> str:
    if attack == FLIP:
        return "the minimal flip"
    return f"PGD with {attack} step{'s' * (attack != '1')}"


def _power(at: "xr.Dataset", attack: str, label: str, scope: dict) -> Claim:
    here = at.sel(attack=attack)
    found = powers(here["median"], "side")
    return claim_of_every(
        f"power[{attack},{label}]",
        f"The median perturbation of {_name(attack)} falls as d^-1/2.",
        near(found, _POWER),
        detail=f"{TOLERANCE} less |p + 1/2|, with p the power of d; p = {told(found)}. "
        f"{_most(here['censored'])} of a network's inputs do not flip; from one half "
        "on the median is not known.",
        scope=scope,
    )


def _most(shares: "xr.DataArray") -> str:
    """The largest of some shares, as the start of a sentence."""
    known = np.isfinite(shares.values).any()
    return f"At most {float(shares.max()):.1%}" if known else "An unknown share"


def _factors(at: "xr.Dataset", first: str, second: str) -> dict[int, np.ndarray]:
    """Logarithms of how much less the second attack needs, per dimension and seed."""
    factor = at["factor"].transpose("side", "seed", "attack")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = factor.sel(attack=second).values / factor.sel(attack=first).values
        logs = np.log(ratio)
    return dict(zip(at["side"].values.tolist(), logs, strict=True))


def _lower(at: "xr.Dataset", label: str, scope: dict) -> Claim:
    most = str(at["attack"].values[-1])
    logs = _factors(at, FLIP, most)
    told_by = ", ".join(f"{_factor(v)} (d = {d})" for d, v in logs.items())
    last = at.sel(attack=most)
    shares = ""
    if np.isfinite(last["compared"].values).any():
        shares = (
            f" At least {float(last['compared'].min()):.1%} of a network's inputs do; "
            f"it needs more for {float(last['farther'].mean()):.1%} of all inputs."
        )
    return claim_of_every(
        f"lower[{label}]",
        f"{_name(most)} needs less than the minimal flip, at every dimension.",
        logs,
        detail="Logarithm of the factor, a geometric mean over inputs that both flip"
        f"; factors {told_by}.{shares} "
        f"{int((at['left_at'] > 0).sum())} of {at['left_at'].size} networks were "
        "trained to the border of the lazy ball, the others inside.",
        scope=scope,
    )


def _factor(logs: np.ndarray) -> str:
    found = interval(logs)
    if not np.isfinite(found.mean):
        return "not measured"
    low, high = np.exp(found.low), np.exp(found.high)
    return f"{np.exp(found.mean):.3f} [{low:.3f}, {high:.3f}]"


def _enough(at: "xr.Dataset", label: str, scope: dict) -> Claim:
    names = [str(n) for n in at["attack"].values[1:]]
    pairs = list(zip(names[:-1], names[1:], strict=True))
    gains = {pair: _factors(at, *pair) for pair in pairs}
    told_by = "; ".join(
        f"{first} to {second} steps: {_largest(logs)}"
        for (first, second), logs in gains.items()
    )
    last = gains[pairs[-1]]
    return claim_of_every(
        f"enough[{label}]",
        f"From {pairs[-1][0]} to {pairs[-1][1]} steps PGD gains less than "
        f"{_LITTLE:.0%}, at every dimension.",
        {d: np.log1p(_LITTLE) - v for d, v in last.items()},
        detail=f"log({1 + _LITTLE}) less the logarithm of the gain. Largest gains "
        f"over the measured dimensions: {told_by}.",
        scope=scope,
    )


def _largest(logs: Mapping[int, np.ndarray]) -> str:
    """The largest mean gain over the dimensions that have one."""
    gains = [np.expm1(mean_of(v)) for v in logs.values()]
    known = [gain for gain in gains if np.isfinite(gain)]
    return f"{max(known):.2%}" if known else "not measured"


def _figures(results: "xr.Dataset") -> list[Figure]:
    panels: list[Panel] = []
    for at in _cases(results):
        title = f"{_scope(at)['scale']} rows, width {_scope(at)['width']}"
        curves: list[Curve] = []
        for name in at["attack"].values:
            here = at.sel(attack=name)
            curve = seed_curve(here["median"], _series(str(name)), "side", log=True)
            curves.append(curve)
        curves.append(guide(curves[0], _POWER))
        panels.append(Panel(f"Smallest perturbation, {title}", "dimension d",
                            "median ‖δ‖₂", curves, legend="attack"))  # fmt: skip
        steps = at.sel(attack=at["attack"].values[1:])
        steps = steps.assign_coords(attack=[int(n) for n in steps["attack"].values])
        gains = [
            seed_curve(steps["factor"].sel(side=d), f"d = {d}", "attack", log=True)
            for d in at["side"].values
        ]
        panels.append(Panel(f"Gain over the flip, {title}", "steps",
                            "factor", gains, y_log=False, legend="d"))  # fmt: skip
        if not float(at["censored"].max()) > 0:
            continue  # the caption says so
        shares = [
            seed_curve(at["censored"].sel(attack=name), _series(str(name)), "side")
            for name in at["attack"].values
        ]
        panels.append(Panel(f"Share that does not flip, {title}", "dimension d",
                            "share", shares, y_log=False, legend="attack",
                            y_domain=(0.0, 1.0)))  # fmt: skip
    attrs = results.attrs
    return [
        Figure(
            name="attack-convergence",
            title="The smallest perturbation that flips, by attacks of more steps",
            caption="Medians over test rows of the distance at which the prediction "
            f"changes, of networks trained to the border of the lazy ball, C₀ = "
            f"{attrs['c_0']:g}; {attrs['restarts']} starts of PGD, inputs that do not "
            f"flip within {attrs['max_distance']:g} censored (no panel where all do "
            "flip), and no median where half or more are. Geometric means over seeds "
            "with 95 % intervals. Dashed: d^-1/2 through the last flip.",
            panels=tuple(panels),
        )
    ]


def _series(attack: str) -> str:
    if attack == FLIP:
        return "flip"
    return f"{int(attack):>3} step{'s' * (attack != '1')}"


ATTACK_CONVERGENCE = Study(
    name="attack-convergence",
    title="Attacks run to convergence on lazily trained networks",
    question="By how much do more steps lower the smallest perturbation that flips, "
    "does its power of the dimension persist, and when do steps stop helping?",
    source="wang2022, Sec. 6, the second open question.",
    settings=AttackConvergenceSettings,
    presets=PRESETS,
    axes={"scale": "scales", "width": "widths", "side": "sides"},
    trial=ATTACK_CONVERGENCE_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=_check,
)
"""Smallest perturbations by one step and by many."""
