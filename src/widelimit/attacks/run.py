"""Running an attack on any differentiable model, in compiled batches."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from widelimit.attacks.arguments import Apply
from widelimit.attacks.base import AbstractAttack
from widelimit.attacks.call import checked_call
from widelimit.attacks.result import AttackResult
from widelimit.attacks.steps import losses_and_gradients
from widelimit.balls import sizes
from widelimit.layers import Params
from widelimit.losses import LOSSES, LossName, margin


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
    loss = loss or ("margin" if tolerance is None else "squared")
    call = checked_call(
        caller,
        method,
        apply,
        params,
        x,
        targets,
        loss=loss,
        tolerance=tolerance,
        key=key,
        batch_size=batch_size,
    )

    def run(method, rows, goals, numbers):
        settings = {"apply": apply, "loss": loss, "tolerance": tolerance}
        return _attack(method, params, rows, goals, numbers, call.key, **settings)

    result = AttackResult(*call.in_blocks(run))
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
        jnp.asarray(found.undefined),
    )
