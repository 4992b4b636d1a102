r"""The compiled part of `gradient_descent`: some steps, with what is to be recorded.

Eigenvalues are not taken here: LAPACK inside a compiled program can wait for itself for
ever when a CPU has several devices. The Gram matrices go to the host instead.
"""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from widelimit.kernels.structured import factor_products, network_factors
from widelimit.layers import AbstractLayer, Params

CHUNK = 64  # most steps between two reports
CHUNK_BYTES = 2**26  # of Gram matrices that are on their way to the host


class State(eqx.Module):
    """Where the descent of one seed stands.

    Attributes:
        params: The last finite parameters.
        gradient: The gradient of the loss there; zero before the first step, which
            therefore leads to the start itself.
        diverged_at: Step that was not finite, 0 so far; -1 for the start itself.
    """

    params: Params
    gradient: Params
    diverged_at: Int[Array, "*k"]

    @classmethod
    def start(cls, params: Params, seeds: int) -> "State":
        """Before the first step, with a leading axis of seeds on every array."""
        zeros = jax.tree.map(jnp.zeros_like, params)
        return cls(params, zeros, jnp.zeros(seeds, dtype=jnp.int32))


Recorded = dict[str, Array]
"""What is seen at one step, NaN where a seed has diverged: `outputs` $u(k)$, the Gram
matrices `last_gram` $G^{(H)}(k)$ and `gram`, the sum over layers, and the `movement`
$\\|W^{(h)}(k) - W^{(h)}(0)\\|_F / \\sqrt m$ of every layer."""


@eqx.filter_jit
def run_steps(
    network: AbstractLayer,
    states: State,
    initial: Params,
    x: Float[Array, "n *s"],
    y: Float[Array, " n"],
    step_sizes: Float[Array, " t"],
    first: Int[Array, ""],
) -> tuple[State, Recorded]:
    """Some steps of every seed, the seeds divided over as many devices as go into them.

    Args:
        network: The network.
        states: All seeds, with a leading axis.
        initial: Their initial parameters.
        x: Inputs, one per row.
        y: Targets.
        step_sizes: Size of each step; 0 stays where it is.
        first: Number of the first of these steps.

    Returns:
        The states after the last step, and what was recorded, axes `k t` in front.
    """
    devices, seeds = jax.devices(), len(states.diverged_at)
    count = max(k for k in range(1, len(devices) + 1) if seeds % k == 0)
    mesh = jax.sharding.Mesh(np.array(devices[:count]), ("seeds",))
    split, whole = jax.P("seeds"), jax.P()

    def on_one_device(states, initial, *shared):
        # One seed after the other: side by side, convolutions with weights of their own
        # are slow, and dense layers no faster.
        return jax.lax.map(lambda s: _one_seed(network, *s, *shared), (states, initial))

    # Nothing is exchanged between devices, so there is nothing for shard_map to check.
    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(split, split, whole, whole, whole, whole),
        out_specs=split,
        check_vma=False,
    )(states, initial, x, y, step_sizes, first)


def _one_seed(
    network: AbstractLayer,
    state: State,
    initial: Params,
    x: Array,
    y: Array,
    step_sizes: Array,
    first: Array,
) -> tuple[State, Recorded]:
    def loss(params: Params) -> tuple[Array, Array]:
        outputs = network.apply(params, x)[:, 0]
        return 0.5 * jnp.sum(jnp.square(outputs - y)), outputs

    def step(state: State, plan: tuple[Array, Array]) -> tuple[State, Recorded]:
        number, size = plan
        params = jax.tree.map(lambda p, g: p - size * g, state.params, state.gradient)
        (value, outputs), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        factors = network_factors(network, params, x)
        shares = factor_products(factors, factors, output_axes=False)
        recorded = {
            "outputs": outputs,
            "last_gram": shares[-1],
            "gram": functools.reduce(jnp.add, shares),
            "movement": _movement(network, params, initial, x),
        }
        finite = _all_finite((value, recorded))
        alive = finite & (state.diverged_at == 0)
        now = jnp.where(number == 0, -1, number).astype(jnp.int32)
        diverged = jnp.where(alive, 0, now)
        diverged_at = jnp.where(state.diverged_at == 0, diverged, state.diverged_at)
        state = _choose(
            alive,
            State(params, gradient, diverged_at),
            State(state.params, state.gradient, diverged_at),
        )
        missing = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), recorded)
        return state, _choose(alive, recorded, missing)

    numbers = first + jnp.arange(len(step_sizes), dtype=first.dtype)
    return jax.lax.scan(step, state, (numbers, step_sizes))


def _movement(
    network: AbstractLayer, params: Params, initial: Params, x: Array
) -> Float[Array, " h"]:
    """One entry per trained layer; $m$ is the number of its outputs."""
    pairs = zip(
        trained_layers(network, params, x),
        trained_layers(network, initial, x),
        strict=True,
    )
    distances = []
    for now, start in pairs:
        moved = jax.tree.map(jnp.subtract, now, start)
        leaves = jax.tree.leaves(moved)
        square = functools.reduce(jnp.add, [jnp.sum(jnp.square(m)) for m in leaves])
        distances.append(jnp.sqrt(square / leaves[0].shape[-1]))
    return jnp.stack(distances)


def chunk_length(seeds: int, n: int, size: int, total: int) -> int:
    """Steps of a chunk: all chunks alike, few enough to hold their Gram matrices.

    Args:
        seeds: Number of seeds.
        n: Number of inputs.
        size: Bytes of a number.
        total: Steps in all.

    Returns:
        The number.
    """
    most = max(1, min(CHUNK, CHUNK_BYTES // (2 * seeds * n * n * size)))
    return math.ceil(total / math.ceil(total / most))


def trained_layers(network: AbstractLayer, params: Params, x: Array) -> list[Params]:
    """Parameters of the layers that train, in the order in which inputs meet them.

    Args:
        network: The network.
        params: Its parameters.
        x: Inputs, of which the shape matters.

    Returns:
        Parts of `params`.
    """
    found: list[Params] = []

    def find(layer: AbstractLayer, p: Params, x: Any, y: Any) -> Any:
        found.append(p)
        return y

    jax.eval_shape(lambda: network.apply_tapped(params, x, find))
    return found


def _choose(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))
