"""The compiled program of `train`: all seeds, epochs and probes, in segments."""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from widelimit.layers import Params
from widelimit.layers.convolution import divided_over_cores
from widelimit.layers.data_parallel import undivided_batches
from widelimit.training.compilation import compiler_options
from widelimit.training.division import SEEDS, mesh
from widelimit.training.epoch import Inputs, Seed, train_epoch
from widelimit.training.host_rows import HostRows
from widelimit.training.plan import Plan
from widelimit.training.progress import notify

T = TypeVar("T")

PART_SECONDS = 1.0
"""Of a part of a training, after which Python is back."""

FIRST_PART = 5e9
"""Products of weights with inputs in the first part: below a second everywhere."""


class State(NamedTuple):
    """All seeds while they train, one entry per seed in every array.

    Attributes:
        seeds: The seeds.
        history: Loss, penalty and robust accuracy of the epochs so far, then NaN.
        probes: What the probe returned so far, then zeros; `None` without a probe.
    """

    seeds: Seed
    history: Float[Array, "k e 3"]
    probes: PyTree[Array] | None


def start_seeds(params: Params, keys: Array, inputs: Inputs, plan: Plan) -> State:
    """The state before the first epoch.

    Args:
        params: Initial parameters, with a leading axis of seeds.
        keys: One random key per seed.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The state, divided over the devices.
    """
    return _start(params, keys, inputs, plan)


def run_seeds(
    state: State, initial: Params, begin: int, end: int, inputs: Inputs, plan: Plan
) -> State:
    """Trains from one epoch to another. All segments share one compiled program.

    Args:
        state: The state after `begin` epochs, here or read from a file.
        initial: Initial parameters, with a leading axis of seeds.
        begin: Epochs done.
        end: Epochs to be done.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The state after `end` epochs, bit for bit the same whichever way they are
        divided into segments.

    Raises:
        ValueError: If rows on the host could not be read.
    """
    options = compiler_options(_images(inputs))
    advance = _compiled(**options)
    state = on_devices(state, inputs, plan)
    with divided_over_cores() if options else contextlib.nullcontext():
        state = advance(state, initial, jnp.int32(begin), jnp.int32(end), inputs, plan)
    if isinstance(inputs.x, HostRows):
        jax.block_until_ready(state)
        inputs.x.check("train")
    return state


def run_in_parts(state: State, initial: Params, inputs: Inputs, plan: Plan) -> State:
    """Trains to the end in parts of about a second, or an epoch where that is longer.

    Python obeys Ctrl-C between two calls of a compiled program, not inside one.

    Args:
        state: The state before the first epoch.
        initial: Initial parameters, with a leading axis of seeds.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The state at the end.

    Raises:
        ValueError: If rows on the host could not be read.
    """
    shape = inputs.x.shape
    products = math.prod(shape[:-1])  # rows, and the positions in each
    products *= sum(leaf.size for leaf in jax.tree.leaves(initial))
    done, count = 0, max(1, int(FIRST_PART / max(products, 1)))
    while True:
        end = min(done + count, plan.epochs)
        started = time.monotonic()
        state = run_seeds(state, initial, done, end, inputs, plan)
        jax.block_until_ready(state)
        took = max(time.monotonic() - started, 1e-9)
        if end == plan.epochs:
            return state
        fits = int((end - done) * PART_SECONDS / took)
        done, count = end, max(1, min(fits, 4 * count))


def on_devices(per_seed: T, inputs: Inputs, plan: Plan) -> T:
    """What each seed has, divided over the devices that train, wherever it is now.

    Args:
        per_seed: Arrays with a leading axis of seeds.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The same, always alike: then one program serves all.
    """
    return jax.device_put(per_seed, _sharding(per_seed, inputs, plan, jax.P(SEEDS)))


def on_every_device(inputs: Inputs, params: Params, plan: Plan) -> Inputs:
    """What the seeds share, whole on every device that trains, wherever it is now.

    Args:
        inputs: It.
        params: Parameters, with a leading axis of seeds.
        plan: What is compiled in.

    Returns:
        The same.
    """
    arrays, static = eqx.partition(inputs, eqx.is_array)
    arrays = jax.device_put(arrays, _sharding(params, inputs, plan, jax.P()))
    return eqx.combine(arrays, static)


def on_one_device(state: State) -> State:
    """A state for whoever works on with it, and with others beside it.

    JAX refuses to compute with arrays on different devices, and how many train depends
    on the plan. On GPUs, whose memories are apart, all stays where it is.

    Args:
        state: The state.

    Returns:
        The same on the first device if that is a CPU.
    """
    if jax.default_backend() != "cpu":
        return state
    return jax.device_put(state, jax.devices()[0])


def _sharding(
    per_seed: Any, inputs: Inputs, plan: Plan, spec: jax.P
) -> jax.NamedSharding:
    seeds = len(jax.tree.leaves(per_seed)[0])
    return jax.NamedSharding(mesh(seeds, _images(inputs), plan), spec)


