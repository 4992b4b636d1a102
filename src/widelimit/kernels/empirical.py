"""The tangent kernel of a finite network."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_positive
from widelimit.kernels.empirical_checks import check_params, input_pair, params_dtype
from widelimit.kernels.empirical_tiles import GIB, in_tiles
from widelimit.kernels.empirical_work import work_for
from widelimit.layers import AbstractLayer, Params

Network = AbstractLayer | Callable[[Any, Any], Any]


def empirical_ntk(
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    output_axes: bool = False,
    per_layer: bool = False,
    memory: float = 1.0,
) -> Float[np.ndarray, "*kernel"]:
    r"""Inner products of the gradients of a network's outputs by its parameters.

    $$\hat\Theta_{ab}(x, x') = \langle \nabla_w f_a(x), \nabla_w f_b(x') \rangle
      \quad \text{or} \quad
      \hat\Theta(x, x') = \frac1o \sum_a \hat\Theta_{aa}(x, x'),$$

    the second of which tends to the `ntk` of `limit_kernels` as widths grow [1]. With
    $\delta$ the derivatives of the outputs by what layer $h$ gives and $x^{(h)}$ what
    it takes, a dense layer adds
    $c^2 \langle x_i^{(h)}, x_j^{(h)} \rangle \langle \delta_{ia}, \delta_{jb} \rangle$:
    no array has as many columns as there are weights. A convolutional layer does the
    same by pairs of positions, or has its weights' gradients contracted, whichever is
    cheaper; any other function has products with its Jacobian, or the same.

    Values are computed in the type of the parameters, in tiles of rows. Without `x2`
    the kernel is symmetric to the last bit. Parameters that are not trained
    (`Readout`) have no part in it.

    Args:
        network: Description of the network; or any function of parameters and a batch
            whose rows do not influence each other, to outputs `(n, o)` (or `(n,)`, or
            with several axes of outputs). Pass the same function again and it is not
            compiled anew.
        params: The parameters: a pytree of arrays in float32, or in float64.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs (counted flat).
        per_layer: Whether to keep layers apart: one block for each that has parameters,
            in order, $G^{(h)}$ of du2019; they add up to the kernel.
        memory: Budget in GiB for what the computation needs beside its result, and for
            the result.

    Returns:
        The kernel, with axes `n m`; layers in front with `per_layer`, outputs `o o`
        behind with `output_axes`.

    Raises:
        ValueError: If the inputs differ in shape, hold no rows or numbers that are not
            finite, the parameters are not those of the network or none is trained, the
            memory does not suffice, layers of a function are asked for, a function
            does not give outputs for each row, or the kernel is not finite.

    Example:
        >>> import jax, numpy as np
        >>> from widelimit.networks import mlp
        >>> net = mlp(depth=2, width=64)
        >>> params = net.init(jax.random.key(0), (3,))
        >>> empirical_ntk(net, params, np.eye(3), per_layer=True).shape
        (3, 3, 3)

    References:
        [1] Jacot et al. (2018), Theorem 1, https://arxiv.org/abs/1806.07572
    """
    caller = "empirical_ntk"
    check_positive(caller, "memory", memory)
    dtype = params_dtype(caller, params)
    a, b = input_pair(caller, x1, x2, dtype)
    if isinstance(network, AbstractLayer):
        check_params(caller, network, params, a.shape[1:])
    elif per_layer:
        raise ValueError(
            f"`{caller}` needs a description of the network for `per_layer=True`. Got "
            f"the function {network!r}. Describe it as a `Sequential`."
        )
    n, m = len(a), len(a if b is None else b)
    with jax.enable_x64(dtype == "float64"):
        work = work_for(
            network,
            params,
            jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype),
            output_axes=output_axes,
            per_layer=per_layer,
            rows=min(n, m),
            budget=memory * GIB,
        )
        axes = (work.outputs, work.outputs) if output_axes else ()
        kernel = in_tiles(caller, work, a, b, axes, memory)
    return kernel if per_layer else kernel[0]


def empirical_ntk_block(
    network: Network,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None = None,
    *,
    output_axes: bool = False,
    per_layer: bool = False,
) -> Float[Array, "*kernel"]:
    """`empirical_ntk` in one piece, for use inside `jit`, `vmap`, `scan` and so on.

    Nothing is checked, and inputs must have the parameters' type.

    Args:
        network: As `empirical_ntk`.
        params: The parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart; of a description only.

    Returns:
        The kernel as a JAX array.
    """
    other = x1 if x2 is None else x2
    work = work_for(
        network,
        params,
        jax.ShapeDtypeStruct((1, *x1.shape[1:]), x1.dtype),
        output_axes=output_axes,
        per_layer=per_layer,
        rows=min(len(x1), len(other)),
    )
    one = work.factors(x1)
    two = one if x2 is None else work.factors(x2)
    kernel = work.products(one, two, x2 is None)
    return kernel if per_layer else kernel[0]
