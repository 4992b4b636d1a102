"""Jacobians with respect to the input."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from widelimit._checks import check_callable, check_one_array, check_rows
from widelimit.layers import AbstractLayer
from widelimit.layers.evaluation import evaluating

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
        Both. The function raises a `ValueError` where `f` returns several arrays, or
        calls a network in training mode.

    Raises:
        ValueError: If `f` is no function of one input, or there are no inputs, or not
            in a floating-point type.
    """

    def single(row: Float[Array, "*s"]) -> Array:
        with evaluating(caller):
            value = f(row)
        check_one_array(caller, value)
        return value

    check_callable(caller, "f", f, "lambda row: network(params, row[None])[0]")
    if isinstance(f, AbstractLayer):
        raise ValueError(
            f"`{caller}` needs a function of one input. Got a network, which also "
            "takes parameters and a batch. Write `lambda row: network(params, "
            "row[None])[0]`."
        )
    if not hasattr(x, "dtype"):
        raise ValueError(
            f"`{caller}` needs an array as `x`. Got a `{type(x).__name__}`. Convert it "
            "with `jnp.asarray`."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"`{caller}` needs inputs in a floating-point type, by which to "
            f"differentiate. Got `x.dtype={x.dtype}`. Scale images of bytes first, as "
            "with `PixelScaling`, and measure by the scaled ones."
        )
    if x.ndim < 3:
        check_rows(caller, "x", x)
        return single, x
    if not len(x):
        raise ValueError(
            f"`{caller}` needs at least one input. Got `x.shape={x.shape}`."
        )
    shape = x.shape[1:]
    return lambda row: single(jnp.reshape(row, shape)), jnp.reshape(x, (len(x), -1))


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
            `batch_size * o` passes through `f`; of images, whose outputs follow one
            another, that of `batch_size` passes.

    Returns:
        The Jacobians, outputs flattened to one axis.

    Raises:
        ValueError: If `x` has no rows, or `f` returns several arrays.
    """
    f, flat = flattened("input_jacobian", f, x)
    images = x.ndim > 2
    return over_tiles(lambda rows: jacobians_at_once(f, rows, images), flat, batch_size)


def jacobians_at_once(
    f: Function, x: Float[Array, "n d"], images: bool
) -> Float[Array, "n o d"]:
    """`input_jacobian` of one tile.

    Args:
        f: Function of one vector.
        x: The rows.
        images: Whether a pass is long, so that outputs are to follow one another: the
            rows are linearised once, and pulled back together for every output.

    Returns:
        The Jacobians.
    """

    def vector(row: Float[Array, " d"]) -> Float[Array, " o"]:
        return jnp.reshape(f(row), (-1,))

    shape = jax.eval_shape(vector, x[0])
    if shape.size > x.shape[1]:
        return jax.vmap(jax.jacfwd(vector))(x)
    if not images:
        return jax.vmap(jax.jacrev(vector))(x)
    values, pull = jax.vjp(jax.vmap(vector), x)
    axes = jnp.eye(shape.size, dtype=shape.dtype)
    pulled = jax.lax.map(lambda e: pull(jnp.broadcast_to(e, values.shape))[0], axes)
    return jnp.swapaxes(pulled, 0, 1)


def over_tiles(
    function: Callable[..., PyTree[Array]],
    rows: PyTree[Array],
    batch_size: int | None,
) -> PyTree[Array]:
    """A function of many rows, some at a time.

    Args:
        function: From a tile of the rows to arrays with as many rows.
        rows: Arrays of equal length.
        batch_size: Rows of a tile; all of them if `None`.

    Returns:
        The function's values for all rows.
    """
    n = len(jax.tree.leaves(rows)[0])
    if batch_size is None or batch_size >= n:
        return function(rows)
    whole = n - n % batch_size

    def cut(a: Array) -> Array:
        return jnp.reshape(a[:whole], (-1, batch_size, *a.shape[1:]))

    def join(a: Array) -> Array:
        return jnp.reshape(a, (whole, *a.shape[2:]))

    done = jax.tree.map(join, jax.lax.map(function, jax.tree.map(cut, rows)))
    if whole == n:
        return done
    rest = function(jax.tree.map(lambda a: a[whole:], rows))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), done, rest)
