"""Jacobians with respect to the input."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_rows

Function = Callable[[Float[Array, "*s"]], Float[Array, "*o"]]


def flattened(
    caller: str, f: Function, x: Float[Array, "n *s"]
) -> tuple[Function, Float[Array, "n d"]]:
    """The same function of vectors, and inputs as rows.

    Args:
        caller: Function to name.
        f: Function of one input.
        x: Inputs, vectors or images, one per row.

    Returns:
        Both; as they are if inputs are vectors.

    Raises:
        ValueError: If there are no inputs.
    """
    if x.ndim < 3:
        check_rows(caller, "x", x)
        return f, x
    shape = x.shape[1:]
    return lambda row: f(jnp.reshape(row, shape)), jnp.reshape(x, (len(x), -1))


def input_jacobian(
    f: Function, x: Float[Array, "n *s"], *, batch_size: int | None = None
) -> Float[Array, "n o d"]:
    """Jacobian of `f` at every row of `x`, by whichever mode needs fewer passes.

    With fewer outputs than inputs one reverse pass per output is made, else one forward
    pass per input feature.

    Args:
        f: Function of one input, with a scalar or an array of outputs.
        x: Inputs, vectors or images, one per row; d counts the features of either.
        batch_size: Rows to work on at once; all of them if `None`. Memory is that of
            `batch_size * o` passes through `f`.

    Returns:
        The Jacobians, outputs flattened to one axis.

    Raises:
        ValueError: If `x` has no rows.
    """
    f, x = flattened("input_jacobian", f, x)
    outputs = math.prod(jax.eval_shape(f, x[0]).shape)
    jacobian = jax.jacrev if outputs <= x.shape[1] else jax.jacfwd

    def at(row: Float[Array, " d"]) -> Float[Array, "o d"]:
        return jacobian(lambda z: jnp.reshape(f(z), (-1,)))(row)

    if batch_size is None or batch_size >= len(x):
        return jax.vmap(at)(x)
    return jax.lax.map(at, x, batch_size=batch_size)
