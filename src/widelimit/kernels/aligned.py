"""NumPy arrays that JAX takes as they are."""

import math
from typing import Any

import numpy as np
from jaxtyping import Shaped

ALIGNMENT = 64  # bytes; JAX copies arrays on the host that begin elsewhere


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Shaped[np.ndarray, "..."]:
    """An array whose entries are not set.

    Args:
        shape: Its shape.
        dtype: Type of its entries.

    Returns:
        The array. Compiled programs on the host read it where it is.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def aligned(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """An array with the same entries: itself, if it will do.

    Args:
        array: Any array.

    Returns:
        A contiguous one.
    """
    if array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0:
        return array
    out = aligned_empty(array.shape, array.dtype)
    out[...] = array
    return out
