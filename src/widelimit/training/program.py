"""The compiled program of `train`: all seeds, epochs and steps."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from widelimit.attacks import AbstractAttack, correct
from widelimit.layers import AbstractLayer, Params, with_statistics
from widelimit.losses import Loss
from widelimit.training.jacobian_penalty import JacobianPenalty
from widelimit.training.lazy_ball import LazyBall
from widelimit.training.progress import notify


class Plan(NamedTuple):
    """What is compiled into the program."""

    apply: Callable[[Params, Array], Array]
    row_loss: Loss
    penalty: JacobianPenalty | None
    optimizer: optax.GradientTransformation
    epochs: int
    batch_size: int
    stops: tuple[int, ...]
    patience: int | None
    augmentation: Callable[[Array, Array], Array] | None

    @property
    def batched(self) -> bool:
        """Whether the network normalises by the batch while it trains."""
        return getattr(self.apply, "batched", False)


class Inputs(NamedTuple):
    """What all seeds share."""

    x: Float[Array, "n *s"]
    targets: Float[Array, "n o"]
    adversary: AbstractAttack | None
    lazy_radius: Float[Array, ""] | None
    probe: Any
    listener: Int[Array, ""]


class Seed(NamedTuple):
    """One seed while it trains.

    Attributes:
        params: Its parameters.
        optimizer: State of the optimizer.
        before: Parameters one epoch ago, at which the loss was finite.
        key: Random key.
        diverged_at: Epoch of divergence, or 0.
        left_at: Step that left the lazy ball, or 0.
        stopped_at: Epochs after which its robust accuracy had stopped rising, or 0.
        best: Highest robust accuracy so far.
        waited: Epochs since.
    """

    params: Params
    optimizer: Any
    before: Params
    key: Key[Array, ""]
    diverged_at: Int[Array, ""]
    left_at: Int[Array, ""]
    stopped_at: Int[Array, ""]
    best: Float[Array, ""]
    waited: Int[Array, ""]

    @property
    def active(self) -> Bool[Array, "*k"]:
        """Whether it still trains."""
        return (self.diverged_at == 0) & (self.left_at == 0) & (self.stopped_at == 0)


class Ran(NamedTuple):
    """Seeds after training, what each epoch measured, and what the probe returned."""

    seeds: Seed
    history: Float[Array, "k e 3"]
    probes: PyTree[Array]


@eqx.filter_jit
def run_seeds(params: Params, keys: Array, inputs: Inputs, plan: Plan) -> Ran:
    """Splits the seeds over devices; each runs the whole program for its own.

    Args:
        params: Initial parameters, with a leading axis of seeds.
        keys: One random key per seed.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        What came of them.
    """
    devices, seeds = jax.devices(), len(keys)
    count = max(k for k in range(1, len(devices) + 1) if seeds % k == 0)
    mesh = jax.sharding.Mesh(np.array(devices[:count]), ("seeds",))
    split, whole = jax.P("seeds"), jax.P()
    arrays, static = eqx.partition(inputs, eqx.is_array)

    def on_one_device(params, keys, arrays):
        return _run(params, keys, eqx.combine(arrays, static), plan)

    # Nothing is exchanged between devices, so there is nothing for shard_map to check.
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(split, split, whole),
        out_specs=split,
        check_vma=False,
    )(params, keys, arrays)


def _run(initial: Params, keys: Array, inputs: Inputs, plan: Plan) -> Ran:
    """Epochs in loops that end when no seed trains any more; probes in between."""
    k, dtype = len(keys), inputs.x.dtype
    none = jnp.zeros(k, jnp.int32)
    seeds = Seed(
        params=initial,
        optimizer=jax.vmap(plan.optimizer.init)(initial),
        before=initial,
        key=keys,
        diverged_at=none,
        left_at=none,
        stopped_at=none,
        best=jnp.full(k, -1.0, dtype),
        waited=none,
    )
    # One column at least: the loop's body is traced even if it never runs.
    history = jnp.full((k, max(plan.epochs, 1), 3), jnp.nan, dtype)
    one_epoch = _over_seeds(k, functools.partial(_epoch, inputs=inputs, plan=plan))

    def going_on(state, end):
        epoch, seeds, _ = state
        return (epoch < end) & jnp.any(seeds.active)

    def advance(state):
        epoch, seeds, history = state
        seeds, measured = one_epoch(seeds, initial, epoch)
        jax.debug.callback(notify, inputs.listener, epoch + 1, plan.epochs)
        return epoch + 1, seeds, history.at[:, epoch].set(measured)

    def until(end, state):
        return jax.lax.while_loop(lambda s: going_on(s, end), advance, state)

    def measure(seed, start):
        return jax.tree.map(
            lambda v: (
                jnp.where(seed.diverged_at == 0, v, jnp.nan)
                if jnp.issubdtype(jnp.result_type(v), jnp.inexact)
                else v
            ),
            inputs.probe(seed.params, start),
        )

    def one_segment(state, end):
        state = until(end, state)
        return state, jax.vmap(measure)(state[1], initial)

    state, probes = (jnp.zeros((), jnp.int32), seeds, history), None
    if inputs.probe is not None:
        ends = jnp.asarray(plan.stops, jnp.int32)
        state, probes = jax.lax.scan(one_segment, state, ends)
        probes = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), probes)
    if inputs.probe is None or plan.stops[-1] < plan.epochs:
        state = until(plan.epochs, state)
    _, seeds, history = state
    return Ran(seeds, history[:, : plan.epochs], probes)


def _over_seeds(k: int, f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` of all seeds; of a single one without `vmap`, which would select and copy."""
    if k > 1:
        return jax.vmap(f, (0, 0, None))

    def alone(seed, start, epoch):
        found = f(*jax.tree.map(lambda a: a[0], (seed, start)), epoch)
        return jax.tree.map(lambda a: a[None], found)

    return alone


