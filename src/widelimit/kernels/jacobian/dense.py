"""Entries of a Jacobian kernel: some blocks, the diagonal, or all of them."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit._cores import cpu_count
from widelimit.kernels.jacobian.pairs import JacobianPairs
from widelimit.kernels.jacobian.tiles import even_side

CHUNK = 2**18  # entries that are worked on at once
KEPT = {"both": slice(None), "value": slice(0, 1), "gradient": slice(1, None)}


def pair_blocks(kernel: JacobianPairs, i: Any, j: Any) -> Float[Array, "*s r c"]:
    """The blocks of some pairs of inputs, as sums of outer products.

    Args:
        kernel: The kernel.
        i: Numbers of inputs of the rows.
        j: Numbers of inputs of the columns, of a shape that broadcasts.

    Returns:
        The blocks.
    """
    x, z = (jnp.asarray(a)[k] for a, k in ((kernel.x1, i), (kernel.x2, j)))
    s = jax.tree.map(lambda a: jnp.asarray(a)[i, j][..., None], kernel.scalars)
    left, right = (
        math.sqrt(r) for r in (kernel.row_regularization, kernel.column_regularization)
    )
    # Only what is wanted is formed: inputs may have many features.
    values, gradients = (kernel.column_part != p for p in ("gradient", "value"))
    rows = []
    if kernel.row_part != "gradient":
        top = [s.k] * values + [right * (2 * s.k_b * z + s.k_c * x)] * gradients
        rows.append(jnp.concatenate(top, axis=-1)[..., None, :])
    if kernel.row_part != "value":
        side = [(left * (2 * s.k_a * x + s.k_c * z))[..., None]] * values
        if gradients:
            y, w = (s.scale(a)[..., None] * a for a in (x, z))
            near, far = (v[..., None, :] for v in s.plane(y, w))
            block = y[..., :, None] * near + w[..., :, None] * far
            block = block + s.k_c[..., None] * jnp.eye(x.shape[-1], dtype=x.dtype)
            side.append((left * right) * block)
        rows.append(jnp.concatenate(side, axis=-1))
    return jnp.concatenate(rows, axis=-2)


def diagonal(kernel: JacobianPairs) -> Float[Array, " r"]:
    """The entries on the diagonal of a kernel with as many rows as columns.

    Args:
        kernel: The kernel.

    Returns:
        One number for every row.
    """
    x, z = kernel.x1, kernel.x2
    s = jax.tree.map(lambda a: jnp.diagonal(a)[:, None], kernel.scalars)
    y, w = (s.scale(a)[..., None] * a for a in (x, z))
    near, far = s.plane(y, w)
    left, right = kernel.row_regularization, kernel.column_regularization
    # Roots first: the product of two tiny numbers is zero.
    side = math.sqrt(left) * math.sqrt(right) * (y * near + w * far + s.k_c)
    return jnp.concatenate([s.k, side], axis=1)[:, KEPT[kernel.row_part]].ravel()


def full_matrix(kernel: JacobianPairs) -> Float[np.ndarray, "r c"]:
    """All entries of a kernel, tile by tile; mirrored exactly if it is symmetric.

    Args:
        kernel: The kernel.

    Returns:
        The matrix.
    """
    n, m = len(kernel.x1), len(kernel.x2)
    out = np.empty((n, kernel.shape[0] // n, m, kernel.shape[1] // m), kernel.dtype)
    side = even_side(max(n, m), math.isqrt(CHUNK // (out.shape[1] * out.shape[3])))

    def fill(i: int, j: int) -> None:
        # The last input is repeated, so that all tiles share a program.
        rows, columns = (
            np.minimum(np.arange(start, start + side), count - 1)
            for start, count in ((i, n), (j, m))
        )
        with jax.enable_x64(kernel.dtype == np.float64):
            tile = np.asarray(_compiled(kernel, rows[:, None], columns))
        tile = tile[: n - i, : m - j]
        if kernel.symmetric and i == j:
            tile = tile.copy()  # JAX's own memory cannot be written
            _mirror(tile)
        ends = i + len(tile), j + tile.shape[1]
        out[i : ends[0], :, j : ends[1]] = tile.transpose(0, 2, 1, 3)
        if kernel.symmetric and i != j:
            out[j : ends[1], :, i : ends[0]] = tile.transpose(1, 3, 0, 2)

    starts = [
        (i, j)
        for i in range(0, n, side)
        for j in range(i if kernel.symmetric else 0, m, side)
    ]
    with ThreadPoolExecutor(cpu_count()) as pool:  # JAX compiles once for all threads
        list(pool.map(fill, *zip(*starts, strict=True)))
    return out.reshape(kernel.shape)


def _mirror(tile: Float[np.ndarray, "k k r r"]) -> None:
    """Makes a tile on the diagonal symmetric: what is above decides."""
    i, j = np.tril_indices(len(tile), -1)
    tile[i, j] = tile[j, i].transpose(0, 2, 1)
    own = np.arange(len(tile))
    block = tile[own, own]
    tile[own, own] = np.triu(block) + np.triu(block, 1).transpose(0, 2, 1)


_compiled = jax.jit(pair_blocks)
