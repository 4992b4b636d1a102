"""The numbers of all pairs on the host, tile by tile."""

import functools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from widelimit._checks import check_memory, check_positive
from widelimit._cores import cpu_count
from widelimit.kernels.aligned import aligned_empty
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.jacobian.block import Kind, block_arrays
from widelimit.kernels.jacobian.scalars import (
    AbstractScalars,
    FrameScalars,
    JacobianScalars,
)
from widelimit.layers import AbstractLayer

GIB = 2**30
TEMPORARIES = 60  # arrays of the size of a tile that are alive at once
CPU_SIDE, SIDE = 64, 1024  # rows of a tile on a CPU, and elsewhere


def all_scalars(
    caller: str,
    network: AbstractLayer,
    a: np.ndarray,
    b: np.ndarray,
    *,
    kind: Kind,
    memory: float,
) -> AbstractScalars:
    """`jacobian_block` of checked inputs, in tiles that cores or devices share.

    If `a` is `b`, only tiles on and above the diagonal are computed, and mirrored.

    Args:
        caller: Name of the public function, for messages.
        network: Description of the network.
        a: Inputs, one per row.
        b: Inputs, one per row.
        kind: `"nngp"` or `"ntk"`.
        memory: Budget in GiB beside the result.

    Returns:
        The numbers, as NumPy arrays.

    Raises:
        ValueError: If the inputs are no vectors, or do not fit into the memory.
    """
    if a.ndim != 2:
        raise ValueError(
            f"`{caller}` needs inputs that are vectors. Got `x1.shape={a.shape}`. "
            "Flatten images for a fully-connected network; for others call "
            "`dense_jacobian_kernel`."
        )
    check_positive(caller, "memory", memory)
    same, size = a is b, a.dtype.itemsize
    check_memory(
        caller,
        float(8 * size * len(a) * len(b) + memory * GIB),
        f"the eight numbers of {len(a)} x {len(b)} pairs",
        "Use fewer rows, or `dtype='float32'`, or compute some rows of `x1` at a time.",
    )
    devices = jax.local_devices()
    side, workers = SIDE, len(devices)
    if devices[0].platform == "cpu":  # each core a tile that stays in its cache
        side, workers, devices = CPU_SIDE, cpu_count(), devices[:1]
    side = _side(caller, memory * GIB / workers, a, side)
    side = even_side(max(len(a), len(b)), side)
    rows, columns = min(side, len(a)), min(side, len(b))
    cls = FrameScalars if has_kinks(network) else JacobianScalars
    result = _Result(cls, len(a), len(b), a.dtype, same)

    def one(number: int, i: int, j: int) -> None:
        with jax.enable_x64(a.dtype == np.float64):
            device = devices[number % len(devices)]
            tile = (_padded(a, i, rows), _padded(b, j, columns))
            found = _tile(network, *jax.device_put(tile, device), kind)
            result.put(i, j, np.asarray(found))

    starts = list(_tiles(len(a), len(b), side, same))
    with ThreadPoolExecutor(workers) as pool:  # JAX compiles once for all threads
        list(pool.map(one, range(len(starts)), *zip(*starts, strict=True)))
    return result.scalars(caller)


class _Result:
    """The arrays of all pairs, filled tile by tile."""

    def __init__(self, cls: type[AbstractScalars], n: int, m: int, dtype, same: bool):
        self.cls, self.same, self.shape = cls, same, (n, m)
        self.arrays = {name: aligned_empty((n, m), dtype) for name in cls.names()}

    def put(self, i: int, j: int, tile: np.ndarray) -> None:
        """Fills in a tile that begins at `(i, j)`, and its mirror image."""
        n, m = self.shape
        part = self.cls(*tile[:, : n - i, : m - j])
        rows, columns = part.k.shape
        mirror = part.transposed() if self.same else part
        for name, whole in self.arrays.items():
            block, swapped = getattr(part, name), getattr(mirror, name)
            if self.same and i == j:  # the upper triangle decides
                both = (block.diagonal() + swapped.diagonal()) / 2
                block = np.where(np.tri(rows, k=-1, dtype=bool), swapped, block)
                np.fill_diagonal(block, both)
            whole[i : i + rows, j : j + columns] = block
            if self.same and i != j:
                whole[j : j + columns, i : i + rows] = swapped

    def scalars(self, caller: str) -> AbstractScalars:
        """The numbers of all pairs, if they are numbers."""
        for array in self.arrays.values():
            with np.errstate(all="ignore"):
                if np.isfinite(array.sum()):
                    continue
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                i, j = map(int, bad[0])
                raise ValueError(
                    f"`{caller}` needs inputs and variances of weights whose kernels "
                    f"and derivatives are in the range of {array.dtype}. Got "
                    f"{array[i, j]} for row {i} of `x1` and row {j} of `x2`. Scale "
                    "them down."
                )
        return self.cls(**self.arrays)


def even_side(rows: int, most: int) -> int:
    """Rows of a tile, at most so many (but one), so that all tiles are about equal."""
    return -(-rows // -(-rows // max(most, 1)))


def _side(caller: str, budget: float, a: np.ndarray, most: int) -> int:
    """Rows and columns of a tile: the largest power of two within the budget."""
    row, size = math.prod(a.shape[1:]) * a.dtype.itemsize, a.dtype.itemsize
    side = most
    while side and TEMPORARIES * size * side**2 + 4 * side * row > budget:
        side //= 2
    if not side:
        raise ValueError(
            f"`{caller}` needs at least {(TEMPORARIES * size + 4 * row) / GIB:.3g} GiB "
            f"for one pair of inputs and each worker. Got {budget / GIB:.3g} GiB for "
            "one. Give more `memory`."
        )
    return side


def _tiles(n: int, m: int, side: int, same: bool) -> Iterator[tuple[int, int]]:
    for i in range(0, n, side):
        for j in range(i if same else 0, m, side):
            yield i, j


def _padded(x: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Rows from `start`; the last one repeated, so that all tiles share a program."""
    part = x[start : start + rows]
    missing = rows - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part


@functools.partial(jax.jit, static_argnums=(0, 3))
def _tile(network: AbstractLayer, x1, x2, kind: Kind):
    return block_arrays(network, x1, x2, kind)
