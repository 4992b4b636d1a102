"""Layers: each is one description with a finite reading, `init` and `apply`."""

from widelimit.layers.activation import Activation
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.dense import Dense, Parameterization
from widelimit.layers.sequential import Sequential

__all__ = [
    "AbstractLayer",
    "Activation",
    "Dense",
    "Parameterization",
    "Params",
    "Sequential",
    "Shape",
]
