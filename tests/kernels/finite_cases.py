"""Networks of finite width, and their tangent kernels from dense Jacobians."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from widelimit.activations import Sine, Tanh
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Dense,
    Parameterization,
    Readout,
    Residual,
    Scale,
    Sequential,
)

NTK, DIRECT = Parameterization.NTK, Parameterization.DIRECT


@dataclass(frozen=True)
class Gain(AbstractLayer):
    """Factors in front of the features: a layer that says nothing of its gradients."""

    def output_shape(self, input_shape):
        return input_shape

    def init(self, key, input_shape):
        return {"gain": jax.random.normal(key, input_shape)}

    def apply(self, params, x):
        return params["gain"] * x


# Every parameterization, with a bias, without and with one that does nothing.
DENSE = Sequential(
    (
        Dense(7, weight_std=1.3, bias_std=0.7, scale=-0.6),
        Activation(Sine(1.3)),
        Sequential((Dense(6, 0.8, None, 1.2, NTK), Activation(Tanh()))),
        Dense(5, 0.9, 0.3, 0.7, DIRECT),
        Activation(Tanh()),
        Dense(4, 1.4, 0.5, -1.1, NTK),
        Activation(Tanh()),
        Dense(3, 1.1, 0.0, 0.9, NTK),
    )
)
RESIDUAL = Sequential(
    (
        Dense(6, parameterization=DIRECT),
        Activation(Sine(0.7)),
        # du2019's branch, added behind the activation; then one with a shortcut.
        Residual(
            Sequential(
                (Dense(6, 1.2, 0.4, 1.0, NTK), Activation(Sine(1.3)), Scale(0.3))
            )
        ),
        Residual(
            Sequential((Activation(Tanh()), Dense(4, 0.9))), shortcut=Dense(4, 1.1, 0.2)
        ),
        Readout(2, scale=1.3),
    )
)
GAIN = Sequential((Gain(), Dense(4, 1.2, 0.3), Activation(Tanh()), Gain(), Readout(3)))

NETWORKS = {"dense": DENSE, "residual": RESIDUAL, "gain": GAIN}


def drawn(network, rows, shape=(5,), seed=0):
    """Parameters of the structure that `init` gives, and inputs; NumPy is quick."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), shapes)
    return jax.tree.map(jnp.asarray, (params, rng.standard_normal((rows, *shape))))


def jacobian(f, params, x):
    """Derivatives of every output at every row by every parameter: `n o p`."""
    flat, unravel = ravel_pytree(params)
    jac = jax.jacrev(lambda p: f(unravel(p), x).reshape(len(x), -1))
    return np.asarray(jax.jit(jac)(flat))


def blocks(jac1, jac2, params):
    """What each layer adds, `h n m o o`: its columns contracted; zeros left out."""
    layers = jax.tree.leaves(params, is_leaf=is_layer)
    ends = np.cumsum([sum(p.size for p in jax.tree.leaves(part)) for part in layers])
    parts = zip(np.split(jac1, ends, -1), np.split(jac2, ends, -1), strict=True)
    found = [np.einsum("nap,mbp->nmab", a, b) for a, b in parts]
    return np.stack([block for block in found if block.any()])


def is_layer(params):
    return isinstance(params, dict) and not set(params) & {"branch", "shortcut"}


def trace(kernel):
    """The mean over equal outputs."""
    return np.einsum("...aa->...", kernel) / kernel.shape[-1]


def sizes(jaxpr):
    """Sizes of all arrays that a program makes, in its inner programs too."""
    for equation in jaxpr.eqns:
        yield from (out.aval.size for out in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if inner := getattr(inner, "jaxpr", None):
                    yield from sizes(inner)
