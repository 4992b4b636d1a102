"""Settings of the studies that train convolutional and residual networks on images."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from widelimit.layers import Flatten, Sequential
from widelimit.networks import (
    cifar_resnet,
    cnn,
    resnet18,
    resnet34,
    zhu2022_network,
)
from widelimit.studies.settings import Initialization, RunSettings
from widelimit.studies.trial import initialization

CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)


def known_resnet(label: str) -> str:
    """The label itself, if it is one of a residual network, such as `resnet20`.

    Args:
        label: Its name and number of layers.

    Returns:
        The label.

    Raises:
        ValueError: If it is not.
    """
    depths = (18, 34, *CIFAR_DEPTHS)
    found = re.fullmatch(r"resnet(\d+)", label)
    if not found or int(found[1]) not in depths:
        known = ", ".join(f"resnet{depth}" for depth in sorted(depths))
        raise ValueError(f"{label!r} is unknown; known are {known}")
    return label


ResNet = Annotated[str, AfterValidator(known_resnet)]
"""Label of a residual network."""


class ImageSettings(RunSettings):
    """How a network is trained on images, and what is kept of them.

    Attributes:
        size: Height and width to which images are down-sampled; as they are if `None`.
        scale: `channel` (each channel with mean 0 and standard deviation 1), `unit`
            (images of norm 1) or `raw` (pixels in [0, 1]).
        schedule: What becomes of the learning rate: `step`, `constant` or `cosine`.
        milestones: Shares of the training after which the schedule `step` lowers the
            rate tenfold; zhu2022's are epochs 25, 35 and 45 of 50.
        momentum: Of the gradient descent; zhu2022 names none.
        weight_decay: Likewise.
        augment: Whether every step sees images cropped and flipped at random.
        precision: `full`, or `mixed` for GPUs.
        accumulate: Parts of a batch that are taken one after the other, where it does
            not fit into memory whole.
        pictures: Test images that are kept with their most damaging direction.
        picture_radius: Radius of the ball for these, as a share of the image's norm.
    """

    size: PositiveInt | None = None
    scale: Literal["channel", "unit", "raw"] = "channel"
    schedule: Literal["step", "constant", "cosine"] = "step"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.7, 0.9)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegativeFloat = 0.0
    augment: bool = False
    precision: Literal["full", "mixed"] = "full"
    accumulate: PositiveInt = 1
    pictures: Annotated[int, Field(ge=0, le=10)] = 3
    picture_radius: PositiveFloat = 0.2

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "ImageSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of accumulate "
                f"({self.accumulate})"
            )
        return self


class PlainSettings(ImageSettings):
    """Plain networks: convolutional ones and, to compare, fully-connected ones.

    Attributes:
        data: Name of the data set.
        networks: `cnn`, `fcn` or both.
        depths: Numbers of convolutions, or hidden layers; the paper's L is one more.
        widths: Channels of every convolution, or units of every hidden layer.
        initialization: Label of the initialisation.
    """

    data: str = "digits"
    networks: tuple[Literal["cnn", "fcn"], ...] = Field(("cnn", "fcn"), min_length=1)
    depths: tuple[PositiveInt, ...] = Field((3, 5, 7, 9), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((4, 8, 16, 32), min_length=1)
    initialization: Initialization = "he"


class ResidualSettings(ImageSettings):
    """Residual networks of several widths.

    Attributes:
        data: Name of the data set.
        networks: `resnet18`, `resnet34`, or of the CIFAR family, such as `resnet20`.
        widths: Width factors, of all channels.
        initialization: Label of the initialisation.
    """

    data: str = "digits"
    networks: tuple[ResNet, ...] = Field(("resnet18", "resnet34"), min_length=1)
    widths: tuple[PositiveFloat, ...] = Field((1 / 16, 1 / 8, 1 / 4), min_length=1)
    initialization: Initialization = "he"


class RegimeSettings(ImageSettings):
    """One residual network on several data sets, from several initialisations.

    Attributes:
        data: Names of the data sets.
        initializations: Labels such as `he` and `non-lazy`.
        network: As of `ResidualSettings`.
        width: Width factor.
    """

    data: tuple[str, ...] = Field(("digits",), min_length=1)
    initializations: tuple[Initialization, ...] = Field(
        ("he", "non-lazy"), min_length=1
    )
    network: ResNet = "resnet20"
    width: PositiveFloat = 1.0


def image_network(
    label: str, *, depth: int | None, width: int | float, outputs: int, start: str
) -> Sequential:
    """The network of one point of a grid.

    Args:
        label: `cnn`, `fcn` or a residual network.
        depth: Convolutions of a CNN, or hidden layers.
        width: Channels or units, or the width factor.
        outputs: Number of outputs.
        start: Label of the initialisation.

    Returns:
        The description, for images with channels last.
    """
    common = {"outputs": outputs, **initialization(start)}
    if label == "cnn" and depth:
        return cnn(depth=depth, channels=int(width), **common)
    if label == "fcn" and depth:
        plain = zhu2022_network(depth=depth, width=int(width), **common)
        return Sequential((Flatten(), *plain.layers))
    layers = int(known_resnet(label).removeprefix("resnet"))
    if layers in (18, 34):
        return {18: resnet18, 34: resnet34}[layers](width_factor=width, **common)
    return cifar_resnet(depth=layers, width_factor=width, **common)
