"""The finite Jacobian NTK, against dense Jacobians of values and input derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import NETWORKS, blocks, drawn, jacobian, trace

from oracles import unchecked
from widelimit.kernels import (
    empirical_jacobian_ntk,
    empirical_jacobian_ntk_block,
    empirical_jacobian_plan,
    empirical_ntk,
)


def both(network):
    """Values and input derivatives, outputs last: backwards by the input."""

    def apply(params, x):
        def at(row):
            def f(z):
                return jnp.ravel(network(params, z[None]))

            slopes = jax.jacrev(f)(row)
            slopes = slopes.reshape(len(slopes), -1).T
            return jnp.concatenate([f(row)[None], slopes])

        return jax.vmap(at)(x)

    return apply


def naive(network, params, x1, x2):
    """The kernel of every layer, `h n*r m*r o o`."""
    full = []
    for x in (x1, x2):
        jac = jacobian(both(network), params, x)
        full.append(jac.reshape(len(x) * (1 + x[0].size), -1, jac.shape[-1]))
    return blocks(*full, params)


def assert_close(kernel, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(kernel, expected, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_the_contraction_of_dense_jacobians(name):
    network = NETWORKS[name]
    params, x = drawn(network, rows=5)
    x1, x2 = x[:3], x[3:]
    expected = naive(network, params, x1, x2)
    paired = empirical_jacobian_ntk(
        network, params, x1, x2, output_axes=True, per_layer=True
    )
    assert_close(paired, expected)
    assert_close(
        empirical_jacobian_ntk(network, params, x1, x2), trace(expected.sum(0))
    )
