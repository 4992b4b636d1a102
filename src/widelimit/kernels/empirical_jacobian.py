"""The Jacobian NTK of a finite network."""

import functools

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit.kernels.empirical_jacobian_work import jacobian_work
from widelimit.kernels.empirical_request import Network, Request, in_one_piece
from widelimit.kernels.empirical_tiles import TilePlan
from widelimit.kernels.jacobian.checks import check_second_derivatives
from widelimit.layers import Params


def empirical_jacobian_ntk(
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    output_axes: bool = False,
    per_layer: bool = False,
    memory: float = 1.0,
) -> Float[np.ndarray, "*kernel"]:
    r"""Inner products of the parameter gradients of outputs and of input derivatives.

    With $\partial_0 f = f$ and $\partial_\alpha$ the derivative by input coordinate
    $\alpha$ [1, Def. 5],

    $$\hat\Theta^J_{\alpha\beta, ab}(x, x') = \langle \nabla_w \partial_\alpha f_a(x),
      \nabla_w \partial_\beta f_b(x') \rangle,$$

    or the mean over $a = b$, which tends to `jacobian_kernel(..., kind="ntk")` as
    widths grow [1, Thm. 7]; its entries at $\alpha = \beta = 0$ are `empirical_ntk`.

    With $x^{(h)}$ what a dense layer takes and $\delta$ the derivatives of the outputs
    by what it gives, the gradient of $\partial_\alpha f$ is the sum of two outer
    products, $\dot x_\alpha \delta^\top + x \dot\delta_\alpha^\top$ [1, App. H, Eq.
    (12) to (16)]. Inner products of those are products of entries of two Gram matrices,
    of $x$ with its forward tangents and of $\delta$ with its derivatives: no array has
    a column for every weight. Layers without such a structure have their gradients and
    these gradients' derivatives contracted, row by row; any function has products with
    the Jacobian of $[f; \partial_x f]$, or the same.

    Rows are numbered as those of `JacobianKernel`: for every input the value first,
    then its $d$ derivatives (by its entries counted flat), $r = d + 1$ in all.

    Values are computed in the type of the parameters. Without `x2` the kernel is
    symmetric to the last bit. `empirical_jacobian_plan` says beforehand what it takes;
    for products without the matrix there is `empirical_jacobian_operator`.

    Args:
        network: Description of the network; or any function of parameters and a batch
            whose rows do not influence each other, to outputs `(n, o)` (or `(n,)`, or
            with several axes of outputs), whose second derivatives exist.
        params: The parameters: a pytree of arrays in float32, or in float64.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs (counted flat).
        per_layer: Whether to keep layers apart: one block for each that has parameters.
        memory: Budget in GiB for what the computation needs beside its result, and for
            the result.

    Returns:
        The kernel `n*r m*r`; layers in front with `per_layer`, outputs `o o` behind
        with `output_axes`.

    Raises:
        ValueError: If an activation has a kink, the inputs differ in shape, hold no
            rows or numbers that are not finite, the parameters are not those of the
            network or none is trained, the memory does not suffice, layers of a
            function are asked for, a function does not give outputs for each row, or
            the kernel is not finite.

    Example:
        >>> import jax, numpy as np
        >>> from widelimit.networks import kim2023_network
        >>> net = kim2023_network(depth=2, width=64)
        >>> params = net.init(jax.random.key(0), (3,))
        >>> empirical_jacobian_ntk(net, params, np.eye(3)).shape
        (12, 12)

    References:
        [1] Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """
    return _request(
        "empirical_jacobian_ntk",
        network,
        params,
        x1,
        x2,
        output_axes,
        per_layer,
        memory,
    ).kernel()


def empirical_jacobian_plan(
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    output_axes: bool = False,
    per_layer: bool = False,
    memory: float = 1.0,
) -> TilePlan:
    """What `empirical_jacobian_ntk` would take: bytes and tiles; nothing is computed.

    Args:
        network: As in `empirical_jacobian_ntk`.
        params: The parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart.
        memory: Budget in GiB.

    Returns:
        The plan; `str` of it is a line to print.

    Raises:
        ValueError: As `empirical_jacobian_ntk`, but for what only its values tell.
    """
    return _request(
        "empirical_jacobian_plan",
        network,
        params,
        x1,
        x2,
        output_axes,
        per_layer,
        memory,
    ).plan()


def empirical_jacobian_ntk_block(
    network: Network,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None = None,
    *,
    output_axes: bool = False,
    per_layer: bool = False,
) -> Float[Array, "*kernel"]:
    """`empirical_jacobian_ntk` in one piece, for use inside `jit`, `vmap` and so on.

    Nothing is checked but kinks, and inputs must have the parameters' type.

    Args:
        network: As `empirical_jacobian_ntk`.
        params: The parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart; of a description only.

    Returns:
        The kernel as a JAX array.

    Raises:
        ValueError: If an activation has a kink.
    """
    caller = "empirical_jacobian_ntk_block"
    check_second_derivatives(caller, network)
    return in_one_piece(
        functools.partial(jacobian_work, caller),
        network,
        params,
        x1,
        x2,
        output_axes=output_axes,
        per_layer=per_layer,
    )


def _request(
    caller: str,
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None,
    output_axes: bool,
    per_layer: bool,
    memory: float,
) -> Request:
    check_second_derivatives(caller, network)
    return Request.of(
        caller,
        functools.partial(jacobian_work, caller),
        network,
        params,
        x1,
        x2,
        output_axes=output_axes,
        per_layer=per_layer,
        memory=memory,
    )
