"""Activations against their definitions, entry by entry."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
from oracles import central_differences
from widelimit.activations import (
    GELU,
    Abs,
    Cosine,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Scaled,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
)

POINTS = np.array([-30.0, -2.3, -0.4, -1e-3, 0.0, 1e-3, 0.7, 1.9, 30.0])

DEFINITIONS = [
    (ReLU(), lambda z: z if z > 0 else 0.0),
    (LeakyReLU(), lambda z: z if z > 0 else 0.01 * z),
    (LeakyReLU(slope=-1.2), lambda z: z if z > 0 else -1.2 * z),
    (Identity(), lambda z: z),
    (Erf(), math.erf),
    (GELU(), lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2))),
    (Tanh(), math.tanh),
    (Abs(), abs),
    (Sine(1.3), lambda z: math.sin(1.3 * z)),
    (Cosine(0.7), lambda z: math.cos(0.7 * z)),
    (Polynomial((0.4, -0.7, 0, 0.1)), lambda z: 0.4 - 0.7 * z + 0.1 * z**3),
    (Sigmoid(), lambda z: 1 / (1 + math.exp(-z))),
    (Softplus(), lambda z: math.log1p(math.exp(z))),
    (SiLU(), lambda z: z / (1 + math.exp(-z))),
    (Scaled(Tanh(), -2.5), lambda z: -2.5 * math.tanh(z)),
]


@pytest.mark.parametrize(("phi", "definition"), DEFINITIONS, ids=cases.shown)
@pytest.mark.parametrize("shape", [(9,), (3, 3), (9, 1, 1)])
def test_values(phi, definition, shape):
    expected = np.reshape([definition(z) for z in POINTS], shape)
    actual = phi(jnp.asarray(POINTS.reshape(shape)))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_slopes(phi):
    points = POINTS[POINTS != 0]

    def f(z):
        return np.asarray(phi(jnp.asarray(z)))

    slopes = jax.vmap(jax.grad(phi))(jnp.asarray(points))
    expected = np.diagonal(central_differences(f, points, step=1e-6))
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_smooth_means_that_the_slope_does_not_jump(phi):
    left, right = (jax.grad(phi)(jnp.asarray(z)) for z in (-1e-9, 1e-9))
    assert (abs(right - left) < 1e-6) == phi.smooth


def test_relu_has_slope_zero_at_zero():
    assert jax.grad(ReLU())(jnp.asarray(0.0)) == 0


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_dtype_is_kept(phi):
    assert phi(jnp.ones(3, dtype=jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_slope_must_be_finite(slope):
    with pytest.raises(ValueError, match=f"finite `slope`. Got `slope={slope}`"):
        LeakyReLU(slope=slope)
