"""A kernel in square tiles, within a budget of memory."""

import math

import numpy as np
from jaxtyping import Float

from widelimit.kernels.empirical_work import Work

GIB = 2**30


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
    other = x1 if x2 is None else x2
    shape = (work.layers, len(x1), len(other), *axes)
    _check_memory(caller, work, shape, x1.dtype.itemsize, memory)
    result = np.empty(shape, x1.dtype)
    side = work.side(memory * GIB)
    rows, columns = _even(len(x1), side), _even(len(other), side)
    for i in range(0, len(x1), rows):
        one = work.factors(_padded(x1, i, rows))
        for j in range(i if x2 is None else 0, len(other), columns):
            same = x2 is None and i == j
            two = one if same else work.factors(_padded(other, j, columns))
            part = np.asarray(work.products(one, two, same))
            part = part[:, : len(x1) - i, : len(other) - j]
            if not np.isfinite(part).all():
                raise ValueError(
                    f"`{caller}` needs parameters with finite outputs and gradients. "
                    "Got NaN or infinite entries in the kernel. Check the parameters "
                    "for NaN, or use float64 if they overflow."
                )
            result[:, i : i + rows, j : j + columns] = part
            if x2 is None and not same:
                swapped = part.transpose((0, 2, 1, 4, 3)[: part.ndim])
                result[:, j : j + columns, i : i + rows] = swapped
    return result


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
        axes = len(shape) > 3
        raise ValueError(
            f"`{caller}` needs {needed:.3g} GiB for a kernel of shape {shape}. Got "
            f"`memory={memory}`. Give more, pass fewer rows at a time"
            f"{', or leave out `output_axes`' if axes else ''}."
        )


def _even(rows: int, side: int) -> int:
    """Rows of tiles of about the same size, no more than `side`."""
    return -(-rows // -(-rows // side))


def _padded(x: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Rows from `start`; the last one repeated, so that all tiles share a program."""
    part = x[start : start + rows]
    missing = rows - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part
