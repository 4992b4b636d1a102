"""One epoch of one seed, as `train` compiles it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt8

from widelimit.attacks import AbstractAttack, correct
from widelimit.layers import Params, with_statistics
from widelimit.training.division import mean_of_parts, of_all_parts
from widelimit.training.host_rows import HostRows
from widelimit.training.lazy_ball import LazyBall
from widelimit.training.objective import batch_gradient
from widelimit.training.plan import Plan


class Inputs(NamedTuple):
    """What all seeds share."""

    x: Float[Array, "n *s"] | UInt8[Array, "n h w c"] | HostRows
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


def train_epoch(
    seed: Seed, start: Params, epoch: Array, *, inputs: Inputs, plan: Plan
) -> tuple[Seed, Float[Array, "3"]]:
    """One pass of one seed through the data; a seed that has stopped stays.

    Args:
        seed: The seed before.
        start: Its parameters at initialisation.
        epoch: Epochs done.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The seed after, and loss, penalty and robust accuracy of the epoch.
    """
    drawn = jax.random.fold_in(seed.key, epoch)
    order = jax.random.permutation(drawn, len(inputs.x))
    steps = len(inputs.x) // plan.batch_size
    batches = order[: steps * plan.batch_size].reshape(steps, plan.batch_size)
    keys = jax.random.split(jax.random.fold_in(drawn, 1), steps)
    x, robust = inputs.x, jnp.asarray(jnp.nan, plan.dtype)
    new, active = seed, seed.active
    if inputs.adversary is not None:
        x, robust = _adversarial(seed.params, drawn, inputs, plan)
        if plan.patience is not None:
            new = _patience(seed, robust, epoch, plan.patience)
    trains = new.active

    def going_on(state):
        i, _, left_at, _, _, _ = state
        if inputs.lazy_radius is None:  # the same for all seeds, hence cheaper
            return i < steps
        return (i < steps) & (left_at == 0) & trains

    def step(state):
        i, (params, own), left_at, sums, first, whole = state
        if isinstance(x, HostRows):
            rows, read = x.fetch(batches[i])
        else:
            rows, read = x[batches[i]], jnp.asarray(True)
        if plan.scaling is not None:
            rows = plan.scaling(rows, plan.dtype)
        if plan.augmentation is not None:
            rows = plan.augmentation(rows, jax.random.fold_in(keys[i], 1))
        batch = (rows, inputs.targets[batches[i]], keys[i])
        gradient, parts, seen = batch_gradient(params, *batch, plan)
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
        # What could be read is kept apart: in the sums it would change their rounding.
        return i + 1, moved, left_at, sums + parts, first, whole & read

    zero = jnp.zeros((), jnp.int32)
    state = (
        zero,
        (seed.params, seed.optimizer),
        zero,
        jnp.zeros(2, plan.dtype),
        jnp.zeros((), plan.dtype),
        jnp.asarray(True),
    )
    ran, (params, own), left_at, sums, first, whole = jax.lax.while_loop(
        going_on, step, state
    )
    if isinstance(x, HostRows):  # every device reads, and all must go on or none
        whole = mean_of_parts(whole.astype(plan.dtype)) == 1
    parts = sums / jnp.asarray(ran, plan.dtype)
    # Rows that could not be read end the training like a loss that is not finite.
    finite = jnp.all(jnp.isfinite(parts)) & _all_finite(params) & whole
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


def _adversarial(
    params: Params, drawn: Array, inputs: Inputs, plan: Plan
) -> tuple[Float[Array, "n *s"], Float[Array, ""]]:
    """Attacked inputs, and the share of them that the network has right."""
    adversary = inputs.adversary
    assert adversary is not None and not isinstance(inputs.x, HostRows)

    def attacked(x, targets, keys):
        def value(points):
            return plan.row_loss(plan.apply(params, points), targets)

        points = adversary.perturb(value, x, keys).points
        return points, correct(plan.apply(params, points), targets)

    keys = jax.random.split(jax.random.fold_in(drawn, 2), len(inputs.x))
    points, right = of_all_parts(attacked, inputs.x, inputs.targets, keys)
    return points, jnp.mean(right.astype(plan.dtype))


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
