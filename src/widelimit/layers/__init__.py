"""Layers: each is one description with a finite and an infinite reading."""

from widelimit.layers.activation import Activation
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.dense import Dense, Parameterization
from widelimit.layers.moments import Moments
from widelimit.layers.readout import Readout
from widelimit.layers.residual import Residual
from widelimit.layers.scale import Scale
from widelimit.layers.sequential import Sequential

__all__ = [
    "AbstractLayer",
    "Activation",
    "Dense",
    "Moments",
    "Parameterization",
    "Params",
    "Readout",
    "Residual",
    "Scale",
    "Sequential",
    "Shape",
]
