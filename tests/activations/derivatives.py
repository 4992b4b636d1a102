"""Derivatives of the smooth activations, written down by hand, and their pair means."""

import functools

import numpy as np

from oracles import conditional_means, logistic_derivative, normal_derivative
from widelimit.activations import (
    GELU,
    Cosine,
    Erf,
    Identity,
    Polynomial,
    Scaled,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
)


def gate_derivative(step):
    """Derivatives of z times a function, from those of the function."""
    return lambda k, z: z * step(k, z) + (k * step(k - 1, z) if k else 0)


def wave_derivative(a, shift):
    turn = np.longdouble(np.pi) / 2
    return lambda k, z: (
        np.longdouble(a) ** k * np.sin(np.longdouble(a) * z + (k + shift) * turn)
    )


# Order and argument to derivative, in long doubles.
DERIVATIVES = {
    Tanh(): lambda k, z: (
        2 ** np.longdouble(k + 1) * logistic_derivative(k, 2 * z) - (k == 0)
    ),
    Sigmoid(): logistic_derivative,
    Softplus(): lambda k, z: logistic_derivative(k - 1, z),
    SiLU(): gate_derivative(logistic_derivative),
    Erf(): lambda k, z: (
        2
        * np.sqrt(np.longdouble(2)) ** k
        * normal_derivative(k, np.sqrt(np.longdouble(2)) * z)
        - (k == 0)
    ),
    GELU(): gate_derivative(normal_derivative),
    Scaled(GELU(), -1.7): lambda k, z: (
        np.longdouble(-1.7) * gate_derivative(normal_derivative)(k, z)
    ),
    Sine(1.3): wave_derivative(1.3, 0),
    Cosine(0.7): wave_derivative(0.7, 1),
    Identity(): lambda k, z: [z, np.ones_like(z), 0 * z, 0 * z, 0 * z][k],
    Polynomial((0.4, -0.7, 0.2, 0.1)): lambda k, z: (
        np.polyval(np.polyder(np.longdouble([0.1, 0.2, -0.7, 0.4]), k), z) + 0 * z
    ),
}


def pair_mean(phi, i, j, moments):
    """E of the derivatives of orders i and j, by quadrature in long doubles."""
    u, weights, inner = _inner(phi, j, moments)
    return float(np.sum(weights * DERIVATIVES[phi](i, u) * inner))


@functools.cache
def _inner(phi, j, moments):
    return conditional_means(functools.partial(DERIVATIVES[phi], j), *moments)
