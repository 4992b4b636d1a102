"""A kernel in square tiles, within a budget of memory."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from widelimit.kernels.empirical_work import Work

GIB = 2**30


@dataclass(frozen=True)
class TilePlan:
    """What a kernel takes: said before it is computed.

    Attributes:
        shape: Shape of the kernel, layers in front.
        result: Bytes of it.
        rows: Inputs of `x1` in a tile.
        columns: Inputs of `x2` in a tile.
        tiles: Number of tiles.
        working: Bytes for one of them.
    """

    shape: tuple[int, ...]
    result: int
    rows: int
    columns: int
    tiles: int
    working: int

    def __str__(self) -> str:
        return (
            f"{self.result / GIB:.3g} GiB for a kernel of shape {self.shape}, and "
            f"{self.working / GIB:.3g} GiB beside it; tiles of {self.rows} x "
            f"{self.columns} inputs: {self.tiles}"
        )


def plan_tiles(
    caller: str,
    work: Work,
    n: int,
    m: int | None,
    axes: tuple[int, ...],
    size: int,
    memory: float,
) -> TilePlan:
    """Tiles of a kernel within a budget.

    Args:
        caller: Function to name.
        work: How to compute a tile.
        n: Number of inputs of `x1`.
        m: Number of inputs of `x2`; `None` if there is none.
        axes: Axes of an entry of the kernel.
        size: Bytes of a number.
        memory: Budget in GiB of a tile, and of the result.

    Returns:
        The plan.

    Raises:
        ValueError: If a tile of one row or the result is beyond the budget.
    """
    same, working = m is None, work.whole(n, m)
    m = n if m is None else m
    shape = (work.layers, n * work.entries, m * work.entries, *axes)
    _check_memory(caller, work, shape, size, memory)
    rows, columns = n, m
    if working > memory * GIB:
        side = work.side(memory * GIB)
        rows, columns = _even(n, side), _even(m, side)
        working = work.whole(rows, columns)
    down, across = -(-n // rows), -(-m // columns)
    return TilePlan(
        shape=shape,
        result=math.prod(shape) * size,
        rows=rows,
        columns=columns,
        tiles=down * (down + 1) // 2 if same else down * across,
        working=int(working),
    )


def in_tiles(
    caller: str,
    work: Work,
    x1: np.ndarray,
    x2: np.ndarray | None,
    axes: tuple[int, ...],
    memory: float,
) -> Float[np.ndarray, "h n m *o"]:
    """A kernel between the rows of two batches.

    Without `x2` tiles on and above the diagonal are computed, and mirrored.

    Args:
        caller: Function to name.
        work: How to compute a tile.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        axes: Axes of an entry of the kernel.
        memory: Budget in GiB of a tile, and of the result.

    Returns:
        The kernel, layers in front.

    Raises:
        ValueError: If a tile of one row or the result is beyond the budget, or the
            kernel is not finite.
    """
    other, m = (x1, None) if x2 is None else (x2, len(x2))
    plan = plan_tiles(caller, work, len(x1), m, axes, x1.dtype.itemsize, memory)
    rows, columns, e = plan.rows, plan.columns, work.entries
    result = np.empty(plan.shape, x1.dtype)
    for i in range(0, len(x1), rows):
        one = work.factors(_padded(x1, i, rows))
        for j in range(i if x2 is None else 0, len(other), columns):
            same = x2 is None and i == j
            two = one if same else work.factors(_padded(other, j, columns))
            tile = np.asarray(work.products(one, two, same))
            if not np.isfinite(tile).all():
                wider = ", or use float64 if they overflow"
                raise ValueError(
                    f"`{caller}` needs parameters with finite outputs and gradients. "
                    "Got NaN or infinite entries in the kernel. Check the parameters "
                    f"for NaN{wider if tile.dtype == 'float32' else ' and their size'}."
                )
            _place(result, tile, i * e, j * e)
            if x2 is None and i != j:
                _place(result, _swapped(tile), j * e, i * e)
    return result


def _place(result: np.ndarray, tile: np.ndarray, row: int, column: int) -> None:
    """Puts a tile, as far as it is not padding, where it belongs."""
    to = result[:, row : row + tile.shape[1], column : column + tile.shape[2]]
    to[...] = tile[:, : to.shape[1], : to.shape[2]]


def _swapped(tile: np.ndarray) -> np.ndarray:
    """A tile of a symmetric kernel as it is on the other side of the diagonal."""
    order = (0, 2, 1, 4, 3)
    return tile.transpose(order[: tile.ndim])


def _check_memory(
    caller: str, work: Work, shape: tuple[int, ...], size: int, memory: float
) -> None:
    if work.least > memory * GIB:
        raise ValueError(
            f"`{caller}` needs {work.least / GIB:.3g} GiB for one pair of inputs. Got "
            f"`memory={memory}`. Give more, or ask for fewer outputs at a time."
        )
    needed = math.prod(shape) * size / GIB
    if needed > memory:
        cures = ["pass fewer rows at a time"]
        if len(shape) > 3:
            cures.append("leave out `output_axes`")
        if work.entries > 1:
            cures.append("take products by `empirical_jacobian_operator`")
        raise ValueError(
            f"`{caller}` needs {needed:.3g} GiB for a kernel of shape {shape}. Got "
            f"`memory={memory}`. Give more, or {', or '.join(cures)}."
        )


def _even(rows: int, side: int) -> int:
    """Rows of tiles of about the same size, no more than `side`."""
    return -(-rows // -(-rows // side))


def _padded(x: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Rows from `start`; the last one repeated, so that all tiles share a program."""
    part = x[start : start + rows]
    missing = rows - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part
