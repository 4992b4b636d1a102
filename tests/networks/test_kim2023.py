"""The network of kim2023, against Sec. 2 of the paper."""

import jax
import numpy as np
import pytest
import scipy.special

from widelimit.activations import GELU, Erf, Polynomial
from widelimit.kernels import limit_kernels
from widelimit.layers import Dense
from widelimit.networks import kim2023_network

D, M = 3, 6


def gelu(z):
    return z * scipy.special.ndtr(z)


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_the_function_of_the_paper(depth, getkey):
    network = kim2023_network(depth=depth, width=M, kappa=0.3)
    params = network.init(getkey(), (D,))
    first, *rest = [np.asarray(p["weight"]) for p in params if p]
    x = jax.random.normal(getkey(), (4, D))
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    size = np.sqrt(np.sum(weights * gelu(z) ** 2) / np.sqrt(2 * np.pi))
    h = gelu(np.asarray(x) @ first) / size
    for weight in rest[:-1]:
        h = gelu(h @ weight / M**0.5) / size
    expected = 0.3 * h @ rest[-1] / M**0.5
    assert len(rest) == depth
    np.testing.assert_allclose(network.apply(params, x), expected, rtol=1e-12)


def test_all_weights_start_with_variance_1():
    network = kim2023_network(depth=2, width=M, activation=Erf(), kappa=0.1)
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    assert [layer.init_std(9) for layer in dense] == [1.0] * 3
    assert [layer.forward_scale(9) for layer in dense] == [1, 1 / 3, 0.1 / 3]


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "`kim2023_network` needs `depth >= 1`. Got `depth=0`"),
        (
            {"kappa": 0.0},
            "`kim2023_network` needs a finite `kappa > 0`. Got `kappa=0.0`",
        ),
    ],
    ids=repr,
)
def test_it_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        kim2023_network(**{"depth": 2, "width": M, "activation": GELU()} | change)
