"""Settings of the studies that train zhu2022's network."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from widelimit.networks import INITIALIZATIONS
from widelimit.studies.base import Settings

Scale = Literal["unit", "raw"]

_PROBES = (0, 1, 2, 5, 10, 15, 20, 25, 30, 40)


def _probes(values: Mapping[str, Any]) -> tuple[int, ...]:
    epochs = values.get("epochs", 0)  # absent where it is not valid itself
    return (*(epoch for epoch in _PROBES if epoch < epochs), epochs)


def known_initialization(label: str) -> str:
    """The label itself, if it is one of an initialisation, such as `non-lazy:1.5`.

    Args:
        label: A name known to `zhu2022_network`, with the exponent after a colon.

    Returns:
        The label.

    Raises:
        ValueError: If it is not.
    """
    name, colon, exponent = label.partition(":")
    if name not in INITIALIZATIONS:
        raise ValueError(
            f"{label!r} is unknown; known are {', '.join(INITIALIZATIONS)}"
        )
    if colon and name != "non-lazy":
        raise ValueError(f"{label!r}: only non-lazy has an exponent")
    if colon and not 0 < _number(exponent) < math.inf:
        raise ValueError(
            f"{label!r} needs a positive number after the colon, as in non-lazy:1.5"
        )
    return label


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


Initialization = Annotated[str, AfterValidator(known_initialization)]
"""Label of an initialisation."""


class RunSettings(Settings):
    """How a study trains: epochs, rows, rate, and when it measures.

    Attributes:
        seeds: Initialisations (and batch orders) per point of the grid.
        epochs: Passes through the data.
        batch_size: Rows per step.
        learning_rate: Initial rate; `None` keeps the paper's product of rate and steps
            per epoch on a smaller data set: 0.001 * 937 / steps.
        train_rows: Training rows, drawn at random; all if `None`.
        test_rows: Test rows for the accuracy; all if `None`.
        stability_rows: How many of them the stability is averaged over; there must be
            as many.
        loss: The loss.
        probe_epochs: Epochs after which everything is measured, from 0, which is
            initialisation, to the last; by default 11 of 50, and in a shorter training
            those of them before its end, and its end.
    """

    seeds: PositiveInt = 6
    epochs: PositiveInt = 50
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat | None = None
    train_rows: PositiveInt | None = 640
    test_rows: Annotated[int, Field(ge=2)] | None = None
    stability_rows: Annotated[int, Field(ge=2)] = 100
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    probe_epochs: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default_factory=_probes, min_length=1
    )

    @model_validator(mode="after")
    def _batches_fit(self) -> "RunSettings":
        if self.train_rows is not None and self.batch_size > self.train_rows:
            raise ValueError(
                f"batch_size ({self.batch_size}) must not exceed train_rows "
                f"({self.train_rows})"
            )
        return self

    @model_validator(mode="after")
    def _probes_within_training(self) -> "RunSettings":
        if self.probe_epochs[-1] != self.epochs or self.probe_epochs[0] != 0:
            raise ValueError(
                "probe_epochs must begin with 0 and end with epochs "
                f"({self.epochs}), got {self.probe_epochs}"
            )
        if sorted(set(self.probe_epochs)) != list(self.probe_epochs):
            raise ValueError("probe_epochs must rise")
        return self


class TrainingSettings(RunSettings):
    """A grid over input scales, initialisations, depths and widths.

    Attributes:
        data: Name of the data set.
        scales: `unit` (rows of norm 1, the papers' assumption) or `raw` (pixels in
            [0, 1]); the paper does not say which it trained on.
        initializations: Labels such as `he`, `lecun`, `ntk`, `non-lazy:1.5`.
        depths: Numbers of hidden layers; the paper's L is one more.
        widths: Units of each hidden layer.
    """

    data: str = "digits"
    scales: tuple[Scale, ...] = Field(("unit", "raw"), min_length=1)
    initializations: tuple[Initialization, ...] = Field(("he",), min_length=1)
    depths: tuple[PositiveInt, ...] = Field((1, 3, 5), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((8, 16, 32, 64, 128), min_length=1)


class TwoLayerSettings(TrainingSettings):
    """The same for one hidden layer, or another single depth."""

    depths: tuple[PositiveInt, ...] = Field((1,), min_length=1, max_length=1)


AXES: Mapping[str, str] = {
    "scale": "scales",
    "initialization": "initializations",
    "depth": "depths",
    "width": "widths",
}
"""Axis of the grid -> field of the settings."""

TRIAL = "widelimit.studies.trial:train_and_measure"

_LAPTOP: Mapping[str, Any] = {
    "data": "mnist",
    "widths": tuple(2**k for k in range(4, 10)),
    "train_rows": 6400,
    "test_rows": 2000,
    "stability_rows": 256,
}
_PAPER: Mapping[str, Any] = {
    "data": "mnist",
    "widths": tuple(2**k for k in range(4, 15)),
    "depths": (1, 3, 5, 7, 9),
    "learning_rate": 0.001,
    "train_rows": None,
    "stability_rows": 1000,
}


def presets(**common: Any) -> dict[str, dict[str, Any]]:
    """The presets `quick`, `laptop` and `paper`, with a study's own values on top.

    Args:
        **common: Values that hold for the study in every preset.

    Returns:
        Settings by preset.
    """
    return {
        "quick": {**common},
        "laptop": {**_LAPTOP, **common},
        "paper": {**_PAPER, **common},
    }
