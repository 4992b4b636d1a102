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


@pytest.mark.parametrize("name", CASES)
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
def test_moments_pair_positions_as_their_limits_do(last):
    network = Sequential((*LINE.layers[:2], last, Dense(2)))
    params, x = drawn(network, rows=5, shape=(4, 2))
    found = jax.jit(lambda p: empirical_moments(network, p, x[:2], x[2:]))(params)
    limits = jax.eval_shape(lambda: limit_moments(network, x[:2], x[2:]))
    assert [m.cross.shape for m in found] == [m.cross.shape for m in limits]
    assert [m.second.shape for m in found] == [m.second.shape for m in limits]
    assert [m.joint for m in found] == [m.joint for m in limits]
    y = np.asarray(network.layers[0].apply(params[0], x))
    for i, j, p, q in np.ndindex(2, 3, 4, 4):
        cross = found[1].cross[i, j]
        if p == q or last == Pool():
            value = cross[p, q] if last == Pool() else cross[p]
            np.testing.assert_allclose(value, np.mean(y[i, p] * y[2 + j, q]))
        assert np.isclose(found[1].mean_second[j, q], y[2 + j, q].mean())
