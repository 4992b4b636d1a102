"""Assumptions 1 (activation), 2 (data) and 8 (full rank) of kim2023."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_finite, check_rows, finite_inputs
from widelimit.activations import AbstractActivation
from widelimit.bounds.base import Assumption
from widelimit.description import Description
from widelimit.kernels import Verdict, network_spectrum
from widelimit.kernels.empirical_checks import check_network
from widelimit.layers import AbstractLayer

_ORDERS = ("phi", "phi'", "phi''")
_ROUNDING = 1e-9  # how far mean squares may be from 1
_UNIT = 1e-5  # how far norms may be, which are often those of single precision


def assumption1(activation: AbstractActivation) -> tuple[Assumption, ...]:
    r"""Assumption 1: a smooth, normalised activation.

    Args:
        activation: $\phi$, as it stands in the network.

    Returns:
        That $\phi$, $\phi'$ and $\phi''$ are Lipschitz continuous, with the constants
        $M_1, M_2, M_3$, and that $E\,\phi(z)^2 = 1$ under $N(0, 1)$.

    Raises:
        ValueError: If it is no activation.
    """
    if not isinstance(activation, AbstractActivation):
        raise ValueError(
            "`assumption1` needs an activation. Got `activation="
            f"{activation!r}`. Give one such as `GELU().normalized()`."
        )
    constants = activation.lipschitz_constants
    statement = "phi, phi' and phi'' are Lipschitz continuous (Assumption 1)"
    told = ", ".join(
        f"M_{k} = {'unknown' if m is None else f'{m:.4g}'}"
        for k, m in enumerate(constants, start=1)
    )
    if any(m is not None and math.isinf(m) for m in constants):
        lipschitz = Assumption.checked(statement, False, told)
    elif None in constants:
        names = [n for n, m in zip(_ORDERS, constants, strict=True) if m is None]
        lipschitz = Assumption.declared(
            statement, f"{told}: not known of {', '.join(names)}"
        )
    else:
        lipschitz = Assumption.checked(statement, True, told)
    square = 1 / activation.c_sigma
    return (
        lipschitz,
        Assumption.checked(
            "phi is normalised, E phi(z)^2 = 1 (Assumption 1)",
            abs(square - 1) <= _ROUNDING,
            f"E phi(z)^2 = {square:.10g}",
        ),
    )


def assumption2(x: ArrayLike, y: ArrayLike | None = None) -> tuple[Assumption, ...]:
    r"""Assumption 2: inputs of norm 1 and targets of size at most 1.

    Args:
        x: Inputs, one per row; training inputs, or those where a function is predicted.
        y: Targets, if there are any.

    Returns:
        Both parts.

    Raises:
        ValueError: If the inputs are not rows of finite numbers, or the targets are not
            finite or not one for each.
    """
    rows = finite_inputs("assumption2", "x", x, "float64")
    check_rows("assumption2", "x", rows)
    norms = np.linalg.norm(rows, axis=1)
    found = [
        Assumption.checked(
            "every input has unit norm (Assumption 2)",
            bool(np.abs(norms - 1).max() <= _UNIT),
            f"norms from {norms.min():.9g} to {norms.max():.9g}",
        )
    ]
    if y is not None:
        targets = _numbers(y)
        check_finite("assumption2", "y", targets)
        if len(targets) != len(rows):
            raise ValueError(
                "`assumption2` needs one target per input. Got "
                f"`x.shape={rows.shape}` and `y.shape={targets.shape}`."
            )
        largest = float(np.abs(targets).max())
        found.append(
            Assumption.checked(
                "every target has |y| <= 1 (Assumption 2)",
                largest <= 1,
                f"largest |y| = {largest:.6g}",
            )
        )
    return tuple(found)


def assumption8(network: AbstractLayer, x: ArrayLike, **options: Any) -> Assumption:
    r"""Assumption 8: a positive smallest eigenvalue of the limiting Jacobian NTK.

    Args:
        network: Description of a fully-connected network of smooth activations.
        x: Training inputs, one per row.
        **options: As of `network_spectrum`, such as `memory`.

    Returns:
        The assumption: checked, or unresolved where double precision cannot tell.

    Raises:
        ValueError: If it is no network or has no Jacobian NTK, or the inputs do not
            fit it.
    """
    check_network("assumption8", network)
    found = network_spectrum(network, x, kernel="jacobian-ntk", **options)
    statement = (
        "the Gram matrix of the Jacobian NTK is positive definite (Assumption 8)"
    )
    if found.verdict is Verdict.UNRESOLVED:
        return Assumption.unresolved(statement, found.why)
    return Assumption.checked(statement, found.verdict is Verdict.HOLDS, found.why)


def assumptions(
    network: AbstractLayer, x: ArrayLike, y: ArrayLike | None = None, **options: Any
) -> tuple[Assumption, ...]:
    r"""All assumptions of the theorems on a network and its data.

    Args:
        network: Description of a fully-connected network, such as `kim2023_network`.
        x: Training inputs, one per row.
        y: Targets, if there are any.
        **options: As of `network_spectrum`, such as `memory`.

    Returns:
        Assumption 1 for each kind of activation, 2, and 8, which fails where kinks
        leave no Jacobian NTK.

    Raises:
        ValueError: If it is no network, or the inputs do not fit it.

    Example:
        >>> from widelimit.datasets import sphere_lattice
        >>> from widelimit.networks import kim2023_network
        >>> found = assumptions(kim2023_network(depth=3, width=1), sphere_lattice(9, 3))
        >>> [a.holds for a in found]
        [True, True, True, True]
    """
    check_network("assumptions", network)
    kinds = dict.fromkeys(_activations(network))
    first = [part for phi in kinds for part in assumption1(phi)]
    second = assumption2(x, y)
    if all(phi.smooth for phi in kinds):
        last = assumption8(network, x, **options)
    else:
        last = Assumption.checked(
            "the Jacobian NTK has a limit (Assumption 8)",
            False,
            "the NTK of a network with kinks has no mixed derivative at x = x'",
        )
    return (*first, *second, last)


def _numbers(y: Any) -> np.ndarray:
    """The targets as an array of numbers."""
    try:
        found = np.asarray(y)
    except ValueError:  # rows of several lengths
        found = np.asarray(None)
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        raise ValueError(
            "`assumption2` needs targets that are real numbers, one or one row for "
            f"each input. Got `y={y!r}`."
        )
    return found.astype(float)


def _activations(value: Any) -> list[AbstractActivation]:
    if isinstance(value, AbstractActivation):
        return [value]
    if isinstance(value, tuple):
        return [phi for part in value for phi in _activations(part)]
    if not isinstance(value, Description):
        return []
    fields = dataclasses.fields(value)  # pyright: ignore[reportArgumentType]
    return [phi for f in fields for phi in _activations(getattr(value, f.name))]
