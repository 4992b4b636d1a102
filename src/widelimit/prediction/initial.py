"""Functions that training starts from."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from widelimit.prediction.predictor import Prediction


def function_at(
    function: Callable[[Any], Any], x: ArrayLike, *, single: bool = True
) -> Prediction:
    """Values and gradients of a JAX function, to start a flow from.

    Args:
        function: Maps one input to a number, or to a vector of outputs.
        x: Inputs, one per row.
        single: Whether a vector of one output counts as a number.

    Returns:
        Both, in float64.
    """
    both = jax.jit(jax.vmap(lambda row: (function(row), jax.jacrev(function)(row))))
    with jax.enable_x64(True):
        found = both(jnp.asarray(np.asarray(x), jnp.float64))
    values, slopes = (np.asarray(part, dtype=np.float64) for part in found)
    if single and values.ndim == 2 and values.shape[1] == 1:
        return Prediction(values[:, 0], slopes[:, 0])
    return Prediction(values, slopes)