def _epoch(
    seed: Seed, start: Params, epoch: Array, *, inputs: Inputs, plan: Plan
) -> tuple[Seed, Float[Array, "3"]]:
    """One pass of one seed through the data; a seed that has stopped stays."""
    drawn = jax.random.fold_in(seed.key, epoch)
    order = jax.random.permutation(drawn, len(inputs.x))
    steps = len(inputs.x) // plan.batch_size
    batches = order[: steps * plan.batch_size].reshape(steps, plan.batch_size)
    keys = jax.random.split(jax.random.fold_in(drawn, 1), steps)
    x, robust = inputs.x, jnp.asarray(jnp.nan, inputs.x.dtype)
    new, active = seed, seed.active
    if inputs.adversary is not None:
        x, robust = _adversarial(seed.params, drawn, inputs, plan)
        if plan.patience is not None:
            new = _patience(seed, robust, epoch, plan.patience)
    trains = new.active

    def going_on(state):
        i, _, left_at, _, _ = state
        if inputs.lazy_radius is None:  # the same for all seeds, hence cheaper
            return i < steps
        return (i < steps) & (left_at == 0) & trains

    def step(state):
        i, (params, own), left_at, sums, first = state
        rows = x[batches[i]]
        if plan.augmentation is not None:
            rows = plan.augmentation(rows, jax.random.fold_in(keys[i], 1))
        batch = (rows, inputs.targets[batches[i]], keys[i])
        gradient, (parts, seen) = jax.grad(_loss, has_aux=True)(params, *batch, plan)
        with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
            updates, own_new = plan.optimizer.update(gradient, own, params)
        moved = optax.apply_updates(params, updates), own_new
        if plan.batched:
            moved = with_statistics(moved[0], seen), own_new
        if inputs.lazy_radius is not None:
            out = LazyBall(start, inputs.lazy_radius).leaves(moved[0])
            moved = _where(out, (params, own), moved)
            left_at = jnp.where(out, epoch * steps + i + 1, left_at)
        first = jnp.where(i == 0, parts[0], first)
        return i + 1, moved, left_at, sums + parts, first

    zero = jnp.zeros((), jnp.int32)
    state = (
        zero,
        (seed.params, seed.optimizer),
        zero,
        jnp.zeros(2, x.dtype),
        jnp.zeros((), x.dtype),
    )
    ran, (params, own), left_at, sums, first = jax.lax.while_loop(going_on, step, state)
    parts = sums / jnp.asarray(ran, x.dtype)
    finite = jnp.all(jnp.isfinite(parts)) & _all_finite(params)
    alive, broke = trains & finite, trains & ~finite
    # Where the loss had overflown before the first step, the parameters are lost.
    last_good = _where(jnp.isfinite(first), seed.params, seed.before)
    new = new._replace(
        params=_where(alive, params, _where(broke, last_good, seed.params)),
        optimizer=_where(alive, own, seed.optimizer),
        before=_where(alive, seed.params, seed.before),
        diverged_at=jnp.where(broke, epoch + 1, seed.diverged_at),
        left_at=jnp.where(alive, left_at, seed.left_at),
    )
    measured = jnp.where(alive, parts, jnp.nan)
    robust = jnp.where(active & ~broke, robust, jnp.nan)
    return new, jnp.concatenate([measured, robust[None]])


