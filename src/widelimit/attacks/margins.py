"""Which side a prediction is on, and by how much."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Outputs = Float[Array, "n o"]
Places = Int[Array, " n"]


def side_of(y: Outputs) -> Places:
    """The prediction: sign of the one output, or place of the largest."""
    if y.shape[1] == 1:
        return jnp.sign(y[:, 0]).astype(int)
    return jnp.argmax(y, 1)


def rival_of(y: Outputs, side: Places) -> Places:
    """Place of the largest output but that of a side; of no use with one output."""
    return side if y.shape[1] == 1 else jnp.argmax(_without(y, side), 1)


def margin(y: Outputs, side: Places) -> Float[Array, " n"]:
    """By how much outputs are on a side; negative if they are on another."""
    if y.shape[1] == 1:
        return side.astype(y.dtype) * y[:, 0]
    return _at(y, side) - jnp.max(_without(y, side), 1)


def lead(y: Outputs, side: Places, rival: Places) -> Float[Array, " n"]:
    """The margin over one rival, which has a gradient also where others tie."""
    return margin(y, side) if y.shape[1] == 1 else _at(y, side) - _at(y, rival)


def _at(y: Outputs, place: Places) -> Float[Array, " n"]:
    return jnp.take_along_axis(y, place[:, None], 1)[:, 0]


def _without(y: Outputs, side: Places) -> Outputs:
    return jnp.where(jnp.arange(y.shape[1]) == side[:, None], -jnp.inf, y)
