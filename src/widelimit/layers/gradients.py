"""Inner products of the gradients of parameters at pairs of rows."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tap = Callable[[Any, Any, Array, Array], Array]
"""Takes a layer, its parameters, inputs and outputs; gives outputs to go on with."""


def row_gradients(
    apply: Callable[[Any, Float[Array, "1 *s"]], Float[Array, "1 *t"]],
    params: Any,
    x: Float[Array, "n *s"],
    cotangents: Float[Array, "n o *t"],
) -> Any:
    r"""Gradients $\partial \langle g_{ia}, y(x_i) \rangle / \partial w$, row by row.

    Args:
        apply: Function $y$ of parameters and a batch.
        params: Parameters, a pytree of float arrays.
        x: Inputs $x_i$.
        cotangents: $g_{ia}$, one for every row and output.

    Returns:
        A pytree as `params`, with axes `n o` in front.
    """

    def at(row, weights):
        _, pull = jax.vjp(lambda p: apply(p, row[None]), params)
        return jax.vmap(lambda w: pull(w[None])[0])(weights)

    return jax.vmap(at)(x, cotangents)


def inner_products(one: Any, two: Any, *, output_axes: bool) -> Float[Array, "n m *o"]:
    """Inner products of vectors that belong to rows and outputs.

    Args:
        one: Pytree with leaves `n o *p`.
        two: The like with leaves `m o *p`.
        output_axes: Whether to pair all outputs; else those of equal outputs are added.

    Returns:
        The products, `n m o o` or `n m`.
    """
    subscripts = "nap,mbp->nmab" if output_axes else "nap,map->nm"
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    parts = [
        jnp.einsum(subscripts, a.reshape(*a.shape[:2], -1), b.reshape(*b.shape[:2], -1))
        for a, b in pairs
    ]
    return functools.reduce(jnp.add, parts)
