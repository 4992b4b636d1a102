"""Settings of the studies of du2019's networks."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from widelimit.studies.base import Settings

ARCHITECTURES: Mapping[str, str] = {
    "fully-connected": "fully-connected",
    "resnet": "ResNet",
    "conv-resnet": "convolutional ResNet",
}
"""Name of each architecture for readers."""


class ProblemSettings(Settings):
    r"""Networks and the rows that they are trained on.

    Attributes:
        data: Name of the data set, of images.
        classes: The two classes: targets are +1 for the first, -1 for the second.
        rows: Number of inputs, $n$, each of norm 1, drawn at random.
        conv_size: Side to which images are down-sampled for the convolutional ResNet,
            whose cost grows with pixels; `None` keeps them.
        window: Its window: one number to slide over the rows of an image, whose columns
            are then the channels, or two numbers to slide over its pixels.
        architectures: Labels: `fully-connected`, `resnet`, `conv-resnet`. A ResNet's
            branches have the factor $c_\lambda \lambda^{3/2} / H$ with the $\lambda$ of
            the inputs (Assumptions 4.1 and 5.1); `resnet:1` chooses $\lambda = 1$.
        depths: Numbers of hidden layers, $H$; with one, a ResNet has no branch.
        c_lambda: $c_\lambda$, between 0 and 1; the paper leaves it open.
    """

    data: str = "digits"
    classes: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 1)
    rows: Annotated[int, Field(ge=2)] = 20
    conv_size: PositiveInt | None = 4
    window: tuple[PositiveInt, ...] = Field((3,), min_length=1, max_length=2)
    architectures: tuple[str, ...] = Field(
        ("fully-connected", "resnet", "resnet:1", "conv-resnet:1"), min_length=1
    )
    depths: tuple[Annotated[int, Field(ge=2)], ...] = Field((3,), min_length=1)
    c_lambda: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @field_validator("architectures")
    @classmethod
    def _known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            parse(label)
        return labels


class DescentSettings(ProblemSettings):
    r"""Gradient descent of these networks, at several widths.

    Attributes:
        widths: Units (channels) of each hidden layer, $m$.
        steps: Steps of gradient descent.
        step_factor: $\eta \|\Theta\|_2$, with $\Theta$ the tangent kernel of the
            infinitely wide network between the inputs. Descent is stable up to about 2.
        delta: Probability $\delta$ with which the theorems may fail, for the width that
            they ask for.
    """

    widths: tuple[PositiveInt, ...] = Field((32, 64, 128, 256), min_length=1)
    steps: PositiveInt = 200
    step_factor: PositiveFloat = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.1


def parse(label: str) -> tuple[str, float | None]:
    r"""Reads an architecture's label, such as `resnet` or `resnet:0.5`.

    Args:
        label: A key of `ARCHITECTURES`, with a value of $\lambda$ after a colon.

    Returns:
        The key, and the value or `None`.

    Raises:
        ValueError: If the name is unknown, or the value no positive number.
    """
    name, colon, value = label.partition(":")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"{label!r} is unknown; known are {', '.join(ARCHITECTURES)}, the last two "
            "also with a value of lambda, as in resnet:1"
        )
    if not colon:
        return name, None
    if name == "fully-connected":
        raise ValueError(f"{label!r}: a fully-connected network has no lambda")
    if not 0 < (chosen := _number(value)) < math.inf:
        raise ValueError(
            f"{label!r} needs a positive number after the colon, as in resnet:1"
        )
    return name, chosen


def name_of(label: str) -> str:
    """The architecture's name for readers, such as `ResNet, λ = 1`."""
    name, chosen = parse(label)
    if name == "fully-connected":
        return ARCHITECTURES[name]
    told = "λ of the data" if chosen is None else f"λ = {chosen:g}"
    return f"{ARCHITECTURES[name]}, {told}"


AXES: Mapping[str, str] = {
    "architecture": "architectures",
    "depth": "depths",
    "width": "widths",
}
"""Axis of the grid -> field of the settings."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "laptop": {
        "data": "mnist",
        "rows": 60,
        "conv_size": 7,
        "depths": (2, 4),
        "widths": tuple(2**k for k in range(5, 12)),
        "steps": 1000,
    },
    "paper": {
        "data": "mnist",
        "rows": 200,
        "conv_size": 14,
        "depths": (2, 4, 8),
        "widths": tuple(2**k for k in range(5, 14)),
        "steps": 10_000,
    },
}
"""Settings of the studies that descend."""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
