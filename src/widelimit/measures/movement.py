"""How far training has moved the parameters."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float

from widelimit._checks import check_finite
from widelimit.layers import Params

SMALL = 64  # sides of matrices whose singular values are all taken


class MatrixMovement(eqx.Module):
    r"""Norms of $W(t) - W(0)$, where $W$ takes an input $h$ to $W h$.

    Attributes:
        one: $\|\cdot\|_1$, the largest sum of magnitudes over one input.
        two: $\|\cdot\|_2$, the largest singular value.
        inf: $\|\cdot\|_\infty$, the largest sum of magnitudes over one output.
    """

    one: float
    two: float
    inf: float


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


def matrix_movement(params: Params, initial: Params) -> dict[str, MatrixMovement]:
    r"""How far every weight matrix has moved, in the norms that kim2023's proofs use.

    Theorem 23 keeps the finite Jacobian NTK within $O(\omega \log m)$ of its start
    while hidden matrices move by at most $\omega \sqrt m$ in the 2-norm and
    $\omega \sqrt m \log m$ in the other two, with $\omega \le O((\log m)^{-2L})$ and
    weights that start as $N(0, 1)$. Taken on the host, in float64.

    For several seeds, as `train` returns them, call it for each (arrays with an axis
    of seeds would be taken for matrices, or for none):
    `[matrix_movement(*jax.tree.map(lambda a: a[s], (params, initial))) for s in ...]`.

    Args:
        params: The parameters of one network, without an axis of seeds, now.
        initial: The same at initialisation, of the same structure.

    Returns:
        The norms by the array's path, such as `[0]['weight']`. Biases and other arrays
        that are not matrices are left out.

    Raises:
        ValueError: If structures or shapes differ, an entry is not a finite number, or
            there is no matrix.
    """
    structures = [jax.tree.structure(tree) for tree in (params, initial)]
    if structures[0] != structures[1] or not structures[0].num_leaves:
        raise ValueError(
            "`matrix_movement` needs parameters of one structure, with arrays. Got "
            f"{structures[0]} and {structures[1]}. Give those of one network, now and "
            "at initialisation."
        )
    moved = jax.tree.map(_moved, params, initial)
    paths, _ = jax.tree.flatten_with_path(moved)
    if all(matrix.ndim != 2 for _, matrix in paths):
        raise ValueError(
            "`matrix_movement` needs a network with weight matrices. Got arrays of "
            f"shapes {[matrix.shape for _, matrix in paths]}. With an axis of seeds, "
            "give one seed at a time."
        )
    return {
        jax.tree_util.keystr(path): MatrixMovement(
            one=float(np.abs(matrix).sum(axis=1).max()),  # rows are inputs here
            two=_largest_singular_value(matrix),
            inf=float(np.abs(matrix).sum(axis=0).max()),
        )
        for path, matrix in paths
        if matrix.ndim == 2
    }


def _moved(now: Any, start: Any) -> Float[np.ndarray, "*s"]:
    a, b = np.asarray(now), np.asarray(start)
    for array in (a, b):
        if array.dtype.kind not in "fiub":
            raise ValueError(
                "`matrix_movement` needs arrays of real numbers as parameters. Got "
                f"`dtype={array.dtype}`."
            )
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.shape != b.shape:
        raise ValueError(
            "`matrix_movement` needs parameters of equal shapes. Got "
            f"{a.shape} and {b.shape}."
        )
    check_finite("matrix_movement", "params", a)
    check_finite("matrix_movement", "initial", b)
    return a - b


def _largest_singular_value(matrix: Float[np.ndarray, "m k"]) -> float:
    if min(matrix.shape) <= SMALL or not np.any(matrix):
        return float(np.linalg.norm(matrix, 2))
    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    found: Any = scipy.sparse.linalg.svds(
        matrix, k=1, v0=start, return_singular_vectors=False
    )
    return float(found[0])


def _distance(now: Float[Array, "*s"], start: Float[Array, "*s"]) -> Float[Array, ""]:
    return _norm(now - start)


def _norm(array: Float[Array, "*s"]) -> Float[Array, ""]:
    size = jnp.max(jnp.abs(array))  # the squares of tiny weights would vanish
    size = jnp.where(size > 0, size, 1.0)
    return size * jnp.linalg.norm(jnp.ravel(array / size))
