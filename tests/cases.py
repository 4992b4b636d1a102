"""The tables that the tests share."""

import re
from math import sqrt

from widelimit.activations import (
    GELU,
    Abs,
    Cosine,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Scaled,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
)
from widelimit.layers import Activation, Dense, Parameterization, Sequential
from widelimit.networks import mlp, zhu2022_network


def shown(value):
    """`repr` without addresses, which differ between processes."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


def label(value):
    """A short name of a layer or network, for test ids."""
    if isinstance(value, Sequential):
        return ">".join(map(label, value.layers))
    if isinstance(value, Activation):
        return type(value.function).__name__
    return f"{value.features}-{value.parameterization.value}-{value.bias_std}"


ACTIVATIONS = [
    ReLU(),
    LeakyReLU(),
    LeakyReLU(slope=0.3),
    LeakyReLU(slope=-1.2),
    Identity(),
    Erf(),
    GELU(),
    Tanh(),
    Abs(),
    Sine(1.3),
    Cosine(0.7),
    Polynomial((0.4, -0.7, 0.2, 0.1)),
    Polynomial((0, 0, 1)),
    Sigmoid(),
    Softplus(),
    SiLU(),
    Scaled(GELU(), -1.7),
]

PARAMETERIZATIONS = list(Parameterization)

# Every parameterization, without a bias and with one.
DENSE = [
    Dense(
        4,
        weight_std=1.3,
        bias_std=bias_std,
        scale=-0.6,
        parameterization=parameterization,
    )
    for parameterization in PARAMETERIZATIONS
    for bias_std in (None, 0.0, 0.7)
]

NETWORKS = [
    mlp(depth=0, width=6, outputs=2),
    mlp(depth=1, width=6, outputs=3, bias_std=0.4),
    mlp(
        depth=2,
        width=3,
        outputs=4,
        activation=GELU(),
        weight_std=1.2,
        bias_std=0.3,
        parameterization=Parameterization.NTK,
    ),
    zhu2022_network(depth=3, width=6, outputs=2, initialization="ntk", alpha=1.7),
    zhu2022_network(
        depth=2, width=7, outputs=3, initialization="non-lazy", exponent=0.8
    ),
    Sequential(
        (
            Sequential((Dense(6, bias_std=0.2), Activation(LeakyReLU(0.2)))),
            Dense(2, scale=0.5, parameterization=Parameterization.NTK),
            Activation(Tanh()),
        )
    ),
]


# zhu2022, Table 1 and Sec. 5.1: beta_1, beta_2 ... beta_(L-1) and beta_L from the
# numbers of inputs d, hidden units m and outputs o. The non-lazy exponent is 2.
BETAS = {
    "he": lambda d, m, o: (sqrt(2 / d), sqrt(2 / m), sqrt(2 / m)),
    "lecun": lambda d, m, o: (sqrt(1 / d), sqrt(1 / m), sqrt(1 / m)),
    "ntk": lambda d, m, o: (sqrt(2 / m), sqrt(2 / m), sqrt(1 / o)),
    "non-lazy": lambda d, m, o: (m**-2.0, m**-2.0, m**-2.0),
}


# Moments (c, p, q) of Gaussian pairs. Both signs, unequal variances, parallel and
# opposite, and closer and closer to these.
MODERATE = [(0.3, 1.0, 1.3), (-0.7, 0.5, 2.0), (1.2, 1.3, 1.4), (-1.39, 1.4, 1.5)]
PARALLEL = [(1.4, 1.4, 1.4), (-0.3, 0.3, 0.3), (2.0, 1.0, 4.0), (-1.5, 4.5, 0.5)]
NEARLY_PARALLEL = [
    (sign * sqrt(p * q) * (1 - closeness), p, q)
    for closeness in (1e-3, 1e-5, 1e-8, 1e-12)
    for sign, p, q in ((1, 0.9, 1.1), (-1, 1.7, 0.6))
]
SIZES = [
    (r * sqrt(p * q), p, q)
    for p, q in ((1e-8, 3e-8), (1e-8, 1.2), (300.0, 1e4))
    for r in (0.6, -0.4, 1 - 1e-6, 1e-6 - 1)
]
MOMENTS = [*MODERATE, *PARALLEL, *NEARLY_PARALLEL, *SIZES]
