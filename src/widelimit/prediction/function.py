"""A kernel predictor as a differentiable function, for attacks and the like."""

import functools
from dataclasses import dataclass
from typing import TypedDict

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.jacobian.block import Kind, jacobian_block
from widelimit.kernels.jacobian.pairs import JacobianPairs
from widelimit.kernels.jacobian.products import products
from widelimit.layers import AbstractLayer
from widelimit.prediction.predictor import KernelPredictor


class PredictorParams(TypedDict):
    """What a `PredictorFunction` is made of: its centres and their weights."""

    x: Float[Array, "n d"]
    weights: Float[Array, "n r o"]


@dataclass(frozen=True)
class PredictorFunction:
    """A sum of kernels as a function of parameters and inputs.

    Its derivative by the inputs is that of the kernel in closed form; it has no further
    derivatives, and none by the parameters. Equal descriptions share programs.

    Args:
        network: The network whose kernel it is.
        kind: `"nngp"` or `"ntk"`.
    """

    network: AbstractLayer
    kind: Kind

    def __call__(
        self, params: PredictorParams, x: Float[Array, "m d"]
    ) -> Float[Array, "m o"]:
        """Values for a batch of inputs.

        Args:
            params: Centres and weights.
            x: Inputs, one per row.

        Returns:
            One row of outputs per input.
        """
        return _values(self, params, x)


def as_function(
    predictor: KernelPredictor,
) -> tuple[PredictorFunction, PredictorParams]:
    """A kernel predictor as `attacks.attack` and `attacks.minimal_flip` take models.

    Args:
        predictor: The predictor. Its kernel must be differentiable once on the
            diagonal: any NNGP, and the NTK of smooth networks.

    Returns:
        A function of parameters and inputs, with one column per output, and its
        parameters in the default float type: call it under `jax.enable_x64(True)` for
        the digits of the predictor itself.

    Raises:
        ValueError: If the kernel has no gradient.

    Example:
        >>> import numpy as np
        >>> from widelimit.networks import kim2023_network
        >>> from widelimit.prediction import robust_flow
        >>> x = np.eye(3) + 0.1
        >>> flow = robust_flow(kim2023_network(depth=1, width=1), x, x[:, 0])
        >>> apply, params = as_function(flow.predictor())
        >>> apply(params, jnp.asarray(x)).shape
        (3, 1)
    """
    if not isinstance(predictor, KernelPredictor):
        raise ValueError(
            "`as_function` needs a predictor, such as `robust_flow(...).predictor()` "
            f"or `.descent(...).predictor(steps)`. Got a `{type(predictor).__name__}`."
        )
    if predictor.kind == "ntk" and has_kinks(predictor.network):
        raise ValueError(
            "`as_function` needs a kernel with a gradient. Got the NTK of a network "
            "with kinks, whose gradient is infinite at its own centres. Take the NNGP, "
            "or smooth activations such as `GELU()`."
        )
    return PredictorFunction(predictor.network, predictor.kind), {
        "x": jnp.asarray(predictor.x),
        "weights": jnp.asarray(predictor.weights),
    }


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _values(
    f: PredictorFunction, params: PredictorParams, x: Float[Array, "m d"]
) -> Float[Array, "m o"]:
    return _sums(f, params, x, "value")[:, 0]


def _forward(f, params, x):
    both = _sums(f, params, x, "both")
    return both[:, 0], (params, both[:, 1:])


def _backward(f, kept, cotangents):
    params, gradients = kept
    still = jax.tree.map(jnp.zeros_like, params)
    return still, jnp.einsum("mo,mdo->md", cotangents, gradients)


_values.defvjp(_forward, _backward)


def _sums(f: PredictorFunction, params: PredictorParams, x, row_part):
    centres, weights = params["x"], params["weights"]
    n, r, o = weights.shape
    pairs = JacobianPairs(
        jacobian_block(f.network, x, centres, kind=f.kind),
        x,
        centres,
        row_part=row_part,
        column_part="both" if r > 1 else "value",
    )
    return products(pairs, weights.reshape(n * r, o)).reshape(len(x), -1, o)
