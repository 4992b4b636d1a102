"""Jacobians with respect to the input, against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from oracles import unchecked
from widelimit.activations import Tanh
from widelimit.measures import input_jacobian
from widelimit.networks import mlp

D = 4
X = jnp.asarray(np.random.default_rng(5).normal(size=(3, D)))


@pytest.mark.parametrize("outputs", [1, 3, 9])
def test_finite_differences(outputs, getkey):
    net = mlp(depth=2, width=6, outputs=outputs, activation=Tanh(), bias_std=0.3)
    params = net.init(getkey(), (D,))

    def f(x):
        return net.apply(params, jnp.asarray(x)[None])[0]

    @jax.jit
    def jacobians(x):
        return [input_jacobian(f, x, batch_size=size) for size in (None, 2, 7)]

    values = jax.jit(f)
    expected = [oracles.central_differences(values, np.asarray(row)) for row in X]
    for actual in jacobians(X):
        assert actual.shape == (3, outputs, D)
        np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("outputs", [1, 3, 4])
def test_few_outputs_take_reverse_mode(outputs):
    matrix = jnp.asarray(np.random.default_rng(1).normal(size=(outputs, D)))

    @jax.custom_vjp  # which forward mode refuses
    def f(x):
        return matrix @ x

    f.defvjp(lambda x: (f(x), None), lambda _, slope: (slope @ matrix,))
    np.testing.assert_allclose(input_jacobian(f, X), [matrix] * 3, rtol=1e-14)


@pytest.mark.parametrize("outputs", [5, 9])
def test_many_outputs_take_forward_mode(outputs):
    matrix = jnp.asarray(np.random.default_rng(1).normal(size=(outputs, D)))

    def f(x):  # reverse mode refuses loops of unknown length
        return jax.lax.while_loop(
            lambda y: jnp.sum(y) > 1e9, lambda y: y / 2, matrix @ x
        )

    np.testing.assert_allclose(input_jacobian(f, X), [matrix] * 3, rtol=1e-14)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 7)], ids=str)
def test_outputs_of_any_shape_are_flattened_in_order(shape):
    scales = jnp.asarray(1.0 + np.arange(np.prod(shape)).reshape(shape))
    actual = input_jacobian(lambda x: scales * jnp.sum(x**2), X)
    expected = np.ravel(scales)[:, None] * 2 * np.asarray(X)[:, None, :]
    np.testing.assert_allclose(actual, expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(4,), (0, 4)], ids=str)
def test_inputs_must_be_rows(shape):
    message = r"`input_jacobian` needs `x` as a matrix.*Got `x.shape=\("
    with unchecked(), pytest.raises(ValueError, match=message):
        input_jacobian(lambda x: x, jnp.ones(shape))
