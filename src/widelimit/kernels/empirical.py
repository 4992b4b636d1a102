"""The tangent kernel of a finite network."""

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit.kernels.empirical_request import Network, Request, in_one_piece
from widelimit.kernels.empirical_work import work_for
from widelimit.layers import Params


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
    return Request.of(
        "empirical_ntk",
        work_for,
        network,
        params,
        x1,
        x2,
        output_axes=output_axes,
        per_layer=per_layer,
        memory=memory,
    ).kernel()


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
    return in_one_piece(
        work_for,
        network,
        params,
        x1,
        x2,
        output_axes=output_axes,
        per_layer=per_layer,
    )
