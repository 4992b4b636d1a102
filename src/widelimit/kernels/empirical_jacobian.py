"""The Jacobian NTK of a finite network."""

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_positive
from widelimit.kernels.empirical import Network
from widelimit.kernels.empirical_checks import check_params, input_pair, params_dtype
from widelimit.kernels.empirical_jacobian_work import jacobian_work
from widelimit.kernels.empirical_tiles import GIB, TilePlan, in_tiles, plan_tiles
from widelimit.kernels.empirical_work import Work
from widelimit.kernels.jacobian.checks import check_second_derivatives
from widelimit.layers import AbstractLayer, Params


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
    caller = "empirical_jacobian_ntk"
    a, b, work, axes = _prepared(
        caller, network, params, x1, x2, output_axes, per_layer, memory
    )
    with jax.enable_x64(a.dtype == "float64"):
        kernel = in_tiles(caller, work, a, b, axes, memory)
    return kernel if per_layer else kernel[0]


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
    caller = "empirical_jacobian_plan"
    a, b, work, axes = _prepared(
        caller, network, params, x1, x2, output_axes, per_layer, memory
    )
    m = None if b is None else len(b)
    return plan_tiles(caller, work, len(a), m, axes, a.dtype.itemsize, memory)


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

    Nothing is checked, and inputs must have the parameters' type.

    Args:
        network: As `empirical_jacobian_ntk`.
        params: The parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart; of a description only.

    Returns:
        The kernel as a JAX array.
    """
    other = x1 if x2 is None else x2
    work = jacobian_work(
        "empirical_jacobian_ntk_block",
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


def _prepared(
    caller: str,
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None,
    output_axes: bool,
    per_layer: bool,
    memory: float,
) -> tuple[np.ndarray, np.ndarray | None, Work, tuple[int, ...]]:
    """The inputs, the way to compute tiles, and the axes of an entry, all checked."""
    check_positive(caller, "memory", memory)
    dtype = params_dtype(caller, params)
    a, b = input_pair(caller, x1, x2, dtype)
    if isinstance(network, AbstractLayer):
        check_second_derivatives(caller, network)
        check_params(caller, network, params, a.shape[1:])
    elif per_layer:
        raise ValueError(
            f"`{caller}` needs a description of the network for `per_layer=True`. Got "
            f"the function {network!r}. Describe it as a `Sequential`."
        )
    n, m = len(a), len(a if b is None else b)
    with jax.enable_x64(dtype == "float64"):
        work = jacobian_work(
            caller,
            network,
            params,
            jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype),
            output_axes=output_axes,
            per_layer=per_layer,
            rows=min(n, m),
            budget=memory * GIB,
        )
    return a, b, work, (work.outputs, work.outputs) if output_axes else ()
