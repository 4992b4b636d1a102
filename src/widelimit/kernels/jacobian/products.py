"""Products of a Jacobian kernel with a vector, in rows that stay in the cache."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from widelimit.kernels.jacobian.block_operator import JacobianKernel

CHUNK = 2**20  # bytes of a matrix of pairs that is worked on at once, on the host,
ROWS = 64  # and its least number of rows


class Load(NamedTuple):
    """What all rows of a product need of the vector, one row per input.

    Attributes:
        value: Its values.
        gradient: Its gradients, scaled.
        spanning: The vectors that span the planes with those of the rows.
        inner: Twice the products of inputs and gradients.
        outer: The products of spanning vectors and gradients.
    """

    value: Any
    gradient: Any
    spanning: Any
    inner: Any
    outer: Any


def product(
    kernel: "JacobianKernel", u: Float[Array | np.ndarray, "*s"]
) -> Float[Array | np.ndarray, " r"]:
    """The product with a vector.

    Args:
        kernel: The kernel.
        u: One number for every column.

    Returns:
        One number for every row, of the kernel's kind of array.
    """
    load = _load(kernel, u.reshape(len(kernel.x2), -1))
    n, m = len(kernel.x1), len(kernel.x2)
    if isinstance(kernel.x1, jax.Array):
        return _some_rows(kernel, slice(0, n), load).ravel()
    rows = max(ROWS, CHUNK // (kernel.dtype.itemsize * m))
    out = np.empty((n, kernel.shape[0] // n), kernel.dtype)
    for i in range(0, n, rows):
        out[i : i + rows] = _some_rows(kernel, slice(i, i + rows), load)
    return out.ravel()


def _load(kernel: "JacobianKernel", u) -> Load:
    part = kernel.column_part
    value = None if part == "gradient" else u[:, 0]
    if part == "value":
        return Load(value, None, None, None, None)
    gradient = u[:, 1:] if part == "both" else u
    gradient = math.sqrt(kernel.column_regularization) * gradient
    x2, y2 = kernel.x2, kernel.scalars.spanning(kernel.x2)
    inner = 2 * (x2 * gradient).sum(1)
    outer = inner / 2 if y2 is x2 else (y2 * gradient).sum(1)
    return Load(value, gradient, y2, inner, outer)


def _some_rows(kernel: "JacobianKernel", rows: slice, load: Load):
    """Some rows of the product, as a matrix with one row per input."""
    s = kernel.scalars.map(lambda z: z[rows])
    x1, x2 = kernel.x1[rows], kernel.x2
    value, gradient, y2, inner, outer = load
    turned = None if gradient is None else s.k_c @ gradient
    columns = []
    if kernel.row_part != "gradient":
        total = 0.0 if value is None else s.k @ value
        if gradient is not None:
            total = total + s.k_b @ inner + (x1 * turned).sum(1)
        columns.append(total[:, None])
    if kernel.row_part != "value":
        total, weights = 0.0, 0.0
        if value is not None:
            total = x1 * (s.k_a @ (2 * value))[:, None]
            weights = s.k_c * value
        if gradient is not None:
            y1 = s.spanning(x1)
            near, far = s.plane(y1 @ gradient.T, outer)
            total = total + turned + y1 * near.sum(1)[:, None]
            if y2 is x2:
                weights = weights + far
            else:
                total = total + far @ y2
        if value is not None or y2 is x2:
            total = total + weights @ x2
        columns.append(math.sqrt(kernel.row_regularization) * total)
    if len(columns) == 1:
        return columns[0]
    xp = jnp if isinstance(x1, jax.Array) else np
    return xp.concatenate(columns, axis=1)
