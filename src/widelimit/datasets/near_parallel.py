"""Rows that are nearly parallel to earlier ones, found by matrix products."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float64, Int64

from widelimit._checks import check_finite, check_rows

_BLOCK = 256  # rows compared at once with all rows kept so far


@dataclass(frozen=True, eq=False)
class NearParallel:
    """Which rows were kept and which dropped; made by `drop_near_parallel`.

    Args:
        kept: Indices of the rows kept, ascending.
        dropped: Indices of the other rows, ascending.
        parallel_to: For each dropped row, the first kept row that it is nearly parallel
            to.
        cosines: The cosine between these two, with its sign.
    """

    kept: Int64[np.ndarray, " n"] = field(repr=False)
    dropped: Int64[np.ndarray, " k"] = field(repr=False)
    parallel_to: Int64[np.ndarray, " k"] = field(repr=False)
    cosines: Float64[np.ndarray, " k"] = field(repr=False)


def drop_near_parallel(x: Float[np.ndarray, "n d"], max_cosine: float) -> NearParallel:
    r"""Keep each row whose direction differs enough from those of the rows kept before.

    In order, a row $x_i$ is kept when
    $|x_i^\top x_j| \le$ `max_cosine` $\|x_i\| \|x_j\|$ for every kept row $j < i$. A
    cosine is known to rounding only, so one within $4 (d + 2)$ units of rounding of 1
    counts as above any threshold: `max_cosine=1.0` drops the rows that repeat earlier
    ones, or are parallel or opposite to them.

    kim2023, appendix A, removes a row that is nearly parallel to some row before it,
    which could mean also to a row that was removed. The counts that it reports for the
    banknotes, 186 and 320, are those of this function; the other reading leaves 125 and
    231.

    It takes about $n k d$ multiplications in matrix products, for $k$ rows kept, and
    memory for $256 k$ numbers beside the input.

    Args:
        x: Rows of any length above zero.
        max_cosine: Largest $|\cos|$ allowed between two rows, 0 to 1.

    Returns:
        The rows kept and dropped, and why.

    Raises:
        ValueError: If `max_cosine` is not in [0, 1], or a row is zero or not finite.
    """
    caller = "drop_near_parallel"
    if not 0 <= max_cosine <= 1:
        raise ValueError(
            f"`{caller}` needs `max_cosine` from 0 to 1. Got `max_cosine={max_cosine}`."
        )
    check_rows(caller, "x", x)
    check_finite(caller, "x", x)
    unit = _unit_rows(x.astype(np.float64))
    n, d = unit.shape
    limit = min(max_cosine, 1 - 4 * (d + 2) * np.finfo(np.float64).eps)
    cause = np.full(n, -1)  # the kept row that a row is dropped for
    cosine = np.zeros(n)
    kept = np.empty(0, np.int64)
    for start in range(0, n, _BLOCK):
        new = np.arange(start, min(start + _BLOCK, n))
        if len(kept):
            products = unit[new] @ unit[kept].T
            near = np.abs(products) > limit
            hit = np.flatnonzero(near.any(axis=1))
            first = near[hit].argmax(axis=1)
            cause[new[hit]], cosine[new[hit]] = kept[first], products[hit, first]
            new = new[cause[new] < 0]
        products = unit[new] @ unit[new].T
        near = np.triu(np.abs(products) > limit, k=1)  # row i and later rows
        for i, row in enumerate(new):
            if cause[row] < 0:
                hit = np.flatnonzero(near[i] & (cause[new] < 0))
                cause[new[hit]], cosine[new[hit]] = row, products[i, hit]
        kept = np.concatenate([kept, new[cause[new] < 0]])
    dropped = np.flatnonzero(cause >= 0)
    return NearParallel(kept, dropped, cause[dropped], cosine[dropped])


def _unit_rows(x: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    largest = np.abs(x).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        raise ValueError(
            "`drop_near_parallel` needs rows that are not zero. Got a zero row at "
            f"index {zero[0]} ({len(zero)} such rows). Remove them first."
        )
    x = x / largest  # so that no square overflows or vanishes
    return x / np.linalg.norm(x, axis=1, keepdims=True)
