"""Down-sampling of images by area averaging."""

import numpy as np
from jaxtyping import Float

from widelimit._checks import check_at_least


def box_weights(size: int, length: int) -> Float[np.ndarray, "{size} {length}"]:
    r"""Weights $A$ that average `length` pixels in a row down to `size`.

    New pixel $i$ covers $[i\,r, (i+1)\,r]$ in units of old pixels, $r =$ `length` /
    `size`, and $A_{ij}$ is the share of it that lies in old pixel $j$, $[j, j+1]$.
    Rows sum to one.

    Args:
        size: Number of new pixels.
        length: Number of old pixels.

    Returns:
        The weights.

    Raises:
        ValueError: If `size` is above `length`.
    """
    check_at_least("prepare", "size", size, 1)
    if size > length:
        raise ValueError(
            f"`prepare` needs `size <= {length}`, the side of the images: it averages, "
            f"it does not enlarge. Got `size={size}`."
        )
    # Overlaps in units of 1 / size old pixels are integers, hence exact.
    i, j = np.arange(size)[:, None], np.arange(length)[None, :]
    ends = np.minimum((i + 1) * length, (j + 1) * size)
    starts = np.maximum(i * length, j * size)
    return np.maximum(ends - starts, 0) / length


def downsample(
    images: Float[np.ndarray, "n *channels h w"], size: int
) -> Float[np.ndarray, "n *channels {size} {size}"]:
    r"""Area average $A X B^\top$ of each image (and channel) down to `size` x `size`.

    Args:
        images: Images, the last two axes being height and width.
        size: New height and width; it need not divide the old ones.

    Returns:
        The smaller images; the mean of each is kept.
    """
    rows = box_weights(size, images.shape[-2])
    columns = box_weights(size, images.shape[-1])
    return rows @ images @ columns.T
