"""Activations with their references in mpmath."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import mpmath

from widelimit import activations
from widelimit.accuracy import closed_forms, logistic_duals
from widelimit.accuracy.closed_forms import Orders, Partials
from widelimit.accuracy.real import Real
from widelimit.activations import AbstractActivation

QUANTITIES: dict[str, Orders] = {
    "dual": (0, 0, 0),
    "dual by c": (1, 0, 0),
    "dual by p": (0, 1, 0),
    "dual by q": (0, 0, 1),
    "dual_derivative": (1, 0, 0),
    "dual_derivative by c": (2, 0, 0),
    "dual_derivative by p": (1, 1, 0),
    "dual_derivative by q": (1, 0, 1),
}
"""What is compared at moments, and which derivative of the dual it is."""

EVERYTHING = frozenset(QUANTITIES)
VALUES = frozenset({"dual", "dual_derivative"})


@dataclass(frozen=True)
class Case:
    """An activation, and what is known about it from elsewhere.

    Args:
        activation: The activation under test.
        function: The same function in mpmath.
        partials: Partial derivatives of its dual in mpmath.
        zeros: Quantities that change sign somewhere by cancellation, near which only
            the absolute error is small.
        mean: Its Gaussian mean, where integrals of `function` will not do.
        slow: Whether the reference is so slow that it takes fewer points.
        label: A name, where the activation does not print well.
    """

    activation: AbstractActivation
    function: Callable[[Real], Real]
    partials: Partials
    zeros: frozenset[str] = frozenset()
    mean: Callable[[Real], Real] | None = None
    slow: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.label or str(self.activation)


def logistic(z: Real) -> Real:
    r"""$1 / (1 + e^{-z})$.

    Args:
        z: Argument.

    Returns:
        The value.
    """
    return 1 / (1 + mpmath.exp(-z))


def _rectifier(activation: AbstractActivation, a: float, zeros=frozenset()) -> Case:
    def function(z):
        return z if z > 0 else mpmath.mpf(a) * z

    return Case(activation, function, closed_forms.rectifier(a), zeros)


def _polynomial(activation: AbstractActivation, coefficients, zeros) -> Case:
    def function(z):
        return mpmath.fsum(mpmath.mpf(a) * z**j for j, a in enumerate(coefficients))

    return Case(activation, function, closed_forms.polynomial(coefficients), zeros)


def _scaled(case: Case) -> Case:
    factor = math.sqrt(case.activation.c_sigma)
    activation = activations.Scaled(case.activation, factor)

    def partials(c, p, q, orders):
        found = case.partials(c, p, q, orders)
        return {order: mpmath.mpf(factor) ** 2 * v for order, v in found.items()}

    return Case(
        activation,
        lambda z: factor * case.function(z),
        partials,
        case.zeros,
        label=f"{case.name}.normalized()",
    )


def _gelu() -> Case:
    return Case(
        activations.GELU(),
        lambda z: z * mpmath.ncdf(z),
        closed_forms.by_differences(closed_forms.gelu),
        EVERYTHING,
    )


def cases() -> tuple[Case, ...]:
    """All activations, each with its reference."""
    a = activations
    erf = closed_forms.by_differences(closed_forms.error_function)
    mixed = (0.4, -0.7, 0.2, 0.1)
    return (
        _rectifier(a.ReLU(), 0.0),
        _rectifier(a.LeakyReLU(0.3), 0.3, frozenset({"dual"})),
        _rectifier(a.LeakyReLU(-1.2), -1.2, VALUES),
        _rectifier(a.Abs(), -1.0),
        _polynomial(a.Identity(), (0.0, 1.0), frozenset()),
        _polynomial(a.Polynomial((0, 0, 1)), (0.0, 0.0, 1.0), frozenset()),
        _polynomial(a.Polynomial(mixed), mixed, EVERYTHING),
        Case(a.Erf(), mpmath.erf, erf),
        _gelu(),
        _scaled(_gelu()),
        Case(
            a.Sine(1.3),
            lambda z: mpmath.sin(mpmath.mpf(1.3) * z),
            closed_forms.sine(1.3),
            mean=lambda q: mpmath.mpf(0),
        ),
        Case(
            a.Cosine(0.7),
            lambda z: mpmath.cos(mpmath.mpf(0.7) * z),
            closed_forms.cosine(0.7),
            mean=lambda q: mpmath.exp(-(mpmath.mpf(0.7) ** 2) * q / 2),
        ),
        Case(a.Tanh(), mpmath.tanh, logistic_duals.tanh, slow=True),
        Case(a.Sigmoid(), logistic, logistic_duals.sigmoid, slow=True),
        Case(
            a.Softplus(),
            lambda z: z / 2 + logistic_duals.softplus_core(z),
            logistic_duals.softplus,
            slow=True,
        ),
        Case(
            a.SiLU(),
            lambda z: z * logistic(z),
            logistic_duals.silu,
            EVERYTHING,
            slow=True,
        ),
        Case(
            a.Custom(jnp.tanh),
            mpmath.tanh,
            logistic_duals.tanh,
            slow=True,
            label="Custom(jnp.tanh)",
        ),
    )
