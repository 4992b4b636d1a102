"""Training many seeds of one network in one compiled program."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

from widelimit._checks import check_at_least, check_finite, check_rows
from widelimit.layers import Params
from widelimit.losses import Loss, LossName, loss_function
from widelimit.training.jacobian_penalty import JacobianPenalty, check_penalty

Apply = Callable[[Params, Float[Array, "n d"]], Float[Array, "n o"]]
Probe = Callable[[Params, Params], PyTree[Shaped[Array, "..."]]]


class Trained(eqx.Module):
    """What training returns, with one entry per seed.

    Attributes:
        params: The parameters after the last epoch (or the last finite one), with a
            leading axis of seeds.
        loss: Mean training loss of each epoch, before each step's update; NaN from the
            epoch of divergence on. With a `jacobian_penalty`, without it.
        penalty: Mean penalty on the Jacobian of each epoch, likewise; zero without one.
        diverged_at: Epoch, counted from 1, in which the loss or a parameter stopped
            being finite; 0 if none did. Such a seed keeps its last finite parameters,
            at which the loss may already be huge or infinite: it counts as lost.
        probes: What the probe returned, with leading axes of seeds and probe epochs;
            floating values are NaN where the seed had diverged. `None` without a probe.
    """

    params: Params
    loss: Float[Array, "k e"]
    penalty: Float[Array, "k e"]
    diverged_at: Int[Array, " k"]
    probes: PyTree[Shaped[Array, "k p ..."]] | None


def train(
    apply: Apply,
    params: Params,
    x: Float[Array, "n d"],
    targets: Float[Array, "n o"],
    *,
    loss: LossName,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    keys: Key[Array, " k"],
    jacobian_penalty: JacobianPenalty | None = None,
    probe: Probe | None = None,
    probe_epochs: Sequence[int] = (),
    report: Callable[[float], None] | None = None,
) -> Trained:
    """Train every seed on the same data, each with its own mini-batches.

    One compiled program holds everything: a scan over steps inside a loop over epochs,
    all seeds side by side, mini-batches drawn on the device by a fresh permutation per
    seed and epoch (rows that do not fill a last batch wait for the next epoch). Calls
    with equal `apply`, `optimizer`, `probe` and shapes reuse the program: pass the
    network itself (its bound method `apply` is equal to no other), and
    `network.without_init(shape)` to share the program between initialisations. The
    seeds are divided evenly over as many of JAX's devices as their number allows. The
    same keys on the same machine and devices give the same bits.

    On a CPU, `JAX_NUM_CPU_DEVICES` set to the number of cores before JAX is imported
    makes each core a device; wide networks then train up to twice as fast. A probe must
    not call LAPACK (`jnp.linalg.eigh` and the like) with several CPU devices: JAX's
    routines there can wait for each other for ever.

    Args:
        apply: Outputs for a batch of inputs: a network, or any function.
        params: Initial parameters, every array with a leading axis of seeds.
        x: Inputs, one per row.
        targets: Targets, one row per input.
        loss: Name of the loss, whose mean over the batch is minimised.
        optimizer: An Optax transformation.
        epochs: Passes through the data.
        batch_size: Rows per step.
        keys: One random key per seed.
        jacobian_penalty: Added to the loss; `apply` must treat every row by itself.
        probe: Function of one seed's parameters now and at initialisation, evaluated
            inside the program; make it an `equinox.Module` if it holds arrays.
        probe_epochs: Epochs after which to call the probe; 0 is before training.
        report: Called now and then, from another thread, with the share done.

    Returns:
        Parameters, losses, statuses and probes of all seeds.

    Raises:
        ValueError: If shapes disagree, a number is not finite or out of range, a probe
            epoch lies outside the training, or the Jacobian of a network with kinks is
            to be penalised.
    """
    caller = "train"
    check_rows(caller, "x", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"`{caller}` needs `x` in a floating-point type, in which losses are kept. "
            f"Got `x.dtype={x.dtype}`. Convert it with `x.astype(float)`."
        )
    check_at_least(caller, "epochs", epochs, 0)
    check_at_least(caller, "batch_size", batch_size, 1)
    check_finite(caller, "x", x)
    check_finite(caller, "targets", targets)
    if len(targets) != len(x) or batch_size > len(x):
        raise ValueError(
            "`train` needs one target per row of `x` and a batch that fits. Got "
            f"`x.shape={x.shape}`, `targets.shape={targets.shape}`, "
            f"`batch_size={batch_size}`."
        )
    seeds = {len(leaf) for leaf in jax.tree.leaves(params)}
    if seeds != {len(keys)}:
        raise ValueError(
            "`train` needs a leading axis of seeds on every parameter, as long as "
            f"`keys`. Got lengths {sorted(seeds)} and {len(keys)} keys. Initialise "
            "with `jax.vmap(lambda k: network.init(k, shape))(keys)`."
        )
    stops = sorted(set(probe_epochs))
    if stops and not (0 <= stops[0] and stops[-1] <= epochs):
        raise ValueError(
            f"`train` needs `probe_epochs` from 0 to `epochs={epochs}`. Got {stops}."
        )
    if probe is not None and not stops:
        raise ValueError(
            "`train` needs `probe_epochs` when it is given a probe. Got none. Pass "
            f"`probe_epochs=(0, {epochs})` to probe before and after training."
        )
    if jacobian_penalty is not None:
        check_penalty(caller, jacobian_penalty, apply)
    with _listening(report) as listener:
        trained = _train(
            (params, keys),
            (jnp.asarray(x), jnp.asarray(targets), probe, listener),
            apply=apply,
            row_loss=loss_function(loss),
            penalty=jacobian_penalty,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            stops=tuple(stops),
        )
        jax.block_until_ready(trained)
    return trained


@eqx.filter_jit
def _train(per_seed: Any, shared: Any, **plan: Any) -> Trained:
    """Splits the seeds over devices; each runs the whole program for its own."""
    devices, seeds = jax.devices(), len(per_seed[1])
    count = max(k for k in range(1, len(devices) + 1) if seeds % k == 0)
    mesh = jax.sharding.Mesh(np.array(devices[:count]), ("seeds",))
    split, whole = jax.P("seeds"), jax.P()
    arrays, static = eqx.partition(shared, eqx.is_array)

    def on_one_device(per_seed, arrays):
        return _train_seeds(*per_seed, *eqx.combine(arrays, static), **plan)

    # Nothing is exchanged between devices, so there is nothing for shard_map to check.
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(split, whole),
        out_specs=split,
        check_vma=False,
    )(per_seed, arrays)


def _train_seeds(
    params: Params,
    keys: Array,
    x: Array,
    targets: Array,
    probe: Probe | None,
    listener: Array,
    *,
    apply: Apply,
    row_loss: Loss,
    penalty: JacobianPenalty | None,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    stops: tuple[int, ...],
) -> Trained:
    initial = params
    steps = len(x) // batch_size

    def batch_loss(p, rows, key):
        if penalty is None:
            outputs, squares = apply(p, x[rows]), None
        else:
            outputs, squares = penalty.outputs_and_squares(apply, p, x[rows], key)
        if outputs.shape[1:] != targets.shape[1:]:
            raise ValueError(
                "`train` needs as many outputs as targets. Got outputs of shape "
                f"`{outputs.shape[1:]}` and targets of shape `{targets.shape[1:]}` per "
                "row. Give the network as many outputs as `targets` has columns."
            )
        value = jnp.mean(row_loss(outputs, targets[rows]))
        if penalty is None or squares is None:
            return value, jnp.stack([value, jnp.zeros_like(value)])
        extra = 0.5 * penalty.regularization * jnp.mean(squares)
        return value + extra, jnp.stack([value, extra])

    def step(state, batch):
        p, optimizer_state = state
        gradient, parts = jax.grad(batch_loss, has_aux=True)(p, *batch)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, p)
        return (optax.apply_updates(p, updates), optimizer_state), parts

    def one_seed(seed, epoch):
        state, diverged_at, key = seed
        drawn = jax.random.fold_in(key, epoch)
        order = jax.random.permutation(drawn, len(x))
        batches = order[: steps * batch_size].reshape(steps, batch_size)
        new, parts = jax.lax.scan(
            step,
            state,
            (batches, jax.random.split(jax.random.fold_in(drawn, 1), steps)),
        )
        value = jnp.mean(parts, axis=0)
        finite = jnp.all(jnp.isfinite(value)) & _all_finite(new[0])
        alive = (diverged_at == 0) & finite
        diverged_at = jnp.where((diverged_at == 0) & ~finite, epoch + 1, diverged_at)
        state = jax.tree.map(lambda a, b: jnp.where(alive, a, b), new, state)
        return (state, diverged_at, key), jnp.where(alive, value, jnp.nan)

    def one_epoch(epoch, carry):
        seeds, history = carry
        seeds, value = jax.vmap(one_seed, (0, None))(seeds, epoch)
        jax.debug.callback(_notify, listener, epoch + 1, epochs)
        return seeds, history.at[:, epoch].set(value)

    states = (params, jax.vmap(optimizer.init)(params))
    never = jnp.zeros(len(keys), dtype=jnp.int32)
    # One column at least: the loop's body is traced even if it never runs.
    history = jnp.full((len(keys), max(epochs, 1), 2), jnp.nan, dtype=x.dtype)
    carry, probes, last = ((states, never, keys), history), None, 0
    if probe is not None:

        def measure(seed, start):
            (p, _), diverged_at, _ = seed
            return jax.tree.map(
                lambda v: (
                    jnp.where(diverged_at == 0, v, jnp.nan)
                    if jnp.issubdtype(jnp.result_type(v), jnp.inexact)
                    else v
                ),
                probe(p, start),
            )

        def one_segment(carry, segment):
            carry = jax.lax.fori_loop(segment[0], segment[1], one_epoch, carry)
            return carry, jax.vmap(measure)(carry[0], initial)

        segments = np.array([(0, *stops[:-1]), stops], dtype=np.int32).T
        carry, probes = jax.lax.scan(one_segment, carry, segments)
        probes = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), probes)
        last = stops[-1]
    if last < epochs:
        carry = jax.lax.fori_loop(last, epochs, one_epoch, carry)
    ((params, _), diverged_at, _), history = carry
    loss, squares = jnp.moveaxis(history[:, :epochs], -1, 0)
    return Trained(params, loss, squares, diverged_at, probes)


_listeners: dict[int, Callable[[float], None]] = {}
_tokens = itertools.count(1)


@contextlib.contextmanager
def _listening(report: Callable[[float], None] | None) -> Iterator[Any]:
    """Registers `report` under a number that the compiled program can carry."""
    token, lock, best = next(_tokens), threading.Lock(), 0.0

    def only_rising(share: float) -> None:  # every device reports its own epochs
        nonlocal best
        with lock:
            if report is not None and share > best:
                best = share
                report(share)

    _listeners[token] = only_rising
    try:
        # An array: a Python int would be part of the program and recompile it.
        yield jnp.int32(token)
        jax.effects_barrier()
    finally:
        _listeners.pop(token, None)


def _notify(listener: Any, epoch: Any, epochs: Any) -> None:
    _listeners[int(listener)](int(epoch) / int(epochs))


def _all_finite(tree: PyTree[Array]) -> Any:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))
