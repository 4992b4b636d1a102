"""The covariance of outputs and gradients, against differentiation and the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.activations import Erf, ReLU
from widelimit.kernels import (
    empirical_jacobian_nngp,
    empirical_jacobian_nngp_block,
    empirical_nngp,
    jacobian_kernel,
)
from widelimit.layers import Activation, Dense, Parameterization, Sequential
from widelimit.networks import kim2023_network, mlp

RNG = np.random.default_rng(2)
X, Z = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
NET = mlp(
    depth=2,
    width=6,
    activation=Erf(),
    weight_std=1.3,
    bias_std=0.7,
    parameterization=Parameterization.NTK,
)


@pytest.mark.parametrize("second", [pytest.param(None, marks=pytest.mark.slow), Z])
def test_it_is_the_mixed_derivative_of_the_covariance(getkey, second):
    params = NET.init(getkey(), (3,))
    found = empirical_jacobian_nngp(NET, params, X, second)
    other = X if second is None else second

    def covariance(x, z):
        h = [jnp.asarray(row) for row in (x, z)]
        for i in (0, 2):
            w, b = params[i]["weight"], params[i]["bias"]
            h = [jax.lax.erf(1.3 * v @ w / np.sqrt(len(w)) + 0.7 * b) for v in h]
        return 1.3**2 * h[0] @ h[1] / 6 + 0.7**2

    blocks = found.reshape(len(X), 4, len(other), 4)
    for i, x in enumerate(X):
        for j, z in enumerate(other):
            expected = np.empty((4, 4))
            expected[0, 0] = covariance(x, z)
            expected[0, 1:] = jax.grad(covariance, 1)(x, z)
            expected[1:, 0] = jax.grad(covariance, 0)(x, z)
            mixed = jax.jacfwd(jax.grad(covariance, 0), 1)(x, z)
            expected[1:, 1:] = mixed
            np.testing.assert_allclose(blocks[i, :, j], expected, rtol=1e-11)
    if second is None:
        np.testing.assert_array_equal(found, found.T)


def test_values_are_those_of_the_nngp_and_tiles_change_nothing(getkey):
    params = NET.init(getkey(), (3,))
    whole = empirical_jacobian_nngp(NET, params, X, Z)
    values = empirical_nngp(NET, params, X, Z)
    np.testing.assert_allclose(whole[::4, ::4], values, rtol=1e-14)
    tiles = empirical_jacobian_nngp(NET, params, X, Z, memory=5e-6)
    np.testing.assert_allclose(tiles, whole, rtol=1e-13)
    with pytest.raises(ValueError, match="GiB for one pair"):
        empirical_jacobian_nngp(NET, params, X, Z, memory=1e-7)


@pytest.mark.parametrize("second", [None, Z])
def test_the_block_is_the_same_inside_compiled_programs(getkey, second):
    params = NET.init(getkey(), (3,))
    other = None if second is None else jnp.asarray(second)
    block = jax.jit(lambda p, x: empirical_jacobian_nngp_block(NET, p, x, other))
    found = block(params, jnp.asarray(X))
    expected = empirical_jacobian_nngp(NET, params, X, second)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    with pytest.raises(ValueError, match="`empirical_jacobian_nngp_block` needs"):
        cut = Sequential(NET.layers[:-1])
        empirical_jacobian_nngp_block(cut, params[:-1], jnp.asarray(X))


@pytest.mark.parametrize(
    "activation", [Erf(), pytest.param(ReLU(), marks=pytest.mark.slow)]
)
def test_the_average_over_initialisations_is_the_limit(getkey, activation):
    net = kim2023_network(depth=1, width=50, activation=activation, kappa=0.6)
    limit = jacobian_kernel(net, X, Z, kind="nngp").dense()
    draws = np.stack(
        [
            empirical_jacobian_nngp(net, net.init(key, (3,)), X, Z)
            for key in jax.random.split(getkey(), 40)
        ]
    )  # one hidden layer: no bias at any width
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    distance = np.abs(draws.mean(axis=0) - limit) / error
    assert distance.max() < 5 and distance.mean() < 1.2


def test_networks_that_end_otherwise_are_refused(getkey):
    net = Sequential((Dense(3), Activation(Erf())))
    with pytest.raises(ValueError, match="`empirical_jacobian_nngp` needs a network"):
        empirical_jacobian_nngp(net, net.init(getkey(), (3,)), X)
