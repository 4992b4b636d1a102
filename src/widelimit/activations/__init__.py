"""Activation functions, one idea a file."""

from widelimit.activations.base import AbstractActivation
from widelimit.activations.rectifier import LeakyReLU, ReLU
from widelimit.activations.smooth import GELU, Erf, Identity, Tanh

__all__ = ["GELU", "AbstractActivation", "Erf", "Identity", "LeakyReLU", "ReLU", "Tanh"]
