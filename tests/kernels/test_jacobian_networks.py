"""Jacobian kernels against wide finite networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import assert_mean_matches
from widelimit.activations import GELU, Erf, ReLU
from widelimit.kernels import jacobian_kernel
from widelimit.layers import Parameterization
from widelimit.networks import mlp

WIDTH = 96
X = np.array([[0.3, -1.0, 0.8], [1.2, 0.4, -0.5]])


def net(phi, depth):
    return mlp(
        depth=depth,
        width=WIDTH,
        activation=phi,
        weight_std=1.3,
        bias_std=0.4,
        parameterization=Parameterization.NTK,
    )


def rows_of(network, params):
    """Value and gradient at every input, in the order of the kernels."""

    def f(x):
        return network.apply(params, x[None])[0, 0]

    def both(x):
        return jnp.concatenate([f(x)[None], jax.grad(f)(x)])

    return jax.vmap(both)(jnp.asarray(X)).ravel()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phi", "depth"), [(GELU(), 2), (ReLU(), 2), (Erf(), 1)], ids=str
)
def test_values_and_gradients_have_the_covariance_of_the_jacobian_nngp(
    phi, depth, getkey
):
    network = net(phi, depth)

    def one(key):
        rows = rows_of(network, network.init(key, (3,)))
        return jnp.outer(rows, rows)

    outer = jax.lax.map(one, jax.random.split(getkey(), 4000), batch_size=100)
    limit = jacobian_kernel(network, X, kind="nngp").dense()
    assert_mean_matches(outer, limit, bias=3 * depth / WIDTH * np.abs(limit).max())


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "depth"), [(GELU(), 1), (Erf(), 2)], ids=str)
def test_tangent_kernels_of_gradients_average_to_the_jacobian_ntk(phi, depth, getkey):
    network = net(phi, depth)

    def one(key):
        params = network.init(key, (3,))
        slopes = jax.jacrev(lambda p: rows_of(network, p))(params)
        flat = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(slopes)]
        jacobian = jnp.concatenate(flat, axis=1)
        return jacobian @ jacobian.T

    found = jax.lax.map(one, jax.random.split(getkey(), 400), batch_size=20)
    limit = jacobian_kernel(network, X, kind="ntk").dense()
    assert_mean_matches(found, limit, bias=3 * depth / WIDTH * np.abs(limit).max())
