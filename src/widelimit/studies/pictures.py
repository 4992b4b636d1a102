"""A few test images with the perturbation that changes the outputs most."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.datasets import PreparedImages
from widelimit.layers import Params
from widelimit.measures import input_jacobian, perturbation_stability

if TYPE_CHECKING:
    import xarray as xr

LEVELS = 127
"""A perturbation is kept as whole numbers from -127 to 127."""


def damaging_directions(
    apply: Any, params: Params, data: PreparedImages, *, count: int, share: float
) -> "xr.Dataset":
    r"""Of one test image each of several classes, the most damaging direction.

    To first order, $\delta$ changes the outputs by $J \delta$, most for the first right
    singular vector $v_1$ of the input Jacobian: $\delta = \pm r v_1$ on the ball's
    border. Of the two signs it is the one that leaves the smaller margin of the right
    class over the best other one.

    Args:
        apply: Outputs of the network for a batch of images.
        params: Its parameters, of one seed.
        data: The images.
        count: Number of images; the first of as many classes.
        share: $r$ as a share of the norm of the image, as the network takes it.

    Returns:
        Per `shown` image: `picture` (pixels, 0 to 255), `picture_step` (the direction
        in pixels, over `picture_peak`, its largest entry, times 127), the names of its
        class `picture_label` and of those predicted `picture_before` and
        `picture_after`; and `picture_gain`, by what factor the change $r \sigma_1$
        exceeds the mean over the ball, which is stability.
    """
    import xarray as xr

    labels = np.asarray(data.y_test)
    _, first = np.unique(labels, return_index=True)
    chosen = np.sort(first)[:count]
    x = jnp.asarray(data.x_test[chosen], dtype=float)

    def outputs(row):
        return apply(params, row[None])[0]

    jacobians = np.asarray(jax.jit(lambda z: input_jacobian(outputs, z))(x), float)
    stability = np.asarray(jax.jit(lambda z: perturbation_stability(outputs, z))(x))
    # On the host: the library calls no LAPACK inside a program.
    _, sigma, right = np.linalg.svd(jacobians, full_matrices=False)
    radius = share * np.linalg.norm(np.asarray(x).reshape(len(x), -1), axis=1)
    steps = (radius[:, None] * right[:, 0]).reshape(x.shape)
    values = jax.jit(lambda z: apply(params, z))
    both = [np.asarray(values(jnp.asarray(x + s * steps, x.dtype))) for s in (1, -1)]
    minus = _margin(both[1], labels[chosen]) < _margin(both[0], labels[chosen])
    after = np.where(minus[:, None], both[1], both[0])
    steps = np.where(minus[:, None, None, None], -steps, steps)
    pixels, steps = _in_pixels(data, np.asarray(x, float), steps)
    peak = np.abs(steps).max(axis=(1, 2, 3))
    safe = np.where(peak > 0, peak, 1.0)[:, None, None, None]
    names = np.asarray(data.classes)
    axes = ("shown", "row", "column", "channel")
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = radius * sigma[:, 0] / (radius * stability)
    return xr.Dataset(
        {
            "picture": (axes, np.round(255 * np.clip(pixels, 0, 1)).astype(np.int16)),
            "picture_step": (axes, np.round(LEVELS * steps / safe).astype(np.int16)),
            "picture_peak": ("shown", peak),
            "picture_label": ("shown", names[labels[chosen]]),
            "picture_before": ("shown", names[np.asarray(values(x)).argmax(1)]),
            "picture_after": ("shown", names[after.argmax(1)]),
            "picture_gain": ("shown", gain.astype(float)),
        },
        coords={
            name: np.arange(size) for name, size in zip(axes, x.shape, strict=True)
        },
    )


def _margin(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.arange(len(labels))
    right = outputs[rows, labels]
    others = outputs.copy()
    others[rows, labels] = -np.inf
    return right - others.max(axis=1)


def _in_pixels(
    data: PreparedImages, x: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Images and directions in the units of pixels from 0 to 1."""
    if data.scale == "unit":
        # The norm is lost: the brightest pixel becomes white.
        brightest = x.max(axis=(1, 2, 3), keepdims=True)
        return x / brightest, steps / brightest
    return x * data.std + data.mean, steps * data.std
