"""Inputs, networks and limits of one point of the du2019 studies."""

import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from widelimit.datasets import load, prepare
from widelimit.kernels import limit_kernels
from widelimit.kernels.gram import PopulationGram, population_gram
from widelimit.layers import AbstractLayer
from widelimit.networks.du2019 import (
    du2019_conv_resnet,
    du2019_fully_connected,
    du2019_resnet,
)
from widelimit.studies.du2019_settings import parse


class Problem(eqx.Module):
    r"""An architecture on its inputs, with what is known of it at infinite width.

    Attributes:
        x: Inputs of Frobenius norm 1: vectors, or images with channels last.
        y: Targets +1 and -1.
        separation: $\lambda$ in the branches of a ResNet; 1 for other networks.
        population: $K^{(H)}$, $\lambda_0$ and the $\lambda$ of the inputs.
        ntk: $\Theta$, the limit of $G = \sum_h G^{(h)}$ at initialisation.
    """

    x: Float[np.ndarray, "n *s"]
    y: Float[np.ndarray, " n"]
    separation: float
    population: PopulationGram
    ntk: Float[np.ndarray, "n n"]

    @property
    def pixels(self) -> int:
        """Positions of an image, $p$; 1 for vectors."""
        return int(np.prod(self.x.shape[1:-1]))


def problem_of(config: Mapping[str, Any]) -> Problem:
    """The problem of a trial; the last few are remembered.

    Args:
        config: One point of a study's grid; `du2019_settings` says what is in it.

    Returns:
        The problem.

    Raises:
        ValueError: If the data lack such rows, or a ResNet is to have the separation of
            inputs that have none.
    """
    names = ("architecture", "depth", "c_lambda", "data", "rows", "conv_size")
    return _problem(
        tuple(config["window"]),
        tuple(config["classes"]),
        **{name: config[name] for name in names},
    )


def inputs_of(
    config: Mapping[str, Any], name: str, rows: int
) -> tuple[Float[np.ndarray, "n *s"], Float[np.ndarray, " n"]]:
    """Rows of norm 1 and targets, in the shape that an architecture takes.

    Args:
        config: One point of a study's grid.
        name: The architecture, a key of `ARCHITECTURES`.
        rows: Their number.

    Returns:
        Both, in float64.

    Raises:
        ValueError: If the data lack such rows, or are no images of one channel.
    """
    images = name == "conv-resnet"
    size = config["conv_size"] if images else None
    found = _prepared(config["data"], tuple(config["classes"]), rows, size)
    x = found.x_train.astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)  # in double precision
    if images:
        if len(found.image_shape) != 2:
            raise ValueError(
                "A convolutional network of these studies needs images of one channel. "
                f"Got `image_shape={found.image_shape}` of {config['data']!r}. Choose "
                "other `architectures` or `data`."
            )
        ends = () if len(config["window"]) == 1 else (1,)
        x = x.reshape(rows, *found.image_shape, *ends)
    return x, found.t_train[:, 0].astype(float)


def network_of(
    config: Mapping[str, Any], *, width: int, separation: float
) -> AbstractLayer:
    r"""The network of one point of the grid, with the softplus.

    Args:
        config: One point of a study's grid.
        width: Units or channels of each hidden layer, $m$.
        separation: $\lambda$ in the branches of a ResNet.

    Returns:
        The network.
    """
    sizes = {"depth": config["depth"], "width": width}
    branch = {"c_lambda": config["c_lambda"], "separation": separation}
    match parse(config["architecture"])[0]:
        case "fully-connected":
            return du2019_fully_connected(**sizes)
        case "resnet":
            return du2019_resnet(**sizes, **branch)
        case _:
            window = tuple(config["window"])
            return du2019_conv_resnet(**sizes, **branch, window=window)


def separation_of(
    label: str, x: Float[np.ndarray, "n *s"], window: tuple[int, ...]
) -> float:
    r"""$\lambda$ in the branches of a ResNet: the label's, or that of the inputs.

    Args:
        label: The architecture.
        x: Inputs.
        window: Window of a convolutional network.

    Returns:
        The value; 1 for a fully-connected network.

    Raises:
        ValueError: If it is to be that of the inputs, and these have none.
    """
    name, chosen = parse(label)
    if chosen is not None or name == "fully-connected":
        return 1.0 if chosen is None else chosen
    point = {"architecture": label, "depth": 1, "c_lambda": 0.5, "window": window}
    found = population_gram(network_of(point, width=1, separation=1.0), x)
    if found.separation <= found.error:
        i, j = found.pair
        raise ValueError(
            f"`{label}` needs inputs with a positive lambda (Assumption 4.1 or 5.1). "
            f"Got {found.separation:.2g} from rows {i} and {j}: they are parallel, or "
            "their patches have fewer entries than twice the pixels and so depend on "
            f"each other. Choose lambda, as in {label}:1, or a smaller `conv_size`."
        )
    return found.separation


@functools.lru_cache(maxsize=4)
def _problem(
    window: tuple[int, ...], classes: tuple[int, ...], **point: Any
) -> Problem:
    label = point["architecture"]
    config = {**point, "window": window, "classes": classes}
    x, y = inputs_of(config, parse(label)[0], point["rows"])
    separation = separation_of(label, x, window)
    network = network_of(config, width=1, separation=separation)  # any width will do
    return Problem(
        x=x,
        y=y,
        separation=separation,
        population=population_gram(network, x),
        ntk=limit_kernels(network, x).ntk,
    )


@functools.lru_cache(maxsize=4)
def _prepared(name: str, classes: tuple[int, ...], rows: int, size: int | None):
    return prepare(
        load(name), scale="unit", classes=classes, targets="sign", train=rows, size=size
    )
