"""The largest change of the input gradient near an input, by search."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_positive, check_rows
from widelimit.layers import AbstractLayer, Params


class GradientDifference(eqx.Module):
    r"""The largest change of the gradient that a search has found, per input.

    Attributes:
        value: $\|\nabla f(x) - \nabla f(x + \delta)\|$, at most the supremum.
        delta: The perturbation $\delta$ where it was found.
    """

    value: Float[Array, " n"]
    delta: Float[Array, "n d"]


def largest_gradient_difference(
    network: AbstractLayer,
    params: Params,
    x: Float[Array | np.ndarray, "n d"],
    radius: float,
    key: Key[Array, ""],
    *,
    draws: int = 8,
    iterations: int = 4,
    steps: int = 4,
    batch_size: int = 1,
) -> GradientDifference:
    r"""Largest change of the gradient in a ball around each input, by search.

    $$\max_{\|\delta\| \le R} \|\nabla f(x) - \nabla f(x + \delta)\|.$$

    **A lower bound of the supremum.** The search begins along the gradient and along
    `draws` random directions. Each is refined by `iterations` steps

    $$\delta \leftarrow R\, \frac{\nabla f(x + \delta) - \nabla f(x)}
      {\|\nabla f(x + \delta) - \nabla f(x)\|},$$

    a power iteration on the Hessian where $f$ has one, and a smoothed one where it has
    kinks. Along each last direction, and against it, `steps` lengths up to $R$ are
    tried: with kinks the change need not grow with the length. All perturbations on the
    way count. More draws never lower the result, nor does a multiple of the steps.

    Args:
        network: A network with one output, of any depth.
        params: Its parameters.
        x: Inputs, one per row.
        radius: $R$, the norm of the perturbations at most, in the units of `x`.
        key: Random key.
        draws: Random directions per input.
        iterations: Refinements of each direction.
        steps: Lengths tried along each last direction, both ways.
        batch_size: Inputs to work on at once, each with `2 * (draws + 1)` passes.

    Returns:
        The largest change per input, and where it is.

    Raises:
        ValueError: If `x` is not a matrix, the network has several outputs, `radius` is
            not positive, or a count is not.

    References:
        wang2022, Lemma B.9, which bounds it from above.
    """
    caller = "largest_gradient_difference"
    check_rows(caller, "x", x)
    check_positive(caller, "radius", radius)
    counts = {"draws": draws, "steps": steps, "batch_size": batch_size}
    for name, count in counts.items():
        check_count(caller, name, count, 1)
    check_count(caller, "iterations", iterations, 0)
    outputs = network.output_shape((x.shape[1],))
    if outputs != (1,):
        raise ValueError(
            f"`{caller}` needs a network with one output. Got `output_shape={outputs}`."
        )
    dtype = jnp.result_type(*jax.tree.leaves(params))
    value, delta = _search(
        (network, draws, iterations, steps, batch_size),
        params,
        jnp.asarray(x, dtype),
        jnp.asarray(radius, dtype),
        key,
    )
    return GradientDifference(value, delta)


@functools.partial(jax.jit, static_argnums=0)
def _search(
    options: tuple, params: Params, x: Array, R: Array, key: Array
) -> tuple[Array, Array]:
    network, draws, iterations, steps, batch_size = options

    def gradients(points: Float[Array, "k d"]) -> Float[Array, "k d"]:
        return jax.grad(lambda z: jnp.sum(network.apply(params, z)))(points)

    def at(row: Float[Array, " d"], row_key: Array) -> tuple[Array, Array]:
        own = gradients(row[None])[0]

        def change(deltas: Float[Array, "k d"]) -> Float[Array, "k d"]:
            return gradients(row + deltas) - own

        def best(found, deltas, differences):
            norms = jnp.linalg.norm(differences, axis=1)
            i = jnp.argmax(norms)
            better = norms[i] > found[0]
            return (
                jnp.where(better, norms[i], found[0]),
                jnp.where(better, deltas[i], found[1]),
            )

        def refine(state, _):
            deltas, found = state
            differences = change(deltas)
            found = best(found, deltas, differences)
            norms = jnp.linalg.norm(differences, axis=1, keepdims=True)
            safe = jnp.where(norms > 0, norms, 1.0)
            # Where nothing changes the direction stays.
            return (jnp.where(norms > 0, R * differences / safe, deltas), found), None

        def walk(found, length):
            both = jnp.concatenate([length * deltas, -length * deltas])
            return best(found, both, change(both)), None

        # One key per draw, so that more draws begin with the same directions.
        keys = jax.vmap(lambda i: jax.random.fold_in(row_key, i))(jnp.arange(draws))
        noise = jax.vmap(lambda k: jax.random.normal(k, row.shape, row.dtype))(keys)
        starts = jnp.concatenate([own[None], noise])
        norms = jnp.linalg.norm(starts, axis=1, keepdims=True)
        starts = R * starts / jnp.where(norms > 0, norms, 1.0)
        found = jnp.zeros((), x.dtype), jnp.zeros_like(row)
        (deltas, found), _ = jax.lax.scan(
            refine, (starts, found), None, length=iterations
        )
        lengths = jnp.arange(1, steps + 1, dtype=x.dtype) / steps
        return jax.lax.scan(walk, found, lengths)[0]

    keys = jax.random.split(key, len(x))
    return jax.lax.map(lambda a: at(*a), (x, keys), batch_size=min(batch_size, len(x)))
