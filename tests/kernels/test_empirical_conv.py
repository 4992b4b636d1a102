"""Kernels of finite convolutional networks."""

import jax
import numpy as np
import pytest
from finite_cases import DIRECT, NTK, blocks, drawn, jacobian, trace

from widelimit.activations import Tanh
from widelimit.kernels import empirical_moments, empirical_ntk, limit_moments
from widelimit.kernels.structured import network_factors
from widelimit.layers import Activation, Conv, Dense, Flatten, Pool, Sequential

# The last convolution takes pairs of positions, those before it gradients.
LINE = Sequential(
    (
        Conv(3, (3,), 1.2, 0.3, padding="circular", parameterization=NTK),
        Activation(Tanh()),
        Conv(30, (2,), 0.8, 0.4, -0.7, DIRECT, strides=(2,)),
        Activation(Tanh()),
        Pool(),
        Dense(2),
    )
)
IMAGE = Sequential(
    (
        Conv(3, (3, 2), 0.9, None, 1.3),
        Activation(Tanh()),
        Conv(20, (2, 3), 1.2, 0.3, padding="circular", strides=(2, 2)),
        Activation(Tanh()),
        Conv(30, (2, 2), 1.1, 0.2, 0.9, NTK, padding="valid"),
        Activation(Tanh()),
        Flatten(),
        Dense(1),
    )
)
CASES = {"line": (LINE, (4, 2)), "image": (IMAGE, (5, 6, 2))}


@pytest.mark.parametrize(
    "name", ["line", pytest.param("image", marks=pytest.mark.slow)]
)
def test_layers_are_the_contraction_of_dense_jacobians(name):
    network, shape = CASES[name]
    params, x = drawn(network, rows=4, shape=shape)
    factors = jax.eval_shape(lambda: network_factors(network, params, x))
    *before, last = [f for f in factors if isinstance(f.layer, Conv)]
    assert all(isinstance(f.parts, dict) for f in before)
    assert isinstance(last.parts, tuple)
    full = jacobian(network.apply, params, x)
    expected = blocks(full[:2], full[2:], params)
    for output_axes in {False, expected.shape[-1] > 1}:
        k = empirical_ntk(
            network, params, x[:2], x[2:], output_axes=output_axes, per_layer=True
        )
        wanted = expected if output_axes else trace(expected)
        np.testing.assert_allclose(k, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("last", [Pool(), Flatten()], ids=["joint", "apart"])
def test_moments_have_the_shapes_of_their_limits(last):
    network = Sequential((*LINE.layers[:2], last, Dense(2)))
    params, x = drawn(network, rows=5, shape=(4, 2))
    found = jax.eval_shape(lambda: empirical_moments(network, params, x[:2], x[2:]))
    limits = jax.eval_shape(lambda: limit_moments(network, x[:2], x[2:]))
    for m, limit in zip(found, limits, strict=True):
        assert m.cross == limit.cross and m.second == limit.second
        assert (m.joint, m.shape) == (limit.joint, limit.shape)


def test_moments_pair_positions():
    network = Sequential((LINE.layers[0], Pool()))
    params, x = drawn(network, rows=5, shape=(4, 2))
    found = jax.jit(lambda p: empirical_moments(network, p, x[:2], x[2:])[1])(params)
    y = np.asarray(network.layers[0].apply(params[0], x))
    for i, j, p, q in np.ndindex(2, 3, 4, 4):
        value = np.mean(y[i, p] * y[2 + j, q])
        np.testing.assert_allclose(found.cross[i, j, p, q], value, rtol=1e-12)
        np.testing.assert_allclose(found.mean_second[j, q], y[2 + j, q].mean())
