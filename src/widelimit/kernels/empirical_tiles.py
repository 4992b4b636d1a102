"""A kernel in square tiles."""

import numpy as np
from jaxtyping import Float

from widelimit.kernels.empirical_work import Work


def assemble(
    work: Work,
    x1: np.ndarray,
    x2: np.ndarray | None,
    side: int,
    result: Float[np.ndarray, "h n m *o"],
) -> None:
    """Fill in a kernel, tile by tile.

    Without `x2` tiles on and above the diagonal are computed, and mirrored.

    Args:
        work: How.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        side: Rows and columns of a tile.
        result: Where to write, layers in front.
    """
    other = x1 if x2 is None else x2
    rows = min(side, len(x1))
    columns = rows if x2 is None else min(side, len(other))
    for i in range(0, len(x1), rows):
        one = work.factors(_padded(x1, i, rows))
        for j in range(i if x2 is None else 0, len(other), columns):
            same = x2 is None and i == j
            two = one if same else work.factors(_padded(other, j, columns))
            part = np.asarray(work.products(one, two, same))
            part = part[:, : len(x1) - i, : len(other) - j]
            result[:, i : i + rows, j : j + columns] = part
            if x2 is None and not same:
                axes = (0, 2, 1, 4, 3)[: part.ndim]
                result[:, j : j + columns, i : i + rows] = part.transpose(axes)


def _padded(x: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Rows from `start`; the last one repeated, so that all tiles share a program."""
    part = x[start : start + rows]
    missing = rows - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part
