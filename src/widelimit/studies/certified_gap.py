"""Certified radii of infinitely wide networks beside attacks on them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from widelimit.studies.base import Settings, Study
from widelimit.studies.certified_gap_trial import (
    CERTIFIED_GAP_TRIAL,
    check_certified_gap,
)
from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Figure, Panel
from widelimit.studies.kim2023_tables import ACTIVATIONS, known_names
from widelimit.studies.powers import powers, told
from widelimit.studies.verdicts import Claim, claim_of_every, log2, mean_of

if TYPE_CHECKING:
    import xarray as xr

_ALIKE = 0.1  # how far a finite network's distance may be from the infinite one's


class CertifiedGapSettings(Settings):
    r"""Two classes of images, of several dimensions, and penalties on the gradient.

    Attributes:
        data: Name of the data set.
        classes: The two labels, that of +1 first.
        activation: `erf` or `gelu`; the certificate needs a smooth kernel.
        sides: Sides to which images are averaged down; the dimension is the square.
        regularizations: Weights $\lambda$ of the penalty; 0 is the plain NTK.
        width: Units of the hidden layer of the finite networks.
        train_rows: Training rows of a seed.
        attack_rows: Test rows of a seed, which are certified and attacked.
        steps: Steps of gradient descent.
        step_share: The step, as a share of the largest stable one in the limit.
        attack_steps: Steps of PGD.
        restarts: Its starts, the first at the input.
        max_radius: Largest radius of certificates and attacks.
        tolerance: Relative length of the last interval of PGD's radii.
        seeds: Draws of rows, and initialisations.
    """

    data: str = "digits"
    classes: tuple[int, int] = (0, 1)
    activation: str = "erf"
    sides: tuple[PositiveInt, ...] = Field((4, 8), min_length=1)
    regularizations: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.01, 0.1, 1.0), min_length=1
    )
    width: PositiveInt = 1024
    train_rows: Annotated[int, Field(ge=2)] = 20
    attack_rows: Annotated[int, Field(ge=2)] = 40
    steps: PositiveInt = 256
    step_share: float = Field(0.4, gt=0, lt=1)
    attack_steps: PositiveInt = 30
    restarts: PositiveInt = 2
    max_radius: PositiveFloat = 1.0
    tolerance: float = Field(0.002, gt=0, lt=1)
    seeds: PositiveInt = 5

    @field_validator("activation")
    @classmethod
    def _known_activation(cls, name: str) -> str:
        return known_names((name,), ACTIVATIONS)[0]

    @field_validator("regularizations")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"regularizations must rise, got {values}")
        return values

    @model_validator(mode="after")
    def _two_classes(self) -> "CertifiedGapSettings":
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes must be two, got {self.classes}")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "data": "mnist",
        "sides": (5, 7, 10),
        "width": 2048,
        "train_rows": 30,
        "attack_rows": 60,
        "steps": 512,
        "attack_steps": 30,
        "restarts": 2,
        "seeds": 5,
    },
    "paper": {
        "data": "mnist",
        "sides": (5, 7, 10, 14, 20, 28),
        "width": 16_384,
        "train_rows": 60,
        "attack_rows": 500,
        "steps": 2048,
        "attack_steps": 100,
        "restarts": 5,
        "tolerance": 0.001,
        "seeds": 5,
    },
}


def _claims(results: "xr.Dataset") -> list[Claim]:
    results = _by_dimension(results)
    weights = results["regularization"].values
    found: list[Claim] = []
    for weight in weights:
        at = results.sel(regularization=weight)
        label, scope = f"[lambda={weight:g}]", {"regularization": float(weight)}
        found += [_sound(at, label, scope), _beaten(at, label, scope)]
        if at.sizes["side"] > 1:
            found.append(_grows(at, label, scope))
        found += [_alike(at, model, label, scope) for model in ("linearised", "finite")]
    if 0 not in weights:
        return found
    plain = results.sel(regularization=0.0)
    for weight in weights[weights > 0]:
        at = results.sel(regularization=weight)
        found += [_raises(at, plain, weight, name) for name in ("certified", "pgd")]
    return found


def _by_dimension(results: "xr.Dataset") -> "xr.Dataset":
    return results.assign_coords(side=results["side"].values ** 2)


def _counted(at: "xr.Dataset") -> int:
    """Inputs in all trials that finished."""
    return int(np.nansum(at["rows"].values)) * at.sizes["seed"]


def _sound(at: "xr.Dataset", label: str, scope: dict) -> Claim:
    bad, every = int(at["unsound"].sum()), _counted(at)
    cut = float(at["truncated"].mean())
    censored = float(at["pgd_censored"].sel(model="infinite").mean())
    return Claim(
        f"sound{label}",
        f"λ = {scope['regularization']:g}: no attack flips the infinite network within "
        "the certified radius, for any input.",
        0.0 - bad,
        0.0,
        bad == 0 if every else None,
        detail=f"Minus the number of violations, of {every} inputs. {cut:.1%} of "
        "radii end at `max_radius`, where more may be certain; PGD flips "
        f"{1 - censored:.1%}.",
        scope=scope,
    )


def _beaten(at: "xr.Dataset", label: str, scope: dict) -> Claim:
    bad, every = int(at["beaten"].sum()), 3 * _counted(at)
    slack = mean_of(at["slack"].sel(model="infinite").values)
    ratio = ""
    if np.isfinite(slack):
        ratio = (
            f" The flip needs {slack:.3f} times as much as PGD (median, infinite "
            "network)."
        )
    return Claim(
        f"pgd-below-flip{label}",
        f"λ = {scope['regularization']:g}: PGD needs no more than the flip along the "
        "gradient, for any input of any of the three networks.",
        0.0 - bad,
        0.0,
        bad == 0 if every else None,
        detail=f"Minus the number of violations by more than "
        f"{at.attrs['tolerance']:g}, of {every}.{ratio}",
        scope=scope,
    )


def _grows(at: "xr.Dataset", label: str, scope: dict) -> Claim:
    infinite = at.sel(model="infinite")
    found = {n: powers(infinite[n], "side") for n in ("gap", "certified", "pgd")}
    gaps = ", ".join(
        f"{_number(mean_of(infinite['gap'].sel(side=d).values))} (d = {d})"
        for d in at["side"].values
    )
    return claim_of_every(
        f"gap-grows{label}",
        f"λ = {scope['regularization']:g}: the gap, PGD's distance over the certified "
        "radius, grows with the dimension.",
        {"": found["gap"]},
        detail=f"The power of d of the median gap, of inputs that flip. "
        f"Gaps: {gaps}. Powers of the certified radius "
        f"{told(found['certified'])}, of PGD's distance "
        f"{told(found['pgd'])}. {float(at['truncated'].mean()):.1%} of radii are cut "
        "off, of inputs that do not flip.",
        scope=scope,
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "not measured"


def _alike(at: "xr.Dataset", model: str, label: str, scope: dict) -> Claim:
    rows = at["pgd"].transpose("side", "seed", "model")
    off = np.abs(
        log2((rows.sel(model=model) / rows.sel(model="infinite")).values)
    )  # of the medians of one seed, of the same inputs
    kept = off[np.isfinite(off)]
    largest = f"{2 ** kept.max():.3f}" if len(kept) else "not measured"
    word = {"finite": "The network of finite width", "linearised": "Its tangent"}[model]
    return claim_of_every(
        f"{model}-alike{label}",
        f"λ = {scope['regularization']:g}: {word[0].lower()}{word[1:]} needs a "
        f"perturbation within {_ALIKE:.0%} of the infinite one's, at every dimension.",
        dict(zip(at["side"].values.tolist(), np.log2(1 + _ALIKE) - off, strict=True)),
        detail=f"log2({1 + _ALIKE}) less the mean size of log2 of the ratio of PGD's "
        f"median distances, at width {at.attrs['width']}; largest ratio's size "
        f"{largest}. Training losses "
        f"{float(at['loss'].sel(model=model).mean()):.2g} and "
        f"{float(at['loss'].sel(model='infinite').mean()):.2g}.",
        scope=scope,
    )


def _raises(at: "xr.Dataset", plain: "xr.Dataset", weight: float, name: str) -> Claim:
    one, other = at.sel(model="infinite"), plain.sel(model="infinite")
    ratio = log2((one[name] / other[name]).transpose("side", "seed").values)
    groups = dict(zip(at["side"].values.tolist(), ratio, strict=True))
    every = ", ".join(
        f"{_number(2 ** mean_of(v))} (d = {d})" for d, v in groups.items()
    )
    what = {
        "certified": "the certified radius",
        "pgd": "the distance that PGD needs",
    }[name]
    return claim_of_every(
        f"raises-{name}[lambda={weight:g}]",
        f"λ = {weight:g} raises {what} of the infinite network, at every dimension.",
        groups,
        detail=f"log2 of its median over that with λ = 0; ratios {every}. Accuracy "
        f"{float(one['accuracy'].mean()):.1%} and {float(other['accuracy'].mean()):.1%}"
        ", training loss with its penalty "
        f"{float(one['loss'].mean()):.2g} and {float(other['loss'].mean()):.2g}.",
        scope={"regularization": float(weight)},
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    results = _by_dimension(results)
    attrs, infinite = results.attrs, results.sel(model="infinite")
    panels: list[Panel] = []
    for weight in results["regularization"].values:
        at = infinite.sel(regularization=weight)
        curves = [
            seed_curve(at[name], words, "side", log=True)
            for name, words in (("certified", "certified"), ("pgd", "PGD"),
                                ("flip", "flip"))
        ]  # fmt: skip
        panels.append(Panel(f"λ = {weight:g}", "dimension d", "median ‖δ‖₂",
                            curves, ordered=False))  # fmt: skip
    gaps = [
        seed_curve(
            infinite["gap"].sel(regularization=weight), f"λ = {weight:g}", "side"
        )
        for weight in results["regularization"].values
    ]
    ends = [
        seed_curve(infinite[name].mean("regularization"), words, "side")
        for name, words in (
            ("truncated", "certified"),
            ("pgd_censored", "PGD"),
            ("flip_censored", "flip"),
        )
    ]
    beside = [
        seed_curve(results["pgd"].sel(regularization=weight, model=model),
                   f"{model}, λ = {weight:g}", "side", log=True)
        for weight in results["regularization"].values[[0, -1]]
        for model in results["model"].values
    ]  # fmt: skip
    return [
        Figure(
            name="certified-gap",
            title="What is certain and what attacks reach, infinitely wide two-layer "
            f"network, {ACTIVATIONS[attrs['activation']]}",
            caption="Medians over test rows of norm 1: no input within the certified "
            "l2 radius is decided otherwise; PGD and the flip along the gradient find "
            "inputs that are (no point where half or more do not flip). Geometric "
            "means over seeds with 95 % intervals.",
            panels=tuple(panels),
        ),
        Figure(
            name="gap",
            title="The gap, what is cut off, and networks of finite width",
            caption="Left: median over inputs that flip of PGD's distance over the "
            f"certified radius. Middle: over all λ, certified radii that end at "
            f"{attrs['max_radius']:g}, where more may be certain, and inputs that "
            "attacks do not flip within it; medians that these leave unknown are not "
            "drawn. Right: "
            "PGD's median distance of the infinite network, of one of width "
            f"{attrs['width']}, and of its tangent, trained as long.",
            panels=(
                Panel("Gap", "dimension d", "ratio", gaps, y_log=False),
                Panel(f"Share that ends at {attrs['max_radius']:g}", "dimension d",
                      "share", ends, y_log=False, ordered=False,
                      y_domain=(0.0, 1.0)),
                Panel("Infinite and finite", "dimension d", "median ‖δ‖₂", beside,
                      ordered=False),
            ),
        ),
    ]  # fmt: skip


CERTIFIED_GAP = Study(
    name="certified-gap",
    title="Certified radii beside attacks",
    question="How far is the certified radius of an infinitely wide network from what "
    "attacks reach, and does a penalty on the input gradient raise either?",
    source="Beyond wang2022 and kim2023.",
    settings=CertifiedGapSettings,
    presets=PRESETS,
    axes={"side": "sides"},
    trial=CERTIFIED_GAP_TRIAL,
    claims=_claims,
    figures=_figures,
    demo=False,
    check=check_certified_gap,
)
"""Certified radii of kernel predictors, flips and PGD, against the dimension."""
