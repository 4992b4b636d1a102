"""The spectrum of a network's limit kernel, with what can be proven about it."""

from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_one_of, finite_inputs
from widelimit.kernels.jacobian import jacobian_kernel
from widelimit.kernels.jacobian.checks import check_regularization
from widelimit.kernels.limit import limit_kernels
from widelimit.kernels.spectrum_extreme import spectrum
from widelimit.kernels.spectrum_result import Spectrum
from widelimit.kernels.spectrum_singular import why_singular
from widelimit.layers import AbstractLayer

KERNELS = ("nngp", "ntk", "jacobian-nngp", "jacobian-ntk")


def network_spectrum(
    network: AbstractLayer,
    x: ArrayLike,
    *,
    kernel: Literal["nngp", "ntk", "jacobian-nngp", "jacobian-ntk"] = "jacobian-ntk",
    regularization: float = 1.0,
    memory: float = 4.0,
    **options: Any,
) -> Spectrum:
    r"""Extreme eigenvalues of the Gram matrix of a network's limit kernel.

    With `"jacobian-ntk"` and regularization 1 the verdict is that on kim2023's
    Assumption 8: whether the smallest eigenvalue of $\Theta(x^{(1:N)}, x^{(1:N)})$ is
    positive. It fails only by proof (`why_singular`): for homogeneous networks, such as
    Theorem 18's of the square, for polynomials of few coefficients, and for equal rows.

    Args:
        network: Description of a fully-connected network.
        x: Inputs, one per row.
        kernel: `"nngp"`, `"ntk"`, `"jacobian-nngp"` or `"jacobian-ntk"`.
        regularization: $\lambda$, by whose root gradients are scaled.
        memory: Budget in GiB for the dense matrix, and for what the kernel needs beside
            its result.
        **options: As `spectrum` takes them.

    Returns:
        The spectrum.

    Raises:
        ValueError: If the inputs do not fit the network, the network has no such
            kernel, $\lambda$ is not in [0, 1], or `spectrum` refuses.

    Example:
        >>> import numpy as np
        >>> from widelimit.activations import Polynomial
        >>> from widelimit.networks import kim2023_network
        >>> square = Polynomial((0, 0, 1))
        >>> net = kim2023_network(depth=1, width=1, activation=square)
        >>> str(network_spectrum(net, np.eye(3), kernel="ntk").verdict)
        'holds'
        >>> str(network_spectrum(net, np.eye(3)).verdict)
        'fails'
    """
    caller = "network_spectrum"
    check_one_of(caller, "kernel", kernel, KERNELS)
    check_regularization(caller, regularization)
    rows = finite_inputs(caller, "x", x, "float64")
    if rows.ndim != 2:
        raise ValueError(
            f"`{caller}` needs inputs that are vectors. Got `x.shape={rows.shape}`. "
            "Flatten images for a fully-connected network; for others call `spectrum` "
            "with `dense_jacobian_kernel`, or with a kernel of `limit_kernels`."
        )
    found: Any
    jacobian = kernel.startswith("jacobian")
    if jacobian:
        found = jacobian_kernel(
            network,
            rows,
            kind="ntk" if kernel.endswith("ntk") else "nngp",
            regularization=regularization,
            memory=memory,
        )
    else:
        pair = limit_kernels(network, rows, ntk=kernel == "ntk", memory=memory)
        found = np.asarray(pair.nngp if pair.ntk is None else pair.ntk)
    why = why_singular(network, rows, jacobian=jacobian, regularization=regularization)
    return spectrum(found, singular=why, memory=memory, **options)
