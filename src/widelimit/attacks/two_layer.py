"""Networks that are piecewise linear with one layer of kinks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.rectifier import AbstractRectifier
from widelimit.attacks.kinks import Kinks
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Params,
    Readout,
    Scale,
    Sequential,
)

AFFINE = (Conv, Dense, Flatten, Readout, Scale)


def activation_at(network: object) -> int | None:
    """Which layer holds the kinks, if one does and all others are affine."""
    if not isinstance(network, Sequential):
        return None
    others = [k for k, f in enumerate(network.layers) if not isinstance(f, AFFINE)]
    if len(others) != 1:
        return None
    layer = network.layers[others[0]]
    kinked = isinstance(layer, Activation) and isinstance(
        layer.function, AbstractRectifier
    )
    return others[0] if kinked else None


def along(
    network: object,
    params: Params,
    x: Float[Array, "n *s"],
    direction: Float[Array, "n *s"],
    sign: Float[Array, " n"],
    threshold: Float[Array, ""],
) -> Kinks:
    """The network's output less a threshold, times a sign, along one ray per input.

    Args:
        network: One for which `activation_at` is a layer, with one output.
        params: Its parameters.
        x: Where the rays start.
        direction: Where they go.
        sign: +1 or -1 (or 0) for each.
        threshold: What is subtracted from the output.

    Returns:
        The functions.
    """
    at = activation_at(network)
    assert isinstance(network, Sequential) and at is not None
    layers, activation = network.layers, network.layers[at]
    assert isinstance(activation, Activation)
    assert isinstance(activation.function, AbstractRectifier)

    def before(x):
        for layer, p in zip(layers[:at], params[:at], strict=True):
            x = layer.apply(p, x)
        return x

    def after(hidden):
        hidden = hidden[None]
        for layer, p in zip(layers[at + 1 :], params[at + 1 :], strict=True):
            hidden = layer.apply(p, hidden)
        return hidden.reshape(())

    # Both halves are affine: their derivatives say all, whatever their scales.
    start, speed = jax.jvp(before, (x,), (direction,))
    offset, weight = jax.value_and_grad(after)(jnp.zeros_like(start[0]))
    rows = len(x)
    return Kinks(
        start=start.reshape(rows, -1).T,
        speed=speed.reshape(rows, -1).T,
        weight=weight.ravel(),
        sign=sign,
        offset=offset - threshold,
        slope=float(activation.function.slope),
    )
