"""Jacobian kernels of infinitely wide networks."""

from jaxtyping import ArrayLike

from widelimit.kernels.aligned import aligned
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.jacobian.block import Kind
from widelimit.kernels.jacobian.block_operator import JacobianKernel
from widelimit.kernels.jacobian.checks import check_pairs, check_regularization
from widelimit.kernels.jacobian.scalars import JacobianScalars
from widelimit.kernels.jacobian.tiles import all_scalars
from widelimit.layers import AbstractLayer


def jacobian_kernel(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    kind: Kind = "ntk",
    regularization: float = 1.0,
    memory: float = 1.0,
    dtype: str = "float64",
) -> JacobianKernel:
    r"""The Jacobian NNGP kernel or Jacobian NTK of a fully-connected network.

    As widths go to infinity, a network and its input gradient become jointly Gaussian
    at initialisation, with the covariance of the Jacobian NNGP kernel [1, Thm. 3]; and
    training it on values and gradients follows the Jacobian NTK [1, Thm. 7]. With
    $k$ the NNGP kernel or the NTK, both have the blocks

    $$\begin{pmatrix} k & \partial_{x'} k^\top \\
      \partial_x k & \partial_x \partial_{x'} k \end{pmatrix}(x, x').$$

    (The paper's recursion for $\Sigma$ misses dots over some $\phi$; its Theorem 4 is
    what is meant.) $k$ depends on three inner products of the inputs, so that eight
    numbers per pair hold the block: memory is that of eight `n x m` arrays, whatever
    the number of features.

    Of rectifiers only the Jacobian NNGP kernel exists. The derivatives of their NTK are
    infinite at $x = x'$, and elsewhere they are not what the Jacobian NTK of wide
    networks tends to.

    Args:
        network: Description of a network of dense layers, activations, scales, residual
            branches and read-outs.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        kind: `"nngp"` or `"ntk"`.
        regularization: $\lambda$ of kim2023: gradients are scaled by its root.
        memory: Budget in GiB for what the computation needs beside its result.
        dtype: `"float64"`, or `"float32"`.

    Returns:
        The kernel as an operator; `.dense()` forms the matrix.

    Raises:
        ValueError: If the inputs differ in features, hold no rows or numbers that are
            not finite or are no vectors, the network has no such kernel,
            `regularization` is not between 0 and 1, or the numbers do not fit into the
            memory.

    Example:
        >>> import numpy as np
        >>> from widelimit.activations import GELU
        >>> from widelimit.networks import mlp
        >>> net = mlp(depth=2, width=1, activation=GELU())
        >>> kernel = jacobian_kernel(net, np.eye(3), kind="nngp")
        >>> kernel.shape, kernel.dense().shape
        ((12, 12), (12, 12))

    References:
        [1] Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """
    caller = "jacobian_kernel"
    check_regularization(caller, regularization)
    a, b = check_pairs(caller, network, x1, x2, kind=kind, dtype=dtype)
    a, b = aligned(a), None if a is b else aligned(b)
    b = a if b is None else b
    scalars = all_scalars(caller, network, a, b, kind=kind, memory=memory)
    one = float(regularization)
    return JacobianKernel(
        scalars=scalars,
        x1=a,
        x2=b,
        row_regularization=one,
        column_regularization=one,
        same=a is b,
    )


def jacobian_scalars(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    kind: Kind = "ntk",
    memory: float = 1.0,
    dtype: str = "float64",
) -> JacobianScalars:
    r"""The kernel of a fully-connected network with its derivatives by inner products.

    $k$, $k_a$, $k_b$, $k_c$, $k_{ab}$, $k_{ac}$, $k_{bc}$ and $k_{cc}$ with
    $a = \langle x, x \rangle$, $b = \langle x', x' \rangle$ and
    $c = \langle x, x' \rangle$ (not divided by the number of features).

    Args:
        network: As in `jacobian_kernel`.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        kind: `"nngp"` or `"ntk"`.
        memory: As in `jacobian_kernel`.
        dtype: As in `jacobian_kernel`.

    Returns:
        The eight arrays.

    Raises:
        ValueError: As `jacobian_kernel`, and for activations with a kink, whose
            $k_{cc}$ is infinite at $x = x'$.
    """
    caller = "jacobian_scalars"
    a, b = check_pairs(caller, network, x1, x2, kind=kind, dtype=dtype)
    if has_kinks(network):
        raise ValueError(
            f"`{caller}` needs smooth activations. With kinks second derivatives are "
            "infinite one by one. Use `jacobian_kernel`, in whose blocks they cancel."
        )
    found = all_scalars(caller, network, a, b, kind=kind, memory=memory)
    assert isinstance(found, JacobianScalars)
    return found
