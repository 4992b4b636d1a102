"""Synthetic inputs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_at_least, check_positive


def sphere(
    key: Key[Array, ""], rows: int, dimension: int, *, radius: float = 1.0
) -> Float[Array, "{rows} {dimension}"]:
    r"""Inputs drawn uniformly from the sphere $\{x : \|x\|_2 = r\}$ in $R^d$.

    Each row is $x = r\,g / \|g\|_2$ with standard Gaussian $g$. It is linear in
    `radius`, has mean zero and covariance $r^2 I / d$.

    Args:
        key: Random key.
        rows: Number of inputs.
        dimension: Number of features $d$; the sphere itself has dimension $d - 1$.
        radius: Norm $r$ of every row.

    Returns:
        The inputs, one per row.
    """
    check_at_least("sphere", "rows", rows, 1)
    check_at_least("sphere", "dimension", dimension, 1)
    check_positive("sphere", "radius", radius)
    if dimension == 1:  # two points; a single Gaussian can be exactly zero in float32
        return radius * jax.random.rademacher(key, (rows, 1), dtype=float)
    g = jax.random.normal(key, (rows, dimension))
    return radius * (g / jnp.linalg.norm(g, axis=1, keepdims=True))
