"""Networks for the tests of bounds, and their gradients by products of matrices."""

import numpy as np

from widelimit.activations import ReLU
from widelimit.layers import Activation, Dense, Parameterization, Sequential


def direct(d, m, o, betas, alpha=1.0):
    """A chain with these betas, none of which need be equal; `d` is for the caller."""
    hidden = [
        Dense(m, beta, parameterization=Parameterization.DIRECT) for beta in betas[:-1]
    ]
    last = Dense(
        o, betas[-1], scale=1 / alpha, parameterization=Parameterization.DIRECT
    )
    relu = Activation(ReLU())
    return Sequential(tuple(x for layer in hidden for x in (layer, relu)) + (last,))


def input_jacobians(weights, x, alpha=1.0):
    """Jacobians at `x` of many networks, whose weights are `(k, rows, columns)`."""
    h = np.broadcast_to(x, (len(weights[0]), len(x)))
    jacobian = np.broadcast_to(np.eye(len(x)), (len(h), len(x), len(x)))
    for w in weights[:-1]:
        z = np.einsum("kij,kj->ki", w, h)
        h = np.maximum(z, 0)
        jacobian = (z > 0)[:, :, None] * (w @ jacobian)
    return weights[-1] @ jacobian / alpha


def unit_rows(rng, n, d):
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)
