"""Layers: each is one description with a finite and an infinite reading."""

from widelimit.layers.activation import Activation
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.batch_norm import BatchNorm, is_statistic, with_statistics
from widelimit.layers.conv import Conv
from widelimit.layers.dense import Dense
from widelimit.layers.flatten import Flatten
from widelimit.layers.moments import Moments
from widelimit.layers.pool import Pool
from widelimit.layers.readout import Readout
from widelimit.layers.residual import Residual
from widelimit.layers.scale import Scale
from widelimit.layers.sequential import Sequential
from widelimit.layers.weights import Parameterization

__all__ = [
    "AbstractLayer",
    "Activation",
    "BatchNorm",
    "Conv",
    "Dense",
    "Flatten",
    "Moments",
    "Parameterization",
    "Params",
    "Pool",
    "Readout",
    "Residual",
    "Scale",
    "Sequential",
    "Shape",
    "is_statistic",
    "with_statistics",
]
