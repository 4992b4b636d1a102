"""Activations by name, as the command line and configurations write them."""

from widelimit._checks import check_one_of
from widelimit.activations.base import AbstractActivation
from widelimit.activations.error_function import GELU, Erf
from widelimit.activations.logistic import Sigmoid, SiLU, Softplus, Tanh
from widelimit.activations.polynomial import Identity, Polynomial
from widelimit.activations.rectifier import Abs, LeakyReLU, ReLU
from widelimit.activations.waves import Cosine, Sine

PLAIN: dict[str, type[AbstractActivation]] = {
    "relu": ReLU,
    "abs": Abs,
    "identity": Identity,
    "erf": Erf,
    "gelu": GELU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "silu": SiLU,
}
WITH_NUMBER: dict[str, type[AbstractActivation]] = {
    "leaky-relu": LeakyReLU,  # slope
    "sine": Sine,  # frequency
    "cosine": Cosine,  # frequency
}
NAMES = (*PLAIN, *WITH_NUMBER, "polynomial")


def activation_named(text: str) -> AbstractActivation:
    """The activation that a name means, case apart.

    Args:
        text: One of `NAMES`. After a colon, `leaky-relu` may have a slope, `sine` and
            `cosine` a frequency, and `polynomial` must have its coefficients, lowest
            power first: `leaky-relu:0.2`, `polynomial:0,0,1`.

    Returns:
        The activation.

    Raises:
        ValueError: If the name is unknown, or what follows the colon does not fit.

    Example:
        >>> activation_named("leaky-relu:0.2")
        LeakyReLU(slope=0.2)
    """
    name, colon, rest = text.strip().lower().partition(":")
    name = name.replace("_", "-")
    check_one_of("activation_named", "name", name, NAMES)
    try:
        numbers = [float(part) for part in rest.split(",")] if colon else []
    except ValueError as error:
        raise ValueError(
            f"`activation_named` needs numbers after the colon. Got {text!r}."
        ) from error
    if name == "polynomial" and numbers:
        return Polynomial(tuple(numbers))
    if name in PLAIN and not colon:
        return PLAIN[name]()
    if name in WITH_NUMBER and len(numbers) <= 1:
        return WITH_NUMBER[name](*numbers)
    raise ValueError(
        f"`activation_named` needs a name with the numbers that it takes: "
        f"{'one' if name in WITH_NUMBER else 'none' if name in PLAIN else 'several'} "
        f"for {name!r}. Got {text!r}."
    )
