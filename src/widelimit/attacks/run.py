"""Running an attack on any differentiable model, in compiled batches."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from widelimit._checks import (
    check_count,
    check_memory,
    check_one_of,
    check_positive,
    finite_inputs,
)
from widelimit.attacks.base import AbstractAttack, check_radius
from widelimit.attacks.result import AttackResult
from widelimit.attacks.steps import losses_and_gradients
from widelimit.balls import sizes
from widelimit.layers import Params
from widelimit.losses import LOSSES, LossName, margin

Apply = Callable[[Params, Float[Array, "n *s"]], Float[Array, "n o"]]


def attack(
    method: AbstractAttack,
    apply: Apply,
    params: Params,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    loss: LossName | None = None,
    tolerance: float | None = None,
    key: Key[Array, ""] | None = None,
    batch_size: int = 1024,
) -> AttackResult:
    """Attack a model at every input.

    The model is anything differentiable that treats every row by itself: a network, one
    linearised at its start (`training.Linearised`), a kernel predictor
    (`prediction.as_function`), or a function of your own. One compiled program attacks
    whole batches. A row's result depends on the row, its number and the key alone.

    Args:
        method: The attack.
        apply: Outputs for a batch of inputs: a network, or any function. Pass the
            network itself, not a bound method or a new lambda, to compile once.
        params: Parameters of one network, or whatever `apply` takes.
        x: Inputs, one per row, images included.
        targets: +1 or -1 in one column, one-hot rows, or any numbers with `tolerance`.
        loss: What the attack raises: `"margin"` by default, which does not saturate,
            and `"squared"` for regression.
        tolerance: For regression: a prediction is right if it is within this distance
            of its target, in the l2 norm of the outputs.
        key: For random starts; the same key gives the same points.
        batch_size: Inputs to work on at once.

    Returns:
        The points, losses before and after, and whether predictions are right.

    Raises:
        ValueError: If inputs, targets or settings do not fit, an input is outside the
            attack's box, a loss is not finite, or a batch does not fit into memory.

    Example:
        >>> from widelimit.attacks import PGD
        >>> from widelimit.networks import mlp
        >>> network = mlp(depth=1, width=16)
        >>> params = network.init(jax.random.key(0), (3,))
        >>> x = jax.random.normal(jax.random.key(1), (5, 3))
        >>> y = jnp.sign(network(params, x))
        >>> found = attack(PGD(0.5, steps=20), network, params, x, y)
        >>> bool((found.distance <= 0.5).all()), found.accuracy.value
        (True, 1.0)
    """
    caller = "attack"
    method.check(caller)
    dtype = np.result_type(float) if not hasattr(x, "dtype") else np.asarray(x).dtype
    dtype = jax.dtypes.canonicalize_dtype(dtype if dtype.kind == "f" else float)
    rows = finite_inputs(caller, "x", x, str(dtype))
    goals = _targets(caller, targets, len(rows), tolerance).astype(dtype)
    loss = loss or ("margin" if tolerance is None else "squared")
    check_one_of(caller, "loss", loss, tuple(LOSSES))
    check_count(caller, "batch_size", batch_size, 1)
    _check_box(caller, method, rows)
    n, size = len(rows), min(batch_size, len(rows))
    method = _per_row(caller, method, n, dtype)
    outputs = _shapes(caller, apply, params, rows[:size])
    if outputs.shape != (size, goals.shape[1]):
        raise ValueError(
            f"`{caller}` needs as many outputs as targets. Got outputs of shape "
            f"{outputs.shape[1:]} and targets of shape {goals.shape[1:]} per row."
        )
    key = jax.random.key(0) if key is None else key
    parts = []
    for first in range(0, n, size):
        block = np.arange(first, first + size) % n  # the last one wraps round
        found = _attack(
            _of_rows(method, block),
            params,
            jnp.asarray(rows[block]),
            jnp.asarray(goals[block]),
            jnp.asarray(block),
            key,
            apply=apply,
            loss=loss,
            tolerance=tolerance,
        )
        parts.append([np.asarray(array)[: n - first] for array in found])
    result = AttackResult(*map(np.concatenate, zip(*parts, strict=True)))
    bad = np.flatnonzero(~np.isfinite(result.loss_before))
    if len(bad):
        raise ValueError(
            f"`{caller}` needs finite losses at the inputs. Got "
            f"{result.loss_before[bad[0]]} at row {bad[0]} ({len(bad)} such rows). "
            "Look at the model's outputs there."
        )
    return result


def correct(
    outputs: Float[Array, "n o"],
    targets: Float[Array, "n o"],
    tolerance: float | None = None,
) -> Bool[Array, " n"]:
    """Whether outputs are right: by their sign or largest entry, or within a distance.

    Args:
        outputs: Of a model.
        targets: +1 and -1 in one column, one-hot rows, or numbers.
        tolerance: Largest distance of a regression's output from its target.

    Returns:
        It; a tie is wrong.
    """
    if tolerance is None:
        return margin(outputs, targets) < 0
    return sizes(outputs - targets, "l2") <= tolerance


@eqx.filter_jit
def _attack(
    method: AbstractAttack,
    params: Any,
    x: Array,
    targets: Array,
    numbers: Array,
    key: Array,
    *,
    apply: Apply,
    loss: str,
    tolerance: float | None,
) -> tuple[Array, ...]:
    """The fields of an `AttackResult`, of one batch."""

    def value(points):
        return LOSSES[loss](apply(params, points), targets)

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
    before, gradients = losses_and_gradients(value, x)
    found = method.perturb(value, x, keys)
    points = found.points
    return (
        points,
        before,
        value(points),
        correct(apply(params, x), targets, tolerance),
        correct(apply(params, points), targets, tolerance),
        sizes(points - x, method.norm),
        sizes(gradients, "l2") <= math.sqrt(float(jnp.finfo(x.dtype).tiny)),
        found.rising,
    )


def _targets(
    caller: str, targets: Any, rows: int, tolerance: float | None
) -> Float[np.ndarray, "n o"]:
    goals = finite_inputs(caller, "targets", targets, "float64")
    if goals.ndim != 2 or len(goals) != rows:
        raise ValueError(
            f"`{caller}` needs one row of targets for each of the {rows} inputs. Got "
            f"`targets.shape={goals.shape}`. Give a column of +1 and -1, or one-hot "
            "rows."
        )
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
            f"`targets` with other numbers. For regression say by `tolerance` from "
            "where on a prediction is wrong."
        )
    return goals


def _check_box(caller: str, method: AbstractAttack, x: np.ndarray) -> None:
    low = -math.inf if method.low is None else method.low
    high = math.inf if method.high is None else method.high
    out = (x < low) | (x > high)
    if out.any():
        raise ValueError(
            f"`{caller}` needs inputs inside the attack's box from {low} to {high}. "
            f"Got {x[out][0]} ({out.sum()} such entries). Scale the inputs, or choose "
            "`low` and `high`."
        )


def _per_row(
    caller: str, method: AbstractAttack, rows: int, dtype: Any
) -> AbstractAttack:
    """The same attack with arrays for numbers, its radius as one per row."""
    check_radius(caller, method.radius)
    radii = np.asarray(method.radius, dtype)
    if radii.shape not in {(), (rows,)}:
        raise ValueError(
            f"`{caller}` needs one radius, or one for each of the {rows} inputs. Got "
            f"`radius` of shape {radii.shape}."
        )
    method = jax.tree.map(
        lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array_like(a) else a, method
    )
    radii = jnp.broadcast_to(jnp.asarray(radii), (rows,))
    return eqx.tree_at(lambda m: m.radius, method, radii)


def _of_rows(method: AbstractAttack, rows: Int[np.ndarray, " b"]) -> AbstractAttack:
    """The attack on some of the rows, where it has one number for each."""
    return jax.tree.map(lambda a: a[rows] if np.ndim(a) else a, method)


def _shapes(caller: str, apply: Apply, params: Any, x: np.ndarray) -> Any:
    """The shape of the outputs, after a check that a batch fits into memory."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    arrays = jax.tree.map(jnp.asarray, params)
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
    return jax.eval_shape(apply, arrays, shape)
