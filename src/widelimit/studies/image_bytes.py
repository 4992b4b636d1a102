"""Training images as the bytes that they were read from."""

import functools

import numpy as np
from jaxtyping import UInt8

from widelimit._checks import row_blocks
from widelimit.datasets import PreparedImages
from widelimit.training import PixelScaling

TOLERANCE = 1e-3
"""Of a byte: rounding in single precision stays below, other numbers do not."""


@functools.lru_cache(maxsize=2)
def training_pixels(
    data: PreparedImages,
) -> tuple[UInt8[np.ndarray, "n h w c"], PixelScaling] | None:
    """Training images in a quarter of the memory, if they were bytes.

    Args:
        data: The images.

    Returns:
        The bytes, and what makes `data.x_train` of them, to rounding. `None` if there
        are none: each image has a norm of its own, has been made smaller, or was
        finer or coarser than bytes.
    """
    if data.scale == "unit":
        return None
    pixels = np.empty(data.x_train.shape, np.uint8)
    for start, block in row_blocks(data.x_train):
        values = (block * data.std + data.mean) * 255
        nearest = np.clip(np.rint(values), 0, 255)
        if not np.all(np.abs(values - nearest) <= TOLERANCE):
            return None
        pixels[start : start + len(block)] = nearest
    mean, std = (tuple(map(float, each)) for each in (data.mean, data.std))
    return pixels, PixelScaling(mean, std)
