"""Training many seeds of one network in one compiled program."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped, UInt8

from widelimit._checks import (
    check_count,
    check_finite,
    check_fits_type,
    check_kind,
    check_positive,
)
from widelimit.attacks import AbstractAttack
from widelimit.layers import Params
from widelimit.losses import LossName, loss_function
from widelimit.training.checkpoint import Checkpoint, run_with_checkpoint
from widelimit.training.checks import (
    check_accumulate,
    check_adversary,
    check_data,
    check_kinds,
    check_precision,
    check_probe,
    check_row_by_row,
    check_scaling,
    check_seeds,
    check_stream,
)
from widelimit.training.epoch import Inputs
from widelimit.training.host_rows import jax_dtype, on_device, on_host
from widelimit.training.jacobian_penalty import JacobianPenalty
from widelimit.training.memory import check_training_memory
from widelimit.training.pixel_scaling import PixelScaling
from widelimit.training.plan import Plan
from widelimit.training.program import (
    on_devices,
    on_every_device,
    on_one_device,
    run_in_parts,
    start_seeds,
)
from widelimit.training.progress import listening

Precision = Literal["full", "mixed"]
Apply = Callable[[Params, Float[Array, "n *s"]], Float[Array, "n o"]]
Probe = Callable[[Params, Params], PyTree[Shaped[Array, "..."]]]


class Trained(eqx.Module):
    """What training returns, with one entry per seed.

    Attributes:
        params: The parameters after the last epoch, with a leading axis of seeds; of a
            seed that stopped before, the last ones that count.
        loss: Mean training loss of each epoch, before each step's update; NaN from the
            epoch of divergence on, and where a seed had stopped. With a
            `jacobian_penalty`, without it; with an `adversary`, at attacked inputs.
        penalty: Mean penalty on the Jacobian of each epoch, likewise; zero without one.
        robust_accuracy: Share of the training inputs that the network has right when
            they are attacked, before each epoch; NaN without an `adversary`.
        diverged_at: Epoch, counted from 1, in which the loss or a parameter stopped
            being finite; 0 if none did. Such a seed keeps the last parameters at which
            its loss was finite.
        left_at: Step, counted from 1, that left the lazy ball and was not taken; 0 if
            none did.
        stopped_at: Epochs after which the robust accuracy had not risen for `patience`
            epochs; 0 if it went on.
        probes: What the probe returned, with leading axes of seeds and probe epochs;
            floating values are NaN where the seed had diverged, and those of where it
            stopped after it has. `None` without a probe.
    """

    params: Params
    loss: Float[Array, "k e"]
    penalty: Float[Array, "k e"]
    robust_accuracy: Float[Array, "k e"]
    diverged_at: Int[Array, " k"]
    left_at: Int[Array, " k"]
    stopped_at: Int[Array, " k"]
    probes: PyTree[Shaped[Array, "k p ..."]] | None


def train(
    apply: Apply,
    params: Params,
    x: Float[Array, "n *s"]
    | UInt8[Array, "n h w c"]
    | Float[np.ndarray, "n *s"]
    | UInt8[np.ndarray, "n h w c"],
    targets: Float[Array, "n o"],
    *,
    loss: LossName,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    keys: Key[Array, " k"],
    jacobian_penalty: JacobianPenalty | None = None,
    lazy_radius: float | None = None,
    adversary: AbstractAttack | None = None,
    patience: int | None = None,
    scaling: PixelScaling | None = None,
    augmentation: Callable[[Array, Array], Array] | None = None,
    precision: Precision = "full",
    accumulate: int = 1,
    stream: bool = False,
    probe: Probe | None = None,
    probe_epochs: Sequence[int] = (),
    checkpoint: Checkpoint | None = None,
    report: Callable[[float], None] | None = None,
) -> Trained:
    r"""Train every seed on the same data, each with its own mini-batches.

    One compiled program holds everything: a scan over steps inside a loop over epochs,
    all seeds side by side, mini-batches drawn on the device by a fresh permutation per
    seed and epoch (rows that do not fill a last batch wait for the next epoch). Calls
    with equal `apply`, `optimizer`, `probe` and shapes reuse the program: pass the
    network itself (its bound method `apply` is equal to no other), and
    `network.without_init(shape)` to share the program between initialisations. The
    seeds are divided evenly over as many of JAX's devices as their number allows. The
    same keys on the same machine and devices give the same bits.

    On a CPU, `JAX_NUM_CPU_DEVICES` set to the number of cores before JAX is imported
    makes each core a device; wide networks then train up to twice as fast. Devices that
    seeds leave free divide the rows of every batch of images among them, as many as
    divide `batch_size // accumulate`, if `apply` is a network; the result is the same
    to rounding, but for the random directions of a `jacobian_penalty`. Inputs may lie
    on any device; what is returned lies on the first CPU, or on GPUs where it was
    trained. A probe must not call LAPACK (`jnp.linalg.eigh` and the like) with several
    CPU devices: JAX's routines there can wait for each other for ever.

    Layers that normalise by the batch do so on every batch of a step and keep running
    statistics (in a function of your own that calls the network, these stay as they
    are); probes and attacks see the network as it evaluates, by these.

    Args:
        apply: Outputs for a batch of inputs: a network, or any function.
        params: Initial parameters, every array with a leading axis of seeds.
        x: Inputs, one per row; with `scaling`, images as bytes, without it not in
            bytes' range. All of them are put on the device, or on each that is used,
            unless with `stream`. Numbers narrower than the parameters, such as float16,
            are converted to their type; those that are infinite in JAX's type for them
            are refused.
        targets: Targets, one row per input, converted to the type of the losses: that
            of the inputs, or of bytes' parameters.
        loss: Name of the loss, whose mean over the batch is minimised.
        optimizer: An Optax transformation.
        epochs: Passes through the data.
        batch_size: Rows per step.
        keys: One random key per seed.
        jacobian_penalty: Added to the loss; `apply` must treat every row by itself.
        lazy_radius: Radius $V$ of the ball $B_{2,\infty}(W_0, V)$ (`LazyBall`) in which
            training ends: a seed stops before the step that would leave it.
        adversary: Attack on every training input, made anew before each epoch with the
            network as it then is; the epoch trains on what it returns. This is
            adversarial training; with `lazy_projection` in the optimizer, Algorithm 1
            of wang2022.
        patience: Epochs without a new highest robust accuracy after which a seed stops.
        scaling: Makes numbers of the bytes of every step's images, which take a quarter
            of the memory; the same result as with scaled images, to rounding.
        augmentation: Function of a batch and a random key that changes the inputs of
            every step, such as `CropFlip()`; it is called inside the program.
        precision: `full`, that of the data and the parameters; or `mixed`, which
            computes the network and its gradient in bfloat16, from parameters that are
            kept and moved in float32, with losses and running statistics in float32.
            Probes see the network in float32.
        accumulate: Equal parts in which a step takes its batch, one after the other, if
            the whole does not fit into memory; it must divide `batch_size`. The result
            is the same to rounding, but for layers that normalise by the batch, whose
            statistics are those of the parts (each updates the running ones), and for
            the random directions of a `jacobian_penalty`, which are others.
        stream: Whether `x`, a NumPy array or `np.memmap`, stays on the host. Every step
            then fetches the rows of its batch, and the device holds these alone: for
            data that do not fit, from a file if they do not fit into memory either. The
            same bits as without. It costs a call of Python and two copies of the batch
            per step and seed, during which the device waits. Numbers that are not bytes
            are read once before training, to see that they are finite, and all once
            more with a `checkpoint`. Probes see what they hold; no `adversary`, which
            attacks all rows at once.
        probe: Function of one seed's parameters now and at initialisation, evaluated
            inside the program; make it an `equinox.Module` if it holds arrays.
        probe_epochs: Epochs after which to call the probe; 0 is before training.
        checkpoint: File in which the state is kept as it goes, so that a training that
            was killed goes on with the same call; the same bits come out as without.
        report: Called now and then, from another thread, with the share done.

    Returns:
        Parameters, losses, statuses and probes of all seeds.

    Raises:
        ValueError: If an argument is of the wrong kind, shapes disagree, a number is
            not finite or out of range, a probe epoch lies outside the training, the
            Jacobian of a network with kinks is to be penalised, the checkpoint is
            damaged or belongs to another training, rows to be streamed are on a device,
            to be attacked or cannot be read, or the device has too little memory; then
            with the bytes, and the batch that fits.
    """
    caller = "train"
    check_kinds(
        caller,
        apply,
        optimizer,
        scaling=scaling,
        augmentation=augmentation,
        probe=probe,
        report=report,
    )
    if checkpoint is not None:
        example = 'Checkpoint("training.npz")'
        check_kind(caller, "checkpoint", checkpoint, Checkpoint, example)
    check_stream(caller, stream, x, adversary)
    check_data(caller, x, targets, batch_size, loss, scaling)
    check_count(caller, "epochs", epochs, 0)
    check_accumulate(caller, accumulate, batch_size)
    check_precision(caller, precision, params, x, jacobian_penalty, adversary)
    check_seeds(caller, apply, params, keys, x)
    stops = sorted(set(probe_epochs))
    check_probe(caller, probe, stops, epochs)
    check_row_by_row(caller, jacobian_penalty, apply)
    row_loss = loss_function(loss)
    if lazy_radius is not None:
        check_positive(caller, "lazy_radius", lazy_radius)
        kind = jax.tree.leaves(params)[0].dtype
        check_fits_type(caller, "lazy_radius", lazy_radius, kind)
    check_adversary(caller, adversary, patience, jacobian_penalty, x, targets)
    check_scaling(caller, scaling, adversary)
    dtype = jax_dtype(jax.tree.leaves(params)[0])
    if scaling is None:
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.promote_types(dtype, jax_dtype(x))
    check_finite(caller, "targets", targets, dtype)
    targets = on_device(targets, dtype)
    own_dtype = dtype if scaling is None else jax_dtype(x)
    plan = Plan(
        apply=apply,
        row_loss=row_loss,
        penalty=jacobian_penalty,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        stops=tuple(stops),
        patience=patience,
        scaling=scaling,
        augmentation=augmentation,
        accumulate=accumulate,
        mixed=precision == "mixed",
        dtype=dtype,
    )
    like = jax.ShapeDtypeStruct(x.shape, own_dtype)
    check_training_memory(caller, plan, params, like, targets, adversary, stream=stream)
    if stream:
        kept = on_host(np.asanyarray(x), own_dtype)
    else:
        kept = contextlib.nullcontext(on_device(x, own_dtype))
    with kept as own, listening(report) as listener:
        inputs = Inputs(
            x=own,
            targets=targets,
            # Arrays, as numbers would be part of the program and recompile it.
            adversary=_with_arrays(adversary, dtype),
            lazy_radius=_with_arrays(lazy_radius, dtype),
            probe=probe,
            listener=listener,
        )
        params, keys = on_devices((params, keys), inputs, plan)
        inputs = on_every_device(inputs, params, plan)
        if checkpoint is None:
            # The first state has no name here, or it would be kept to the end.
            ran = run_in_parts(
                start_seeds(params, keys, inputs, plan), params, inputs, plan
            )
        else:
            state = start_seeds(params, keys, inputs, plan)
            ran = run_with_checkpoint(checkpoint, state, params, inputs, plan)
        ran = on_one_device(ran)
        jax.block_until_ready(ran)
    values, squares, robust = jnp.moveaxis(ran.history[:, :epochs], -1, 0)
    return Trained(
        params=ran.seeds.params,
        loss=values,
        penalty=squares,
        robust_accuracy=robust,
        diverged_at=ran.seeds.diverged_at,
        left_at=ran.seeds.left_at,
        stopped_at=ran.seeds.stopped_at,
        probes=ran.probes,
    )


def _with_arrays(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(
        lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array_like(a) else a, tree
    )
