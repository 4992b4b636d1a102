"""Activation functions with their Gaussian duals, one idea a file."""

from widelimit.activations.accuracy import check_quadrature
from widelimit.activations.base import AbstractActivation, Scaled
from widelimit.activations.custom import Custom
from widelimit.activations.error_function import GELU, Erf
from widelimit.activations.logistic import Sigmoid, SiLU, Softplus, Tanh
from widelimit.activations.names import activation_named
from widelimit.activations.polynomial import Identity, Polynomial
from widelimit.activations.rectifier import Abs, LeakyReLU, ReLU
from widelimit.activations.waves import Cosine, Sine

__all__ = [
    "GELU",
    "Abs",
    "AbstractActivation",
    "Cosine",
    "Custom",
    "Erf",
    "Identity",
    "LeakyReLU",
    "Polynomial",
    "ReLU",
    "Scaled",
    "SiLU",
    "Sigmoid",
    "Sine",
    "Softplus",
    "Tanh",
    "activation_named",
    "check_quadrature",
]
