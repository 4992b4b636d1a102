"""Second moments of finite networks' features, and the covariance above them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import DENSE, DIRECT, GAIN, NTK, RESIDUAL, drawn

from oracles import unchecked
from widelimit.activations import Sine
from widelimit.kernels import (
    empirical_moments,
    empirical_nngp,
    empirical_nngp_block,
    limit_moments,
)
from widelimit.layers import Activation, Dense, Readout, Residual, Sequential

BELOW = Dense(4, 1.2, 0.3), Activation(Sine(0.9))
# The last layer, and the variances with which its weights and biases begin.
LAST = {
    "standard": (Dense(2, 1.3, 0.7, -0.6), 1.3**2 / 4, 0.7**2),
    "ntk": (Dense(2, 1.3, 0.7, -0.6, NTK), 1.0, 1.0),
    "direct": (Dense(2, 1.3, None, 1.4, DIRECT), 1.3**2, None),
    "readout": (Readout(2, 1.7), 1.0, None),
}


@pytest.mark.parametrize("name", LAST)
def test_the_last_layer_is_averaged_out(name):
    last, weight, bias = LAST[name]
    network = Sequential((*BELOW, Sequential((last,))))
    params, x = drawn(network, rows=5)
    # Outputs are linear in independent parameters, so that variances add up.
    zeros = jax.tree.map(jnp.zeros_like, params[-1][0])
    expected = np.zeros((5, 5))
    for kind, leaf in zeros.items():
        for at in np.ndindex(leaf.shape):
            unit = zeros | {kind: leaf.at[at].set(1.0)}
            y = np.asarray(network.apply((*params[:-1], (unit,)), x))[:, 0]
            expected += (bias if kind == "bias" else weight) * np.outer(y, y)
    k = empirical_nngp(network, params, x[:3], x[2:])
    np.testing.assert_allclose(k, expected[:3, 2:], rtol=1e-12)


@pytest.mark.slow
def test_it_is_symmetric_to_the_last_bit_in_tiles_too():
    params, x = drawn(DENSE, rows=7)
    k = empirical_nngp(DENSE, params, x)
    np.testing.assert_array_equal(k, k.T)
    small = empirical_nngp(DENSE, params, x, memory=3e-6)
    np.testing.assert_array_equal(small, small.T)
    np.testing.assert_allclose(small, k, rtol=1e-12)
    block = jax.jit(lambda p: empirical_nngp_block(DENSE, p, x))(params)
    np.testing.assert_allclose(block, k, rtol=1e-12)


def means(x1, x2):
    """Means over features, one at a time."""
    features = x1.shape[1]
    cross = sum(np.outer(x1[:, r], x2[:, r]) for r in range(features)) / features
    return cross, sum(x1[:, r] for r in range(features)) / features


def features(network, params, x):
    """The input, and what leaves each layer."""
    found = [x]
    for layer, p in zip(network.layers, params, strict=True):
        found.append(layer.apply(p, found[-1]))
    return found


def test_moments_are_means_over_the_features_behind_each_layer():
    params, x = drawn(RESIDUAL, rows=5)
    found = jax.jit(lambda p: empirical_moments(RESIDUAL, p, x[:2], x[2:]))(params)
    ys = jax.jit(lambda p: features(RESIDUAL, p, x))(params)
    for m, y in zip(found, map(np.asarray, ys), strict=True):
        cross, mean = means(y[:2], y[2:])
        np.testing.assert_allclose(m.cross, cross, rtol=1e-11)
        np.testing.assert_allclose(m.mean_first, mean, rtol=1e-11)
        square, mean = means(y[2:], y[2:])
        np.testing.assert_allclose(m.second, np.diag(square), rtol=1e-11)
        np.testing.assert_allclose(m.mean_second, mean, rtol=1e-11)
        assert m.shape == y.shape[1:]


def test_a_layer_alone_has_two_moments():
    params, x = drawn(Dense(4), rows=3)
    first, last = jax.jit(lambda p: empirical_moments(Dense(4), p, x))(params)
    y = np.asarray(x @ params["weight"])
    np.testing.assert_allclose(last.cross, y @ y.T / 4, rtol=1e-12)
    np.testing.assert_allclose(first.first, np.mean(x**2, 1), rtol=1e-12)


def test_moments_have_the_shapes_of_their_limits():
    network = Sequential((*RESIDUAL.layers[:3], Dense(2)))
    params, x = drawn(network, rows=5)
    found = jax.eval_shape(lambda: empirical_moments(network, params, x))
    limits = jax.eval_shape(lambda: limit_moments(network, x))
    for m, limit in zip(found, limits, strict=True):
        assert (m.cross, m.first, m.joint) == (limit.cross, limit.first, limit.joint)
        assert limit.mean_first in (None, m.mean_first)


# Bad input


def refused(message, *args, **options):
    with unchecked(), pytest.raises(ValueError, match=message):
        empirical_nngp(*args, **options)


def test_networks_that_end_otherwise_are_refused():
    for network in (
        Sequential(BELOW),
        Sequential((Dense(4), Residual(Dense(4)))),
        Sequential((*BELOW, Sequential((Dense(3), Activation(Sine()))))),
    ):
        params, x = drawn(network, rows=2)
        refused("last layer is `Dense` or `Readout`. Got", network, params, x)
        with pytest.raises(ValueError, match="last layer is `Dense` or `Readout`"):
            empirical_nngp_block(network, params, x)


def test_what_does_not_fit_is_refused():
    params, x = drawn(GAIN, rows=3)
    refused("description of a network", lambda p, x: x @ p, jnp.ones(3), x)
    refused(r"`x2.shape=\(3, 4\)`", GAIN, params, x, x[:, 1:])
    refused("finite numbers in `x1`", GAIN, params, x.at[1, 2].set(jnp.inf))
    refused("another structure", GAIN, params[1:], x)
    refused(r"params\[0\]\['gain'\]", GAIN, params, x[:, 1:])
    refused(r"one pair of inputs", GAIN, params, x, memory=1e-8)
