"""Eigenfeatures, against the formula of kim2023, Sec. 5.2."""

import jax
import numpy as np
import pytest
from erf_kernels import jacobian_matrix

from widelimit.activations import Erf
from widelimit.networks import kim2023_network
from widelimit.prediction import eigenfeatures, robust_flow

N, D, LAM, KAPPA, DEPTH = 5, 2, 0.3, 0.7, 2
NET = kim2023_network(depth=DEPTH, width=3, activation=Erf(), kappa=KAPPA)
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(2, N, D))
Y = RNG.normal(size=N)


@pytest.fixture(scope="module")
def flow():
    with jax.enable_x64(True):
        yield robust_flow(NET, X, Y, regularization=LAM)


def test_they_are_those_of_the_paper(flow):
    scale = np.tile([1.0, *[LAM**0.5] * D], N)
    gram = scale[:, None] * jacobian_matrix(X, X, DEPTH, KAPPA, "ntk") * scale
    cross = jacobian_matrix(NEW, X, DEPTH, KAPPA, "ntk") * scale
    targets = np.zeros(N * (D + 1))
    targets[:: D + 1] = Y
    found = eigenfeatures(flow, NEW)
    eigenvalues, vectors = np.linalg.eigh(gram)
    for i, (mu, v) in enumerate(zip(eigenvalues[::-1], vectors.T[::-1], strict=True)):
        expected = (cross @ np.outer(v, v) @ targets / mu).reshape(N, D + 1)
        assert flow.eigenvalues[i] == pytest.approx(mu, rel=1e-6)
        np.testing.assert_allclose(found.values[i], expected[:, 0], atol=1e-6)
        np.testing.assert_allclose(found.gradients[i], expected[:, 1:], atol=1e-6)


@pytest.mark.parametrize("time", [1.0, np.inf])
def test_they_sum_to_the_network(flow, time):
    found, whole = eigenfeatures(flow, NEW, time), flow.at(NEW, time)
    np.testing.assert_allclose(found.values.sum(0), whole.values, atol=1e-9)
    np.testing.assert_allclose(found.gradients.sum(0), whole.gradients, atol=1e-9)
    bare = eigenfeatures(flow, NEW, time, gradients=False)
    np.testing.assert_allclose(bare.values, found.values, atol=1e-12)
    assert bare.gradients.size == 0
