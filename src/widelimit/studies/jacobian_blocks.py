r"""Blocks of Jacobian kernels: which entries the figures of kim2023 show.

A kernel of values and gradients has $r = d + 1$ rows for every input: $\alpha = 0$ is
the value, $\alpha = 1, \dots, d$ the derivatives.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from widelimit.kernels import jacobian_kernel
from widelimit.kernels.jacobian.block import Kind
from widelimit.layers import AbstractLayer

BLOCKS: Mapping[str, tuple[int, int]] = {
    "00": (0, 0),
    "02": (0, 2),
    "12": (1, 2),
    "22": (2, 2),
}
r"""Name and $(\alpha, \beta)$ of the blocks of kim2023's Figures 1 to 3."""

BLOCK_WORDS: Mapping[str, str] = {
    "00": "values (00)",
    "02": "value and derivative (02)",
    "12": "two derivatives (12)",
    "22": "one derivative (22)",
}
"""The blocks for readers."""


def blocks_of(matrix: Float[Array, "k k"], features: int) -> Float[Array, "b n n"]:
    r"""The Gram matrices of some $(\alpha, \beta)$ over all pairs of inputs.

    Args:
        matrix: A Jacobian kernel, with rows input by input.
        features: Number of features $d$.

    Returns:
        One matrix for each of `BLOCKS`.
    """
    r = features + 1
    return jnp.stack([matrix[a::r, b::r] for a, b in BLOCKS.values()])


def limit_blocks(
    network: AbstractLayer, x: Float[np.ndarray, "n d"], kind: Kind
) -> Float64[np.ndarray, "b n n"]:
    """The same of the infinitely wide network.

    Args:
        network: Its description.
        x: Inputs of norm 1.
        kind: `"nngp"` or `"ntk"`.

    Returns:
        One matrix for each of `BLOCKS`.
    """
    matrix = limit_matrix(network, x, kind)
    r = x.shape[1] + 1
    return np.stack([matrix[a::r, b::r] for a, b in BLOCKS.values()])


def limit_matrix(
    network: AbstractLayer, x: Float[np.ndarray, "n d"], kind: Kind
) -> Float64[np.ndarray, "k k"]:
    """The whole kernel of the infinitely wide network.

    Args:
        network: Its description.
        x: Inputs of norm 1.
        kind: `"nngp"` or `"ntk"`.

    Returns:
        The matrix.
    """
    return jacobian_kernel(network, np.asarray(x, np.float64), kind=kind).dense()


def max_norm(differences: Any) -> Any:
    """The largest magnitude in every matrix, of NumPy's arrays or JAX's."""
    return abs(differences).max((-2, -1))
