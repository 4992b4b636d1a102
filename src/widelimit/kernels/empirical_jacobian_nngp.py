"""The covariance of a finite network's output and input gradient."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_positive
from widelimit.kernels.empirical_checks import (
    check_network,
    check_params,
    input_pair,
    params_dtype,
)
from widelimit.kernels.empirical_nngp import (
    bytes_of_row,
    check_last,
    features_below,
    last_covariance,
)
from widelimit.kernels.empirical_tiles import in_tiles
from widelimit.kernels.empirical_work import Work, precisely
from widelimit.layers import AbstractLayer, Params
from widelimit.layers.jets import carried, input_jets


def empirical_jacobian_nngp(
    network: AbstractLayer,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    memory: float = 1.0,
) -> Float[np.ndarray, "k l"]:
    r"""Covariance of an output and its gradient over its own weights, given the rest.

    With $h$ the $m$ features that enter the last layer and $s$, $v$ what that layer's
    `moments` do, and $\partial_0 h = h$,

    $$\hat K^J_{\alpha\beta}(x, x') = \frac vm \langle \partial_\alpha h(x),
      \partial_\beta h(x') \rangle + s\,[\alpha = \beta = 0],$$

    which is what products of $\partial_\alpha f(x)$ and $\partial_\beta f(x')$ are on
    average over the last layer's weights (of which no use is made). It tends to
    `jacobian_kernel(..., kind="nngp")`. Given the layers below, outputs and gradients
    are exactly Gaussian with this covariance: how much it varies from one
    initialisation to the next is how far they are from Gaussian.

    Rows are numbered as those of `JacobianKernel`: for every input the value first,
    then its $d$ derivatives (by its entries counted flat), $r = d + 1$ in all. Kinks do
    no harm: only first derivatives are taken.

    Args:
        network: Description of the network; its last layer is `Dense` or `Readout`.
        params: The parameters: a pytree of arrays in float32, or in float64.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`, and the result is then symmetric to the last
            bit.
        memory: Budget in GiB for what the computation needs beside its result, and for
            the result.

    Returns:
        The covariance `n*r m*r`, in the parameters' type.

    Raises:
        ValueError: If the network ends otherwise, the inputs or parameters do not fit
            it or are not finite, or the memory does not suffice.

    References:
        Kim & Yang (2023), Theorem 3, https://arxiv.org/abs/2312.03386
    """
    caller = "empirical_jacobian_nngp"
    check_positive(caller, "memory", memory)
    check_network(caller, network)
    dtype = params_dtype(caller, params)
    a, b = input_pair(caller, x1, x2, dtype)
    check_last(caller, network)
    check_params(caller, network, params, a.shape[1:])
    r = math.prod(a.shape[1:]) + 1
    with jax.enable_x64(dtype == "float64"):
        work = Work(
            lambda x: _jets(network, params, x),
            lambda one, two, same: _covariance(network, one, two, same, r)[None],
            1,
            1,
            row=r * bytes_of_row(network, a.shape[1:], dtype),
            pair=4 * r * r * a.dtype.itemsize,
            entries=r,
        )
        return in_tiles(caller, work, a, b, (), memory)[0]


def empirical_jacobian_nngp_block(
    network: AbstractLayer,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None = None,
) -> Float[Array, "k l"]:
    """`empirical_jacobian_nngp` in one piece, for use inside `jit`, `vmap` and so on.

    Args:
        network: As `empirical_jacobian_nngp`.
        params: The parameters.
        x1: Inputs, one per row, in the parameters' type.
        x2: Inputs; `x1` again if `None`.

    Returns:
        The covariance as a JAX array.

    Raises:
        ValueError: If the network does not end with `Dense` or `Readout`.
    """
    check_last("empirical_jacobian_nngp_block", network)
    one = _jets(network, params, x1)
    two = one if x2 is None else _jets(network, params, x2)
    return _covariance(network, one, two, x2 is None, math.prod(x1.shape[1:]) + 1)


@functools.partial(jax.jit, static_argnums=0)
def _jets(network: AbstractLayer, params: Params, x: Array) -> Float[Array, "k m"]:
    """Features and their derivatives, by input and then by derivative."""
    with precisely():
        jets = carried(lambda z: features_below(network, params, z), input_jets(x))
    return jnp.moveaxis(jets, 0, 1).reshape(-1, *jets.shape[2:])


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _covariance(
    network: AbstractLayer, one: Array, two: Array, same: bool, r: int
) -> Float[Array, "k l"]:
    """The covariance, of which only pairs of values have the last layer's bias."""
    nothing = jnp.zeros_like(one[:1])
    bias = last_covariance(network, nothing, nothing, same=False)[0, 0]
    values = (jnp.arange(len(one)) % r == 0)[:, None] & (jnp.arange(len(two)) % r == 0)
    both = last_covariance(network, one, two, same)
    return jnp.where(values, both, both - bias)
