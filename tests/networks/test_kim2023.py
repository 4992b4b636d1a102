"""The network of kim2023 against the recursion of its Theorem 7."""

import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import Erf, Polynomial
from widelimit.kernels import limit_kernels
from widelimit.networks import kim2023_network


def test_its_kernels_are_those_of_theorem_7():
    """The square normalised has E phi(u) phi(v) = (2 c^2 + p q) / 3, by Isserlis."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    c = x @ x.T
    p = np.diag(c)
    ntk = c
    for _ in range(2):
        ntk = ntk * 4 * c / 3
        c = (2 * c * c + np.outer(p, p)) / 3
        p = np.diag(c)
        ntk = ntk + c
    net = kim2023_network(depth=2, width=5, activation=Polynomial((0, 0, 1)))
    found = limit_kernels(net, x)
    np.testing.assert_allclose(found.nngp, c, rtol=1e-12)
    np.testing.assert_allclose(found.ntk, ntk, rtol=1e-12)


def test_its_activation_is_normalised():
    x = np.random.default_rng(0).normal(size=(4, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    net = kim2023_network(depth=3, width=5, activation=Erf())
    np.testing.assert_allclose(np.diag(limit_kernels(net, x).nngp), 1, rtol=1e-12)


def test_depth_counts_hidden_layers():
    with unchecked(), pytest.raises(ValueError, match="depth >= 1"):
        kim2023_network(depth=0, width=5)