def _divided(
    f: Callable[..., Any], inputs: Inputs, plan: Plan, whole: Any, *per_seed: Any
) -> Any:
    """`f(whole, *per_seed)` on every device, for its own seeds."""
    arrays, static = eqx.partition(whole, eqx.is_array)
    split = jax.P(SEEDS)
    return jax.shard_map(
        lambda arrays, *own: f(eqx.combine(arrays, static), *own),
        mesh=mesh(len(jax.tree.leaves(per_seed)[0]), _images(inputs), plan),
        in_specs=(jax.P(), *(split for _ in per_seed)),
        out_specs=split,
        # Devices that share a seed compute the same but for the parts of a batch, of
        # which they take means; the check would ask for marks at each of them.
        check_vma=False,
    )(arrays, *per_seed)


@eqx.filter_jit
def _start(params: Params, keys: Array, inputs: Inputs, plan: Plan) -> State:
    def start(probe, params, keys):
        k = len(keys)
        none = jnp.zeros(k, jnp.int32)
        seeds = Seed(
            params=params,
            optimizer=jax.vmap(plan.optimizer.init)(params),
            before=params,
            key=keys,
            diverged_at=none,
            left_at=none,
            stopped_at=none,
            best=jnp.full(k, -1.0, plan.dtype),
            waited=none,
        )
        # One column at least: the loop's body is traced even if it never runs.
        history = jnp.full((k, max(plan.epochs, 1), 3), jnp.nan, plan.dtype)
        probes = None
        if probe is not None:
            found = jax.eval_shape(jax.vmap(probe), params, params)
            probes = jax.tree.map(
                lambda a: jnp.zeros((k, len(plan.stops), *a.shape[1:]), a.dtype), found
            )
        return State(seeds, history, probes)

    return _divided(start, inputs, plan, inputs.probe, params, keys)


@functools.cache
def _compiled(**options: str) -> Callable[..., State]:
    # Equinox hands what it does not know to `jax.jit`, which its overloads leave out.
    jit: Callable[..., Any] = eqx.filter_jit
    return jit(_advance, compiler_options=options)


def _images(inputs: Inputs) -> bool:
    return inputs.x.ndim > 2


def _advance(
    state: State,
    initial: Params,
    begin: Int[Array, ""],
    end: Int[Array, ""],
    inputs: Inputs,
    plan: Plan,
) -> State:
    def advance(whole, state, initial):
        begin, end, inputs = whole
        return _run(state, initial, begin, end, inputs, plan)

    return _divided(advance, inputs, plan, (begin, end, inputs), state, initial)


def _run(
    state: State, initial: Params, begin: Any, end: Any, inputs: Inputs, plan: Plan
) -> State:
    """Epochs and probes in a loop that ends when no seed trains any more."""
    # Convolutions of several seeds side by side are grouped ones, slow on CPUs.
    apart = _images(inputs) and jax.default_backend() == "cpu"
    over_seeds = functools.partial(_over_seeds, len(state.history), apart)
    epoch_of_seed = functools.partial(train_epoch, inputs=inputs, plan=plan)
    # Behind the last stop is one that is never reached.
    stops = jnp.asarray((*plan.stops, np.iinfo(np.int32).max), jnp.int32)
    done = jnp.sum(stops <= begin, dtype=jnp.int32)
    probed = jnp.where(begin > 0, done, 0)  # that of epoch 0 belongs to the first part

    def reached(epoch, state):
        return jnp.where(jnp.any(state.seeds.active), epoch, end)

    def due(carry):
        epoch, probed, state = carry
        if inputs.probe is None:
            return jnp.asarray(False)
        return stops[probed] <= reached(epoch, state)

    def going_on(carry):
        epoch, _, state = carry
        return due(carry) | (reached(epoch, state) < end)

    def advance(carry):
        epoch, probed, state = carry
        one_epoch = over_seeds(lambda seed, start: epoch_of_seed(seed, start, epoch))
        seeds, measured = one_epoch(state.seeds, initial)
        jax.debug.callback(notify, inputs.listener, epoch + 1, plan.epochs)
        history = state.history.at[:, epoch].set(measured)
        return epoch + 1, probed, State(seeds, history, state.probes)

    def look(carry):
        epoch, probed, state = carry
        found = over_seeds(measure)(state.seeds, initial)
        probes = jax.tree.map(
            lambda all_, new: all_.at[:, probed].set(new), state.probes, found
        )
        return epoch, probed + 1, state._replace(probes=probes)

    def measure(seed, start):
        with undivided_batches():  # devices that share a seed see the same
            found = inputs.probe(seed.params, start)
        return jax.tree.map(
            lambda v: (
                jnp.where(seed.diverged_at == 0, v, jnp.nan)
                if jnp.issubdtype(jnp.result_type(v), jnp.inexact)
                else v
            ),
            found,
        )

    def one(carry):
        if inputs.probe is None:
            return advance(carry)
        return jax.lax.cond(due(carry), look, advance, carry)

    _, _, state = jax.lax.while_loop(going_on, one, (begin, probed, state))
    return state


def _over_seeds(k: int, apart: bool, f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` of all seeds; of a single one without `vmap`, which would select and copy."""
    if k > 1 and not apart:
        return jax.vmap(f)
    if k > 1:
        return lambda *seeds: jax.lax.map(lambda one: f(*one), seeds)

    def alone(*seeds):
        found = f(*jax.tree.map(lambda a: a[0], seeds))
        return jax.tree.map(lambda a: a[None], found)

    return alone