def _loss(
    params: Params, x: Array, targets: Array, key: Array, plan: Plan
) -> tuple[Float[Array, ""], tuple[Float[Array, "2"], Params]]:
    """The objective of one batch, its two parts, and parameters that have seen it."""
    squares, seen = None, params
    if isinstance(plan.apply, AbstractLayer) and plan.batched:
        outputs, seen = plan.apply.apply_training(params, x)
    elif plan.penalty is None:
        outputs = plan.apply(params, x)
    else:
        outputs, squares = plan.penalty.outputs_and_squares(plan.apply, params, x, key)
    if outputs.shape[1:] != targets.shape[1:]:
        raise ValueError(
            "`train` needs as many outputs as targets. Got outputs of shape "
            f"`{outputs.shape[1:]}` and targets of shape `{targets.shape[1:]}` per "
            "row. Give the network as many outputs as `targets` has columns."
        )
    value = jnp.mean(plan.row_loss(outputs, targets))
    if plan.penalty is None or squares is None:
        return value, (jnp.stack([value, jnp.zeros_like(value)]), seen)
    extra = 0.5 * plan.penalty.regularization * jnp.mean(squares)
    return value + extra, (jnp.stack([value, extra]), seen)


def _adversarial(
    params: Params, drawn: Array, inputs: Inputs, plan: Plan
) -> tuple[Float[Array, "n *s"], Float[Array, ""]]:
    """Attacked inputs, and the share of them that the network has right."""

    def value(points):
        return plan.row_loss(plan.apply(params, points), inputs.targets)

    assert inputs.adversary is not None
    keys = jax.random.split(jax.random.fold_in(drawn, 2), len(inputs.x))
    points = inputs.adversary.perturb(value, inputs.x, keys).points
    right = correct(plan.apply(params, points), inputs.targets)
    return points, jnp.mean(right.astype(inputs.x.dtype))


def _patience(seed: Seed, robust: Array, epoch: Array, patience: int) -> Seed:
    """Stops a seed whose robust accuracy has not risen for that many epochs."""
    rose = robust > seed.best
    waited = jnp.where(rose, 0, seed.waited + 1)
    stop = seed.active & (waited >= patience)
    return seed._replace(
        best=jnp.maximum(seed.best, robust),
        waited=waited,
        stopped_at=jnp.where(stop, epoch, seed.stopped_at),
    )


def _where(condition: Any, one: PyTree[Array], two: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, two)


def _all_finite(tree: PyTree[Array]) -> Any:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))
