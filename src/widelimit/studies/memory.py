"""How much memory a study's trials may take."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from widelimit.layers import AbstractLayer
from widelimit.losses import LossName, loss_function
from widelimit.training import PixelScaling
from widelimit.training.memory import check_training_memory, device_memory
from widelimit.training.plan import Plan


def check_device_memory(caller: str, needed: float | int, what: str, cure: str) -> None:
    """Raise, with the cure, if the device has less memory than a trial needs.

    Args:
        caller: Function to name.
        needed: Bytes.
        what: What they are for.
        cure: What to do, as a sentence.

    Raises:
        ValueError: If they do not fit.
    """
    have = device_memory()
    if have is not None and needed > have:
        raise ValueError(
            f"`{caller}` needs about {needed / 2**30:.3g} GiB for {what}. Got "
            f"{have / 2**30:.3g} GiB. {cure}"
        )


def check_trial_memory(
    what: str,
    network: AbstractLayer,
    x: Any,
    targets: Any,
    *,
    loss: LossName,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    seeds: int = 1,
    scaling: PixelScaling | None = None,
    accumulate: int = 1,
    mixed: bool = False,
    held: int = 0,
    smaller: str,
) -> None:
    """Raise, with the cure, if `train` would refuse a trial for want of memory.

    Args:
        what: The trial, to be named.
        network: Its network.
        x: Training inputs.
        targets: Their targets.
        loss: As of `train`, like the others.
        optimizer: An Optax transformation.
        batch_size: Rows per step.
        seeds: Seeds that train in one call.
        scaling: Of inputs that are bytes.
        accumulate: Parts of a batch.
        mixed: Whether it computes in bfloat16.
        held: Numbers that stay on every device besides, such as test inputs.
        smaller: What to do where no batch fits, as a sentence.

    Raises:
        ValueError: If it does not fit.
    """
    dtype, shape = jnp.result_type(float), tuple(x.shape[1:])
    plan = Plan(
        apply=network.without_init(shape),
        row_loss=loss_function(loss),
        penalty=None,
        optimizer=optimizer,
        epochs=1,
        batch_size=batch_size,
        stops=(),
        patience=None,
        scaling=scaling,
        augmentation=None,
        accumulate=accumulate,
        mixed=mixed,
        dtype=dtype,
    )
    draw = jax.vmap(lambda key: network.init(key, shape))
    check_training_memory(
        what,
        plan,
        jax.eval_shape(lambda: draw(jax.random.split(jax.random.key(0), seeds))),
        jax.ShapeDtypeStruct(x.shape, dtype if scaling is None else x.dtype),
        jax.ShapeDtypeStruct(targets.shape, dtype),
        held=held * dtype.itemsize,
        smaller=smaller,
    )
