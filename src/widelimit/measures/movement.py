"""How far training has moved the parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.layers import Params


def lazy_ratio(params: Params, initial: Params) -> Float[Array, ""]:
    r"""Lazy-training ratio of zhu2022, Sec. 5.2.

    $$\kappa = \frac{\sum_l \|W_l(t) - W_l(0)\|_F}{\sum_l \|W_l(0)\|_F}.$$

    Small for lazy training. Every array of the parameters counts as one $W_l$, biases
    included (the paper's network has none). It does not change when all parameters are
    scaled together.

    Args:
        params: The parameters now.
        initial: The parameters at initialisation, of the same structure.

    Returns:
        The ratio, dimensionless; infinite or NaN if all initial parameters are zero.
    """
    moved = sum(jax.tree.leaves(jax.tree.map(_distance, params, initial)))
    norms = sum(jax.tree.leaves(jax.tree.map(_norm, initial)))
    return jnp.asarray(moved) / norms


def relative_movement(params: Params, initial: Params) -> dict[str, Float[Array, ""]]:
    r"""Relative movement $\|W_l(t) - W_l(0)\|_F / \|W_l(0)\|_F$ of every array.

    Its supremum over time is what zhu2022, Theorem 2, bounds from below.

    Args:
        params: The parameters now.
        initial: The parameters at initialisation, of the same structure.

    Returns:
        The movement by the array's path, such as `[0]['weight']`; infinite where an
        array started at zero and moved.
    """
    ratios = jax.tree.map(
        lambda now, start: _distance(now, start) / _norm(start),
        params,
        initial,
    )
    paths, _ = jax.tree.flatten_with_path(ratios)
    return {jax.tree_util.keystr(path): ratio for path, ratio in paths}


def _distance(now: Float[Array, "*s"], start: Float[Array, "*s"]) -> Float[Array, ""]:
    return _norm(now - start)


def _norm(array: Float[Array, "*s"]) -> Float[Array, ""]:
    size = jnp.max(jnp.abs(array))  # the squares of tiny weights would vanish
    size = jnp.where(size > 0, size, 1.0)
    return size * jnp.linalg.norm(jnp.ravel(array / size))
