"""Jacobians with respect to the input."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_rows

Function = Callable[[Float[Array, " d"]], Float[Array, "*o"]]


def input_jacobian(
    f: Function, x: Float[Array, "n d"], *, batch_size: int | None = None
) -> Float[Array, "n o d"]:
    """Jacobian of `f` at every row of `x`, by whichever mode needs fewer passes.

    With fewer outputs than inputs one reverse pass per output is made, else one forward
    pass per input feature.

    Args:
        f: Function of one input, with a scalar or an array of outputs.
        x: Inputs, one per row.
        batch_size: Rows to work on at once; all of them if `None`. Memory is that of
            `batch_size * o` passes through `f`.

    Returns:
        The Jacobians, outputs flattened to one axis.

    Raises:
        ValueError: If `x` is not a matrix.
    """
    check_rows("input_jacobian", "x", x)
    outputs = math.prod(jax.eval_shape(f, x[0]).shape)
    jacobian = jax.jacrev if outputs <= x.shape[1] else jax.jacfwd

    def at(row: Float[Array, " d"]) -> Float[Array, "o d"]:
        return jacobian(lambda z: jnp.reshape(f(z), (-1,)))(row)

    if batch_size is None or batch_size >= len(x):
        return jax.vmap(at)(x)
    return jax.lax.map(at, x, batch_size=batch_size)
