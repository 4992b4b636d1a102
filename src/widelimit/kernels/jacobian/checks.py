"""Named checks of Jacobian kernels' arguments."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_number, check_one_of, finite_inputs
from widelimit.activations import AbstractActivation, Scaled
from widelimit.activations.rectifier import AbstractRectifier
from widelimit.description import Description
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.quadrature import check_duals
from widelimit.layers import AbstractLayer

LOST = 1e-3  # largest share of derivatives that rounding may take


def check_smooth(caller: str, network: AbstractLayer) -> None:
    """Raise unless the network has a Jacobian NTK."""
    for phi in _activations(network):
        if not phi.smooth:
            raise ValueError(
                f"`{caller}` needs smooth activations for derivatives of the NTK. Got "
                f"`{phi}`: with a kink, the Jacobian NTK grows like 1 / |x - x'| "
                "towards x = x', and that of wide finite networks tends to something "
                "else. Use `Erf()`, `GELU()` or another smooth activation; the NNGP "
                "kernel has derivatives with kinks too."
            )


def check_second_derivatives(caller: str, network: Any) -> None:
    r"""Raise unless every activation and layer has a second derivative.

    Gradients of $\partial_x f$ hold $\phi''$, which is zero next to a kink and infinite
    at it; automatic differentiation returns zero and tells nothing.

    Args:
        caller: Name of the public function, for messages.
        network: The network or its method, or any function, of which nothing is known.

    Raises:
        ValueError: If one has not; it is named.
    """
    network = getattr(network, "__self__", network)
    phi, kinks = _kinks(network) if isinstance(network, Description) else (None, False)
    if phi is not None:
        raise ValueError(
            f"`{caller}` needs activations with a second derivative. Got `{phi}`, at "
            "whose kink there is none, so that gradients of the input derivatives do "
            "not say how training moves them. Use `Erf()`, `GELU()` or another smooth "
            "activation."
        )
    if kinks:
        raise ValueError(
            f"`{caller}` needs layers with a second derivative. Got `{network}`, which "
            "takes maxima; where another entry becomes the largest there is none. Pool "
            "by averages."
        )


def check_kinks(caller: str, network: AbstractLayer) -> None:
    """Raise if an activation has kinks whose second derivatives are not known."""
    for phi in _activations(network):
        if not (phi.smooth or isinstance(phi, AbstractRectifier)):
            raise ValueError(
                f"`{caller}` needs activations that are smooth or piecewise linear "
                f"with one kink at zero. Got `{phi}`. Derive it from "
                "`AbstractRectifier`, or declare it smooth if it is."
            )


@functools.lru_cache(maxsize=256)
def _kinks(network: Description) -> tuple[AbstractActivation | None, bool]:
    """The first activation with a kink, and whether anything has one."""
    rough = (phi for phi in _activations(network) if not phi.smooth)
    return next(rough, None), has_kinks(network)


def _activations(value: object) -> Iterator[AbstractActivation]:
    if isinstance(value, Scaled):
        value = value.function
    if isinstance(value, AbstractActivation):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _activations(part)
    elif isinstance(value, Description):
        yield from _activations(tuple(vars(value).values()))


def check_regularization(caller: str, regularization: Any) -> None:
    """Raise unless it is between 0 and 1, as in kim2023."""
    check_number(caller, "regularization", regularization)
    if not 0 <= regularization <= 1:
        raise ValueError(
            f"`{caller}` needs `regularization` between 0 and 1. Got "
            f"`regularization={regularization}`."
        )


def check_pairs(
    caller: str,
    network: Any,
    x1: ArrayLike,
    x2: ArrayLike | None,
    *,
    kind: str,
    dtype: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The two batches, if the network has a Jacobian kernel between them.

    Args:
        caller: Name of the public function, for messages.
        network: Description of the network.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        kind: `"nngp"` or `"ntk"`.
        dtype: `"float64"` or `"float32"`.

    Returns:
        Both as arrays; one and the same if `x2` is `None`.

    Raises:
        ValueError: If something does not fit.
    """
    if not isinstance(network, AbstractLayer):
        raise ValueError(
            f"`{caller}` needs the description of a network, such as "
            f"`networks.mlp(depth=2, width=64)`. Got `network={network!r}`."
        )
    check_one_of(caller, "kind", kind, ("nngp", "ntk"))
    check_one_of(caller, "dtype", dtype, ("float64", "float32"))
    if kind == "ntk":
        check_smooth(caller, network)
    check_kinks(caller, network)
    a = finite_inputs(caller, "x1", x1, dtype)
    b = a if x2 is None else finite_inputs(caller, "x2", x2, dtype)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"`{caller}` needs `x1` and `x2` with the same features. Got "
            f"`x1.shape={a.shape}` and `x2.shape={b.shape}`."
        )
    network.output_shape(a.shape[1:])
    for name, rows in (("x1", a),) if a is b else (("x1", a), ("x2", b)):
        check_duals(caller, network, rows)
        if not has_kinks(network):
            _check_norms(caller, name, rows)
    return a, b


def _check_norms(caller: str, name: str, x: np.ndarray) -> None:
    """Raise where nothing is left of the digits of derivatives."""
    flat = x.reshape(len(x), -1)
    largest = np.abs(flat).max(axis=1)  # squares of huge numbers would overflow
    norms = largest * np.linalg.norm(
        flat / np.where(largest > 0, largest, 1)[:, None], axis=1
    )
    most = float(np.sqrt(LOST / np.finfo(x.dtype).eps))
    row = int(norms.argmax())
    if norms[row] > most:
        raise ValueError(
            f"`{caller}` needs rows of norm at most {most:.2g} in `{name}`: the larger "
            "they are, the more digits their derivatives lose. Got "
            f"a norm of {norms[row]:.3g} in row {row}. Scale the inputs down, as to "
            "norm 1."
        )
