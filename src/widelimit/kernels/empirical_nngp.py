"""The covariance of a finite network's output, its last layer averaged out."""

import functools

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
from widelimit.kernels.empirical_moments import feature_moments
from widelimit.kernels.empirical_tiles import in_tiles
from widelimit.kernels.empirical_work import Work, mirrored, precisely
from widelimit.layers import (
    AbstractLayer,
    Dense,
    Params,
    Readout,
    Sequential,
    Shape,
)
from widelimit.layers.gradients import Tap


def empirical_nngp(
    network: AbstractLayer,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    memory: float = 1.0,
) -> Float[np.ndarray, "n m"]:
    r"""Covariance of one output over its own weights, given the layers below.

    With $h$ the $m$ features that enter the last layer and $s$, $v$ what that layer's
    `moments` do,

    $$\hat K(x, x') = \frac vm \langle h(x), h(x') \rangle + s,$$

    which is what products of outputs $f(x) f(x')$ are on average over the last layer's
    weights (of which no use is made). It tends to the `nngp` of `limit_kernels`.

    Args:
        network: Description of the network; its last layer is `Dense` or `Readout`.
        params: The parameters: a pytree of arrays in float32, or in float64.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`, and the result is then symmetric to the last
            bit.
        memory: Budget in GiB for what the computation needs beside its result, and for
            the result.

    Returns:
        The covariance, in the parameters' type.

    Raises:
        ValueError: If the network ends otherwise, the inputs or parameters do not fit
            it or are not finite, or the memory does not suffice.
    """
    caller = "empirical_nngp"
    check_positive(caller, "memory", memory)
    check_network(caller, network)
    dtype = params_dtype(caller, params)
    a, b = input_pair(caller, x1, x2, dtype)
    check_last(caller, network)
    check_params(caller, network, params, a.shape[1:])
    with jax.enable_x64(dtype == "float64"):
        work = Work(
            lambda x: _features(network, params, x),
            lambda one, two, same: last_covariance(network, one, two, same)[None],
            1,
            1,
            row=bytes_of_row(network, a.shape[1:], dtype),
            pair=3 * a.dtype.itemsize,
        )
        return in_tiles(caller, work, a, b, (), memory)[0]


def empirical_nngp_block(
    network: AbstractLayer,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None = None,
) -> Float[Array, "n m"]:
    """`empirical_nngp` in one piece, for use inside `jit`, `vmap`, `scan` and so on.

    Args:
        network: As `empirical_nngp`.
        params: The parameters.
        x1: Inputs, one per row, in the parameters' type.
        x2: Inputs; `x1` again if `None`.

    Returns:
        The covariance as a JAX array.

    Raises:
        ValueError: If the network does not end with `Dense` or `Readout`.
    """
    check_last("empirical_nngp_block", network)
    one = _features(network, params, x1)
    two = one if x2 is None else _features(network, params, x2)
    return last_covariance(network, one, two, x2 is None)


def ends_at_random(network: AbstractLayer) -> bool:
    """Whether the last layer is one whose weights `empirical_nngp` averages out."""
    return isinstance(_last(network), Dense | Readout)


def _last(network: AbstractLayer) -> AbstractLayer:
    while isinstance(network, Sequential):
        network = network.layers[-1]
    return network


def check_last(caller: str, network: AbstractLayer) -> None:
    """Refuse a network whose last layer is not one that can be averaged out.

    Args:
        caller: Function to name.
        network: The network.

    Raises:
        ValueError: If it is not.
    """
    if not ends_at_random(network):
        raise ValueError(
            f"`{caller}` needs a network whose last layer is `Dense` or `Readout`. Got "
            f"`{_last(network)}`. Leave out what follows the last of these."
        )


def features_below(
    network: AbstractLayer, params: Params, x: Array, tap: Tap | None = None
) -> Array:
    """The features that enter the last layer.

    Args:
        network: The network.
        params: Its parameters.
        x: Inputs, one per row.
        tap: As of `AbstractLayer.apply_tapped`.

    Returns:
        The features, one row each.
    """
    while isinstance(network, Sequential):
        for layer, p in zip(network.layers[:-1], params[:-1], strict=True):
            x = layer.apply(p, x) if tap is None else layer.apply_tapped(p, x, tap)
        network, params = network.layers[-1], params[-1]
    return x


@functools.partial(jax.jit, static_argnums=0)
def _features(network, params, x):
    with precisely():
        return features_below(network, params, x)


@functools.partial(jax.jit, static_argnums=(0, 3))
def last_covariance(
    network: AbstractLayer,
    one: Float[Array, "n m"],
    two: Float[Array, "k m"],
    same: bool,
) -> Float[Array, "n k"]:
    """Covariance of an output from the features that enter the last layer.

    Args:
        network: The network.
        one: Features of some inputs.
        two: Those of others.
        same: Whether these are the same, and the result symmetric.

    Returns:
        The covariance.
    """
    with precisely():
        m = _last(network).moments(feature_moments(one, two, joint=False))
    return mirrored(m.cross[None], 1)[0] if same else m.cross


@functools.lru_cache(maxsize=256)
def bytes_of_row(network: AbstractLayer, shape: Shape, dtype: str) -> int:
    """Bytes of what one row makes on the way to the last layer.

    Args:
        network: The network.
        shape: Shape of one input.
        dtype: Type of its numbers.

    Returns:
        The bytes.
    """
    arrays = []

    def count(layer, params, x, y):
        arrays.extend((x.size, y.size))
        return y

    def run(key):
        params = network.init(key, shape)
        return features_below(network, params, jnp.zeros((1, *shape)), count)

    out = jax.eval_shape(run, jax.random.key(0))
    return (sum(arrays) + 2 * out.size) * np.dtype(dtype).itemsize
