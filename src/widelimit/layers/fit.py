"""What layers refuse in `apply`: inputs and parameters that are not theirs."""

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

CURE = "Make them with this network's own `network.init(key, input_shape)`."


def check_named(layer: str, params: Any, names: Collection[str]) -> None:
    """Raise unless parameters are a dictionary with these names.

    Args:
        layer: Its name.
        params: The parameters.
        names: Those that the layer has.

    Raises:
        ValueError: If not.
    """
    found = sorted(params) if isinstance(params, dict) else type(params).__name__
    if found != sorted(names):
        raise ValueError(
            f"`{layer}.apply` needs parameters with the names {sorted(names)}. Got "
            f"{found}, which belong to another layer or network. {CURE}"
        )


def check_weight(layer: str, weight: Array, axes: int, outputs: int) -> None:
    """Raise unless a weight has as many axes and outputs as its layer.

    Args:
        layer: Its name.
        weight: The weight, outputs last.
        axes: Number of axes.
        outputs: Of the layer.

    Raises:
        ValueError: If not.
    """
    if weight.ndim != axes or weight.shape[-1] != outputs:
        raise ValueError(
            f"`{layer}.apply` needs a weight with {axes} axes, the last for its "
            f"{outputs} outputs. Got `weight.shape={weight.shape}`, which belongs to "
            f"another layer or network. {CURE}"
        )


def check_channels(layer: str, x: Array, channels: int) -> None:
    """Raise unless inputs are numbers with channels last, as many as parameters have.

    Args:
        layer: Its name.
        x: Inputs, one per row.
        channels: Those that the parameters were initialised for.

    Raises:
        ValueError: If not; where the second axis fits, channels come first.
    """
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise ValueError(
            f"`{layer}.apply` needs inputs in a floating-point type. Got `x.dtype="
            f"{x.dtype}`. Scale images of bytes first, by `PixelScaling` or "
            "`x.astype(float) / 255`."
        )
    if x.shape[-1] == channels:
        return
    cure = "Initialise the network with the `input_shape` of these inputs."
    if x.ndim > 2 and x.shape[1] == channels:
        cure = "Channels come last: take `jnp.moveaxis(x, 1, -1)`."
    raise ValueError(
        f"`{layer}.apply` needs inputs with {channels} channels, as its parameters "
        f"have, which come last. Got `x.shape={x.shape}`. {cure}"
    )
