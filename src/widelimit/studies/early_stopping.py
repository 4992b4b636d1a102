"""Accuracy and loss long after the epoch at which zhu2022 stops training."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator, model_validator

from widelimit.studies.base import Settings, Study
from widelimit.studies.curves import SCALES, seed_curve
from widelimit.studies.figure import Curve, Figure, Panel
from widelimit.studies.settings import Initialization, RunSettings, Scale
from widelimit.studies.trial import check_rows_and_memory, train_and_score
from widelimit.studies.verdicts import Claim, log2, mean_of, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray as xr

POINT = 0.01
"""The largest change of accuracy that counts as none: one point."""

SHARE = 0.05
"""The same for the loss, as a share of its fall until the epoch of stopping."""

_SCHEDULES = {"paper": "the paper's falling rate", "constant": "a constant rate"}
_PARTS = {"fit": "training", "test": "test"}
_NAMES = {
    ("accuracy", "fit"): "fit_accuracy",
    ("accuracy", "test"): "accuracy",
    ("loss", "fit"): "fit_loss",
    ("loss", "test"): "test_loss",
}


def _every_tenth(values: "Mapping[str, Any]") -> tuple[int, ...]:
    epochs, stop = values.get("epochs", 200), values.get("stop", 50)
    early = {0, 1, 2, 5, *range(10, epochs, 10), stop, epochs}
    return tuple(sorted(epoch for epoch in early if epoch <= epochs))


class _Stop(Settings):
    """Read before the probe epochs, whose default depends on it."""

    stop: PositiveInt = 50


class EarlyStoppingSettings(RunSettings, _Stop):
    """Two networks, input scales and schedules of the rate.

    Attributes:
        data: Name of the data set.
        scales: As of the other studies of zhu2022.
        schedules: `paper`, tenfold lower at epoch 25 and every ten epochs from then on,
            or `constant`. Under the paper's, all but nothing is left of the rate from
            epoch 55 on, so that the claim says more of a constant one.
        networks: Width and the paper's depth L, as in `32x4`; it has L - 1 hidden
            layers.
        initialization: Label of the initialisation.
        stop: Epoch after which nothing should change.
    """

    data: str = "digits"
    scales: tuple[Scale, ...] = Field(("unit", "raw"), min_length=1)
    schedules: tuple[Literal["paper", "constant"], ...] = Field(
        ("paper", "constant"), min_length=1
    )
    networks: tuple[str, ...] = Field(("32x4", "64x8"), min_length=1)
    initialization: Initialization = "he"
    epochs: PositiveInt = 200
    probe_epochs: tuple[int, ...] = Field(default_factory=_every_tenth, min_length=1)

    @field_validator("networks")
    @classmethod
    def _sizes(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            width, cross, layers = label.partition("x")
            sound = width.isdecimal() and layers.isdecimal() and cross == "x"
            if not sound or int(width) < 1 or int(layers) < 2:
                raise ValueError(
                    f"{label!r} is no width and depth, as in 32x4, with a depth of at "
                    "least 2"
                )
        return labels

    @model_validator(mode="after")
    def _stops_before_the_end(self) -> "EarlyStoppingSettings":
        if not (self.stop < self.epochs and self.stop in self.probe_epochs):
            raise ValueError(
                f"stop ({self.stop}) must lie before epochs ({self.epochs}) and be "
                f"among probe_epochs, got {self.probe_epochs}"
            )
        return self


def size_of(network: str) -> tuple[int, int]:
    """Width and number of hidden layers of a label such as `32x4`.

    Args:
        network: The width and the paper's L, its number of weight matrices.

    Returns:
        Width, and L - 1.
    """
    width, _, layers = network.partition("x")
    return int(width), int(layers) - 1


def train_for_long(
    config: "Mapping[str, Any]", report: "Callable[[float], None]"
) -> "xr.Dataset":
    """`train_and_score` of one of the networks.

    Args:
        config: One point of the study's grid.
        report: Called with the share done.

    Returns:
        As there.
    """
    width, depth = size_of(config["network"])
    return train_and_score({**config, "width": width, "depth": depth}, report).assign(
        stop=config["stop"]
    )


def check_early_stopping(settings: EarlyStoppingSettings) -> None:
    """Raise, with the cure, unless the data of the trials are here and suffice.

    Args:
        settings: Settings of the study.

    Raises:
        ValueError: If the name is unknown, the data have too few rows, or the largest
            network's seeds do not fit into memory.
    """
    for network in settings.networks:
        check_rows_and_memory(settings, *size_of(network))


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    for scale in map(str, results["scale"].values):
        for schedule in map(str, results["schedule"].values):
            for network in map(str, results["network"].values):
                scope = {"scale": scale, "schedule": schedule, "network": network}
                at = results.sel(scope)
                for quantity in ("accuracy", "loss"):
                    for part in _PARTS:
                        claims.append(_unchanged(at, quantity, part, scope))
                claims.append(_stability(at, scope))
    return claims


def _unchanged(
    at: "xr.Dataset", quantity: str, part: str, scope: dict[str, str]
) -> Claim:
    stop = int(at["stop"].max())
    values = at[_NAMES[quantity, part]]
    first, then, last = (
        values.sel(epoch=0).values,
        values.sel(epoch=stop).values,
        values.isel(epoch=-1).values,
    )
    change = last - then
    if quantity == "accuracy":
        margin, detail = POINT, "One point, less the change either way."
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            margin, change = SHARE, change / (first - then)
        detail = (
            f"{SHARE:.0%} of the loss's fall until epoch {stop}, less its change since "
            f"then either way. It went from {mean_of(first):.3g} to "
            f"{mean_of(then):.3g}, and in the end to {mean_of(last):.3g}."
        )
    if quantity == "accuracy":
        detail += f" It was {mean_of(then):.1%}, and in the end {mean_of(last):.1%}."
    found, holds = within(change, margin)
    return Claim(
        f"{_PARTS[part]}-{quantity}-unchanged[{','.join(scope.values())}]",
        f"{_words(scope)}: the {_PARTS[part]} {quantity} is almost unchanged from "
        f"epoch {stop} to {int(at['epoch'].max())}.",
        found.mean, found.half_width, holds, detail=detail, scope=scope,
    )  # fmt: skip


def _stability(at: "xr.Dataset", scope: dict[str, str]) -> Claim:
    """What the paper stops early for, and does not show."""
    stop = int(at["stop"].max())
    values = at["stability"]
    change = log2(values.isel(epoch=-1).values / values.sel(epoch=stop).values)
    found, holds = within(change, float(np.log2(1 + 2 * SHARE)))
    return Claim(
        f"stability-unchanged[{','.join(scope.values())}]",
        f"Ours. {_words(scope)}: so is the perturbation stability.",
        found.mean, found.half_width, holds, scope=scope,
        detail=f"log2 of a factor of {1 + 2 * SHARE:g}, less the change of log2 P "
        f"either way. P changed by a factor of {2.0 ** mean_of(change):.3g}.",
    )  # fmt: skip


def _words(scope: "Mapping[str, str]") -> str:
    width, _, layers = scope["network"].partition("x")
    return (
        f"Width {width}, depth {layers}, {SCALES[scope['scale']]}, "
        f"{_SCHEDULES[scope['schedule']]}"
    )


def _figures(results: "xr.Dataset") -> list[Figure]:
    return [
        _figure(results.sel(scale=scale, network=network), str(scale), str(network))
        for scale in results["scale"].values
        for network in results["network"].values
    ]


def _figure(at: "xr.Dataset", scale: str, network: str) -> Figure:
    stop = int(at["stop"].max())
    curves: dict[str, list[Curve]] = {"accuracy": [], "loss": []}
    for schedule in map(str, at["schedule"].values):
        for (quantity, part), name in _NAMES.items():
            values = at[name].sel(schedule=schedule)
            curves[quantity].append(
                seed_curve(
                    values,
                    f"{_PARTS[part]}, {schedule}",
                    "epoch",
                    share=quantity == "accuracy",
                )
            )
    stability = [
        seed_curve(at["stability"].sel(schedule=s), str(s), "epoch", log=True)
        for s in at["schedule"].values
    ]
    width, _, layers = network.partition("x")
    return Figure(
        name=f"{network}-{scale}",
        title=f"Stopping after {stop} epochs: width {width}, depth {layers}, "
        f"{SCALES[scale]}",
        caption=f"The depth counts weight matrices: {int(layers) - 1} hidden layers. "
        "The paper's schedule lowers the rate tenfold at epoch 25 and every ten epochs "
        "from then on; the constant rate shows what more training would do. Means over "
        "seeds with 95 % intervals.",
        panels=(
            _panel("Accuracy", "share of rows that are right", curves["accuracy"]),
            _panel("Loss", "mean loss", curves["loss"]),
            _panel("Stability", "P(f, ε) / ε", stability, y_log=True),
        ),
    )


def _panel(title: str, y: str, curves: list[Curve], *, y_log: bool = False) -> Panel:
    return Panel(
        title, "epoch", y, curves, x_log=False, y_log=y_log, ordered=False,
        legend="rows and rate" if len(curves) > 2 else "rate",
    )  # fmt: skip


EARLY_STOPPING = Study(
    name="early-stopping",
    title="Stopping after 50 epochs",
    question="Do accuracy and loss still change between epochs 50 and 200, and does "
    "the answer depend on the schedule of the learning rate?",
    source="zhu2022, Fig. 6, App. E.2.",
    settings=EarlyStoppingSettings,
    presets={
        "quick": {"seeds": 4},
        "laptop": {"data": "mnist", "train_rows": 6400, "test_rows": 2000, "seeds": 5},
        "paper": {
            "data": "mnist", "train_rows": None, "learning_rate": 0.001, "seeds": 5,
            "stability_rows": 1000,
        },
    },
    axes={"scale": "scales", "schedule": "schedules", "network": "networks"},
    trial="widelimit.studies.early_stopping:train_for_long",
    claims=_claims,
    figures=_figures,
    check=check_early_stopping,
    demo=False,
)  # fmt: skip
