"""What attacks are called with: inputs, targets, radii, the model."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from widelimit._checks import (
    check_fits_type,
    check_memory,
    check_one_array,
    check_positive,
    finite_inputs,
)
from widelimit.attacks.base import AbstractAttack
from widelimit.kernels.empirical_checks import check_params
from widelimit.layers import AbstractLayer, Params
from widelimit.layers.evaluation import evaluating

Apply = Callable[[Params, Float[Array, "n *s"]], Float[Array, "n o"]]


def rows_of(caller: str, x: ArrayLike) -> Float[np.ndarray, "n *s"]:
    """The inputs in their own floating type, or the default one."""
    given = np.asarray(x).dtype if hasattr(x, "dtype") else np.dtype(float)
    dtype = jax.dtypes.canonicalize_dtype(given if given.kind == "f" else float)
    if dtype.itemsize < 4:  # halves have too few digits for what is inside a ball
        dtype = np.dtype("float32")
    return finite_inputs(caller, "x", x, str(dtype))


def labels_or_numbers(
    caller: str, targets: Any, rows: int, tolerance: float | None
) -> Float[np.ndarray, "n o"]:
    """The targets: labels, or with a `tolerance` any numbers."""
    if np.ndim(targets) != 2 or len(np.asarray(targets)) != rows:
        raise ValueError(
            f"`{caller}` needs one row of targets for each of the {rows} inputs. Got "
            f"`targets.shape={np.shape(targets)}`. Give a column of +1 and -1 (such as "
            "`y[:, None]`), or one-hot rows."
        )
    goals = finite_inputs(caller, "targets", targets, "float64")
    if tolerance is not None:
        check_positive(caller, "tolerance", tolerance)
        return goals
    if goals.shape[1] == 1:
        labels = np.isin(goals, (-1, 1)).all()
    else:
        labels = np.isin(goals, (0, 1)).all() and (goals.sum(axis=1) == 1).all()
    if not labels:
        raise ValueError(
            f"`{caller}` needs labels: +1 and -1 in one column, or one-hot rows. Got "
            "`targets` with other numbers. For regression, `attack` takes a "
            "`tolerance` from where on a prediction is wrong."
        )
    return goals


def check_attack(caller: str, method: Any, x: np.ndarray) -> None:
    """Raise unless this is an attack whose settings suit the inputs.

    Args:
        caller: Function to name.
        method: The attack.
        x: Inputs, one per row.

    Raises:
        ValueError: If it is none, a setting is out of range or of another length than
            the inputs, or an input is outside of its box.
    """
    check_method(caller, method)
    method.check(caller)
    for name, value in vars(method).items():
        if eqx.is_array_like(value):
            check_per_row(caller, name, value, len(x))
        if eqx.is_inexact_array_like(value):
            check_fits_type(caller, name, value, x.dtype)
    check_box(caller, method, x)


def check_method(caller: str, method: Any) -> None:
    """Raise unless this is an attack."""
    if not isinstance(method, AbstractAttack):
        raise ValueError(
            f"`{caller}` needs an attack as its method or `adversary`. Got {method!r}. "
            "Write `attacks.PGD(0.1)`."
        )


def check_per_row(caller: str, name: str, value: Any, rows: int) -> None:
    """Raise unless a setting is one number, or one per input."""
    if np.shape(value) not in {(), (rows,)}:
        raise ValueError(
            f"`{caller}` needs one `{name}`, or one for each of the {rows} "
            f"inputs. Got `{name}` of shape {np.shape(value)}."
        )


def check_model(caller: str, apply: Any, params: Any, x: np.ndarray) -> None:
    """Raise unless a model can be called, and a network's parameters are its own.

    Args:
        caller: Function to name.
        apply: The model.
        params: Its parameters.
        x: Inputs, one per row.

    Raises:
        ValueError: If not.
    """
    if not callable(apply):
        raise ValueError(
            f"`{caller}` needs a model, such as a network. Got `apply={apply!r}`."
        )
    if isinstance(apply, AbstractLayer):
        check_params(caller, apply, params, x.shape[1:])


def check_box(caller: str, method: AbstractAttack, x: np.ndarray) -> None:
    """Raise unless all inputs are inside the attack's box."""
    low = -math.inf if method.low is None else method.low
    high = math.inf if method.high is None else method.high
    out = (x < low) | (x > high)
    if out.any():
        raise ValueError(
            f"`{caller}` needs inputs inside the attack's box from {low} to {high}. "
            f"Got {x[out][0]} ({out.sum()} such entries). Scale the inputs, or choose "
            "`low` and `high`."
        )


def radius_per_row(method: AbstractAttack, rows: int, dtype: Any) -> AbstractAttack:
    """The same attack with arrays for numbers, its radius as one per row."""
    radii = np.asarray(method.radius, dtype)
    method = jax.tree.map(
        lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array_like(a) else a, method
    )
    radii = jnp.broadcast_to(jnp.asarray(radii), (rows,))
    return eqx.tree_at(lambda m: m.radius, method, radii)


def of_rows(method: AbstractAttack, rows: Int[np.ndarray, " b"]) -> AbstractAttack:
    """The attack on some of the rows, where it has one number for each."""
    return jax.tree.map(lambda a: a[rows] if np.ndim(a) else a, method)


def check_outputs(
    caller: str, apply: Apply, params: Any, x: np.ndarray, targets: np.ndarray
) -> None:
    """Raise unless a batch fits into memory, and outputs and targets each other."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    arrays = jax.tree.map(jnp.asarray, params)
    with evaluating(caller):
        traced = jax.make_jaxpr(apply)(arrays, shape)
    needed = 2.0 * sum(
        math.prod(v.aval.shape) * v.aval.dtype.itemsize
        for equation in traced.jaxpr.eqns
        for v in equation.outvars
    )
    check_memory(
        caller,
        needed,
        f"what {len(x)} inputs leave in every layer",
        "Choose a smaller `batch_size`.",
    )
    outputs = jax.eval_shape(apply, arrays, shape)
    check_one_array(caller, outputs)
    if outputs.shape != (len(x), targets.shape[1]):
        raise ValueError(
            f"`{caller}` needs as many outputs as targets. Got outputs of shape "
            f"{outputs.shape[1:]} and targets of shape {targets.shape[1:]} per row. "
            "Outputs are a matrix with one column per column of `targets`."
        )
