"""Entries of a Jacobian kernel, block by block or all of them."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.kernels.jacobian.scalars import AbstractScalars

if TYPE_CHECKING:
    from widelimit.kernels.jacobian.block_operator import JacobianKernel

CHUNK = 2**18  # entries that are worked on at once
KEPT = {"both": slice(None), "value": slice(0, 1), "gradient": slice(1, None)}


def pair_blocks(
    kernel: "JacobianKernel", rows: Any, columns: Any
) -> Float[Array | np.ndarray, "k r c"]:
    """The blocks of some pairs of inputs.

    Args:
        kernel: The kernel.
        rows: Numbers of inputs of the rows.
        columns: Numbers of inputs of the columns.

    Returns:
        The blocks, of the kernel's kind of array.
    """
    s = kernel.scalars.map(lambda a: a[rows, columns])
    x, z = kernel.x1[rows], kernel.x2[columns]
    if isinstance(x, jax.Array):
        return _blocks(s, x, z, *_options(kernel))
    with jax.enable_x64(kernel.dtype == np.float64):
        return np.asarray(_compiled(s, x, z, *_options(kernel)))


def full_matrix(kernel: "JacobianKernel") -> Float[np.ndarray, "r c"]:
    """All entries of a kernel, tile by tile; mirrored exactly if it is symmetric.

    Args:
        kernel: The kernel.

    Returns:
        The matrix.
    """
    n, m = len(kernel.x1), len(kernel.x2)
    out = np.empty((n, kernel.shape[0] // n, m, kernel.shape[1] // m), kernel.dtype)
    side = max(1, math.isqrt(CHUNK // (out.shape[1] * out.shape[3])))
    double, options = kernel.dtype == np.float64, _options(kernel)

    def fill(i: int, j: int) -> None:
        # The last input is repeated, so that all tiles share a program.
        rows, columns = (
            np.minimum(np.arange(start, start + side), count - 1)
            for start, count in ((i, n), (j, m))
        )
        s = kernel.scalars.map(lambda a: a[rows[:, None], columns])
        x, z = kernel.x1[rows, None], kernel.x2[columns]
        with jax.enable_x64(double):
            tile = np.asarray(_compiled(s, x, z, *options))
        tile = tile[: n - i, : m - j]
        if kernel.symmetric and i == j:
            tile = _mirrored(tile)
        ends = i + len(tile), j + tile.shape[1]
        out[i : ends[0], :, j : ends[1]] = tile.transpose(0, 2, 1, 3)
        if kernel.symmetric and i != j:
            out[j : ends[1], :, i : ends[0]] = tile.transpose(1, 3, 0, 2)

    first, *others = [
        (i, j)
        for i in range(0, n, side)
        for j in range(i if kernel.symmetric else 0, m, side)
    ]
    fill(*first)  # compiles once, for all threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(fill, *start) for start in others]:
            done.result()
    return out.reshape(kernel.shape)


def _mirrored(tile: Float[np.ndarray, "k k r r"]) -> Float[np.ndarray, "k k r r"]:
    """A tile on the diagonal, of which the upper triangle decides."""
    k, _, r, _ = tile.shape
    flat = tile.transpose(0, 2, 1, 3).reshape(k * r, k * r)
    flat = np.triu(flat) + np.triu(flat, 1).T
    return flat.reshape(k, r, k, r).transpose(0, 2, 1, 3)


def _options(kernel: "JacobianKernel") -> tuple[float, float, str, str]:
    left, right = kernel.row_regularization, kernel.column_regularization
    return math.sqrt(left), math.sqrt(right), kernel.row_part, kernel.column_part


def _blocks(
    s: AbstractScalars,
    x: Float[Array, "*#s d"],
    z: Float[Array, "*#s d"],
    left: float,
    right: float,
    row_part: str,
    column_part: str,
) -> Float[Array, "*s r c"]:
    """Blocks of pairs, as a sum of outer products of vectors with a value in front."""

    def grown(v):
        return jnp.pad(v, [(0, 0)] * (v.ndim - 1) + [(1, 0)])

    s = s.map(lambda a: a[..., None])
    one = jnp.zeros_like(x, shape=x.shape[-1] + 1).at[0].set(1)
    x, z, y, w = map(grown, (x, z, s.spanning(x), s.spanning(z)))
    near, far = s.plane(y, w)
    top = s.k * one + 2 * s.k_b * z + s.k_c * x
    side = 2 * s.k_a * x + s.k_c * z
    total = one[:, None] * top[..., None, :] + side[..., :, None] * one
    total = total + y[..., :, None] * near[..., None, :]
    total = total + w[..., :, None] * far[..., None, :]
    total = total + s.k_c[..., None] * jnp.diag(1 - one)
    for scale, axis in ((left, (slice(None), None)), (right, (None, slice(None)))):
        if scale != 1:
            total = total * (one + scale * (1 - one))[axis]
    return total[..., KEPT[row_part], KEPT[column_part]]


_compiled = jax.jit(_blocks, static_argnums=(3, 4, 5, 6))
