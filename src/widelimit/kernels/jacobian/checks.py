"""Named checks of Jacobian kernels' arguments."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_one_of, finite_inputs
from widelimit.activations import AbstractActivation, Scaled
from widelimit.activations.rectifier import AbstractRectifier
from widelimit.description import Description
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.quadrature import check_duals
from widelimit.layers import AbstractLayer


def check_smooth(caller: str, network: AbstractLayer) -> None:
    """Raise unless the network has a Jacobian NTK."""
    if has_kinks(network):
        raise ValueError(
            f"`{caller}` needs smooth activations for `kind='ntk'`. Got `{network}`: "
            "with a kink, the Jacobian NTK grows like 1 / |x - x'| towards x = x', and "
            "that of wide finite networks tends to something else. Use `Erf()`, "
            "`GELU()` or another smooth activation, or `kind='nngp'`, which exists."
        )


def check_second_derivatives(caller: str, network: AbstractLayer) -> None:
    r"""Raise unless every activation has a second derivative.

    Gradients of $\partial_x f$ hold $\phi''$, which is zero next to a kink and infinite
    at it; automatic differentiation returns zero and tells nothing.

    Args:
        caller: Name of the public function, for messages.
        network: The network.

    Raises:
        ValueError: If one has not; it is named.
    """
    for phi in _activations(network):
        if not phi.smooth:
            raise ValueError(
                f"`{caller}` needs activations with a second derivative. Got `{phi}`, "
                "at whose kink there is none, so that gradients of the input "
                "derivatives do not say how training moves them. Use `Erf()`, `GELU()` "
                "or another smooth activation."
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


def check_regularization(caller: str, regularization: float) -> None:
    """Raise unless it is between 0 and 1, as in kim2023."""
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
    for rows in (a,) if a is b else (a, b):
        check_duals(caller, network, rows)
    return a, b
