"""Kernel predictors as differentiable functions, against the predictor itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.activations import GELU, ReLU
from widelimit.attacks import PGD, attack
from widelimit.networks import kim2023_network, mlp
from widelimit.prediction import as_function, robust_flow
from widelimit.prediction.predictor import KernelPredictor

N, D = 6, 4


@pytest.fixture
def points(getkey):
    return tuple(np.asarray(jax.random.normal(getkey(), (rows, D))) for rows in (N, 5))


def predictor(network, kind, rows, outputs, getkey, x):
    weights = np.asarray(jax.random.normal(getkey(), (N, rows, outputs)))
    gram = np.eye(outputs)
    return KernelPredictor(network, x, weights, gram, kind, outputs == 1)


CASES = {
    "jacobian-ntk": (kim2023_network(depth=2, width=1), "ntk", D + 1, 1),
    "ntk": (mlp(depth=1, width=1, activation=GELU()), "ntk", 1, 2),
    "nngp with kinks": (mlp(depth=2, width=1, activation=ReLU()), "nngp", 1, 1),
}


FAST, *REST = CASES


@pytest.mark.parametrize(
    "case", [FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_values_and_gradients_are_those_of_the_predictor(case, points, getkey):
    network, kind, rows, outputs = CASES[case]
    x, new = points
    f = predictor(network, kind, rows, outputs, getkey, x)
    apply, params = as_function(f)
    expected = f.at(new)
    values = np.asarray(apply(params, jnp.asarray(new)))
    size = np.abs(expected.values).max()
    np.testing.assert_allclose(
        values.ravel(), expected.values.ravel(), rtol=1e-9, atol=1e-11 * size
    )
    cotangents = np.asarray(jax.random.normal(getkey(), values.shape))
    _, pull = jax.vjp(lambda z: apply(params, z), jnp.asarray(new))
    gradients = expected.gradients.reshape(len(new), outputs, D)
    found = np.einsum("mo,mod->md", cotangents, gradients)
    np.testing.assert_allclose(
        pull(jnp.asarray(cotangents))[0], found, rtol=1e-9, atol=1e-11 * size
    )


@pytest.mark.slow
def test_it_can_be_attacked(points):
    x, new = points
    y = np.sign(x[:, 0])
    f = robust_flow(kim2023_network(depth=2, width=1), x, y).predictor()
    apply, params = as_function(f)
    targets = np.sign(f(new))[:, None]
    found = attack(PGD(2.0, steps=30), apply, params, new, targets)
    assert found.accuracy.value == 1 and found.success.any()
    np.testing.assert_allclose(
        found.loss_after, -targets[:, 0] * f(found.points), rtol=1e-8
    )


def test_kernels_without_a_gradient_are_refused(points, getkey):
    network = mlp(depth=1, width=1, activation=ReLU())
    with pytest.raises(ValueError, match="NTK of a network with kinks"):
        as_function(predictor(network, "ntk", 1, 1, getkey, points[0]))
