"""The objective of one batch and its gradient, whole or in parts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_one_array
from widelimit.layers import AbstractLayer, Params, is_statistic, with_statistics
from widelimit.layers.data_parallel import BATCH_AXIS, batch_devices
from widelimit.training.division import mean_of_parts, own_part
from widelimit.training.plan import Plan


def batch_gradient(
    params: Params,
    x: Float[Array, "n *s"],
    targets: Float[Array, "n o"],
    key: Key[Array, ""],
    plan: Plan,
) -> tuple[Params, Float[Array, "2"], Params]:
    """Gradient of the mean objective of a batch.

    Where the rows are divided over devices, each takes its own part of them, and what
    they find is averaged. With `plan.accumulate` the batch is taken in equal parts, one
    after the other, of which only one is in memory; what they give is averaged. Running
    statistics see every part in turn.

    Args:
        params: Parameters.
        x: Inputs, one per row.
        targets: Targets, one row per input.
        key: Random key of the penalty; parts fold their number in.
        plan: What is compiled in.

    Returns:
        The gradient, loss and penalty, and parameters whose statistics have seen it.
    """
    gradient = jax.grad(objective, has_aux=True)
    k = plan.accumulate
    if batch_devices() > 1:  # only random directions of a penalty are drawn by it
        key = jax.random.fold_in(key, jax.lax.axis_index(BATCH_AXIS))
    if k == 1:
        x, targets = own_part(x), own_part(targets)
        found, (parts, seen) = gradient(params, x, targets, key, plan)
        return *mean_of_parts((found, parts)), seen

    def one(carry, part):
        seen, sums = carry
        i, rows, wanted = part
        at = with_statistics(params, seen)
        own = jax.random.fold_in(key, i)
        found, (parts, seen) = gradient(at, rows, wanted, own, plan)
        return (seen, jax.tree.map(jnp.add, sums, (found, parts))), None

    x, targets = (
        own_part(a.reshape(k, len(a) // k, *a.shape[1:]), axis=1) for a in (x, targets)
    )
    zeros = jax.tree.map(jnp.zeros_like, params), jnp.zeros(2, plan.dtype)
    (seen, sums), _ = jax.lax.scan(one, (params, zeros), (jnp.arange(k), x, targets))
    found, parts = mean_of_parts(jax.tree.map(lambda a: a / k, sums))
    return found, parts, seen


def objective(
    params: Params, x: Array, targets: Array, key: Array, plan: Plan
) -> tuple[Float[Array, ""], tuple[Float[Array, "2"], Params]]:
    """The objective of one batch, its two parts, and parameters that have seen it."""
    given = params
    if plan.mixed:
        params, x = _narrow(params), _narrow(x)
    squares, seen = None, params
    if isinstance(plan.apply, AbstractLayer) and plan.batched:
        outputs, seen = plan.apply.apply_training(params, x)
    elif plan.penalty is None:
        outputs = plan.apply(params, x)
        check_one_array("train", outputs)
    else:
        outputs, squares = plan.penalty.outputs_and_squares(plan.apply, params, x, key)
    if outputs.shape[1:] != targets.shape[1:]:
        raise ValueError(
            "`train` needs as many outputs as targets. Got outputs of shape "
            f"`{outputs.shape[1:]}` and targets of shape `{targets.shape[1:]}` per "
            "row. Give the network as many outputs as `targets` has columns."
        )
    seen = with_statistics(given, seen)
    value = jnp.mean(plan.row_loss(outputs.astype(plan.dtype), targets))
    if plan.penalty is None or squares is None:
        return value, (jnp.stack([value, jnp.zeros_like(value)]), seen)
    extra = 0.5 * plan.penalty.regularization * jnp.mean(squares)
    return value + extra, (jnp.stack([value, extra]), seen)


def _narrow(tree: Params) -> Params:
    """In bfloat16, but for statistics, which keep their digits."""
    return jax.tree_util.tree_map_with_path(
        lambda path, a: (
            a.astype(jnp.bfloat16)
            if jnp.issubdtype(a.dtype, jnp.floating) and not is_statistic(path)
            else a
        ),
        tree,
    )
