"""Checks of what functions of finite networks are given."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_one_array, finite_inputs
from widelimit.layers import AbstractLayer, Params, Shape
from widelimit.layers.evaluation import TrainingModeError, evaluating


def check_network(caller: str, network: Any) -> None:
    """Raise unless a network is given by its description."""
    if not isinstance(network, AbstractLayer):
        raise ValueError(
            f"`{caller}` needs the description of a network, such as "
            f"`networks.mlp(depth=2, width=64)`. Got `network={network!r}`."
        )


def check_key(caller: str, key: Any) -> None:
    """Raise unless `key` is one random key, of the new kind or the old."""
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and dtype != "uint32":
        raise ValueError(
            f"`{caller}` needs a random key. Got `key={key!r}`. Make one with "
            "`jax.random.key(0)`."
        )
    if key.ndim != (0 if typed else 1):  # those of the old kind are vectors
        raise ValueError(
            f"`{caller}` needs one random key. Got several, `key.shape={key.shape}`. "
            "Pass one of them; draws get keys of their own from it."
        )


def params_dtype(caller: str, params: Params) -> str:
    """The one type of all parameters.

    Args:
        caller: Function to name.
        params: The parameters.

    Returns:
        `"float32"` or `"float64"`.

    Raises:
        ValueError: If they are of another type, or of several.
    """
    found = sorted({str(getattr(p, "dtype", type(p))) for p in jax.tree.leaves(params)})
    if found not in (["float32"], ["float64"]):
        raise ValueError(
            f"`{caller}` needs parameters that are arrays, all in float32 or all in "
            f"float64. Got {', '.join(found) or 'none'}. Convert them, or close the "
            "function over those that are not trained."
        )
    return found[0]


def check_params(
    caller: str,
    network: AbstractLayer,
    params: Params,
    shape: Shape,
    leading: Shape = (),
) -> None:
    """Raise unless parameters have the structure that `network.init` gives them.

    Args:
        caller: Function to name.
        network: The network.
        params: The parameters.
        shape: Shape of one input.
        leading: Axes that every parameter has in front, such as one of seeds.

    Raises:
        ValueError: If they do not, naming the first that does not fit.
    """
    several = f" for each of {leading[0]} keys" if leading else ""
    cure = (
        f"Make them with `network.init(key, {shape})`{several}, or pass the inputs "
        "that they were made for."
    )
    tree, shapes = _initial(network, shape)
    if jax.tree.structure(params) != tree:
        raise ValueError(
            f"`{caller}` needs the parameters of its network. Got another structure, "
            f"{jax.tree.structure(params)} for {tree}. {cure}"
        )
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, leaf), one in zip(leaves, shapes, strict=True):
        wanted = leading + one
        if leaf.shape != wanted:
            name = f"params{jax.tree_util.keystr(path)}"
            moved = (*shape[1:], *shape[:1])
            if len(shape) > 1 and _fits(network, moved, leading, leaves):
                cure = "Channels come last: take `jnp.moveaxis(x, 1, -1)`."
            raise ValueError(
                f"`{caller}` needs `{name}.shape={wanted}`, as the network has for "
                f"inputs of shape {shape}. Got `{name}.shape={leaf.shape}`. {cure}"
            )


def _fits(network: AbstractLayer, shape: Shape, leading: Shape, leaves: Any) -> bool:
    """Whether parameters are those for inputs of one shape."""
    try:
        _, shapes = _initial(network, shape)
    except ValueError:
        return False
    return [leaf.shape for _, leaf in leaves] == [leading + one for one in shapes]


@functools.lru_cache(maxsize=256)
def _initial(network: AbstractLayer, shape: Shape):
    params = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    return tree, tuple(leaf.shape for leaf in leaves)


def check_function(
    f: Callable,
    params: Params,
    row: jax.ShapeDtypeStruct,
    caller: str = "empirical_ntk",
) -> None:
    """Raise unless a function takes a batch and returns outputs for each of its rows.

    Args:
        f: Function of parameters and a batch.
        params: Its parameters.
        row: Shape and type of a batch of one.
        caller: Function to name.

    Raises:
        TrainingModeError: If it calls a network in training mode.
        ValueError: If it does not.
    """
    batch = jax.ShapeDtypeStruct((2, *row.shape[1:]), row.dtype)
    needs = f"`{caller}` needs a function of parameters and a batch of inputs"
    cure = (
        "Return shape `(n, outputs)` for inputs with n rows; `jax.vmap` makes such a "
        "function of one that takes a single input."
    )
    try:
        with evaluating(caller):
            y = jax.eval_shape(f, params, batch)
    except TrainingModeError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{needs}. Got {f!r}, which fails for inputs of shape {batch.shape}: "
            f"{str(error).rstrip('.')}. {cure}"
        ) from error
    if isinstance(y, tuple):
        check_one_array(caller, y)
    if not isinstance(y, jax.ShapeDtypeStruct):
        raise ValueError(f"{needs}, with one array as its value. Got {y}. {cure}")
    if y.shape[:1] != (2,) or 0 in y.shape:
        raise ValueError(
            f"{needs}, with outputs for each. Got an output of shape {y.shape} for "
            f"inputs of shape {batch.shape}. {cure}"
        )
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(
            f"{needs}, with outputs that are real numbers. Got {y.dtype}. Return what "
            "the classes are chosen by, or one part of a complex number at a time."
        )


def input_pair(
    caller: str, x1: ArrayLike, x2: ArrayLike | None, dtype: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Both inputs as arrays of finite numbers.

    Args:
        caller: Function to name.
        x1: Inputs, one per row.
        x2: The like, or `None`.
        dtype: Their type.

    Returns:
        Both, or the first and `None`.

    Raises:
        ValueError: If they have no rows, other numbers, or shapes that differ.
    """
    a = finite_inputs(caller, "x1", x1, dtype)
    if x2 is None:
        return a, None
    b = finite_inputs(caller, "x2", x2, dtype)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"`{caller}` needs `x1` and `x2` with the same features. Got "
            f"`x1.shape={a.shape}` and `x2.shape={b.shape}`."
        )
    return a, b
