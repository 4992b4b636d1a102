"""Products of a Jacobian kernel with vectors: three matrix products each."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.jacobian.pairs import JacobianPairs


def product(kernel: JacobianPairs, u: Float[Array, " c"]) -> Float[Array, " r"]:
    r"""The product with a vector of values $v_j$ and gradients $g_j$.

    With $\phi_{ij}$ the form of the plane of $x_i$ and $x_j'$, row $i$ has the value
    and the gradient

    $$\sum_j k v_j + 2 k_b \langle x_j', g_j \rangle + k_c \langle x_i, g_j \rangle,
      \quad
      \sum_j (2 k_a x_i + k_c x_j') v_j + k_c g_j + \phi_{ij} g_j.$$

    Args:
        kernel: The kernel.
        u: One number for every column.

    Returns:
        One number for every row.
    """
    s, x1, x2 = kernel.scalars, jnp.asarray(kernel.x1), jnp.asarray(kernel.x2)
    u = u.reshape(len(x2), -1)
    top = jnp.zeros_like(x1, shape=len(x1))
    side, weights = 0.0, 0.0  # weights of the inputs of the columns
    if kernel.column_part != "gradient":
        value = u[:, 0]
        top = top + s.k @ value
        side = (2 * (s.k_a @ value))[:, None] * x1
        weights = s.k_c * value
    if kernel.column_part != "value":
        gradient = u[:, 1:] if kernel.column_part == "both" else u
        gradient = math.sqrt(kernel.column_regularization) * gradient
        turned = s.k_c @ gradient
        inner = jnp.sum(x2 * gradient, axis=1)
        top = top + s.k_b @ (2 * inner) + jnp.sum(x1 * turned, axis=1)
        scale1, scale2 = s.scale(x1), s.scale(x2)
        inners = scale1[:, None] * (x1 @ gradient.T)
        near, far = s.plane(inners, scale2 * inner)
        side = side + turned + (scale1 * jnp.sum(near, axis=1))[:, None] * x1
        weights = weights + far * scale2
    side = math.sqrt(kernel.row_regularization) * (side + weights @ x2)
    if kernel.row_part == "value":
        return top
    if kernel.row_part == "both":
        side = jnp.concatenate([top[:, None], side], axis=1)
    return jnp.ravel(side)


def products(kernel: JacobianPairs, u: Float[Array, "c k"]) -> Float[Array, "r k"]:
    """The products with the columns of a matrix, in one compiled loop.

    Several columns at a time would be slower: their matrices of pairs leave the cache.

    Args:
        kernel: The kernel.
        u: One row for every column of the kernel.

    Returns:
        One row for every row of the kernel.
    """
    return jax.lax.map(lambda v: product(kernel, v), u.T).T
