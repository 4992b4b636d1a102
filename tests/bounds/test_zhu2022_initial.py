import jax
import numpy as np
import pytest
from chains import direct, input_jacobians

from widelimit.bounds import ReLUChain
from widelimit.bounds.zhu2022 import lemma5_mean_square, lipschitz_bound
from widelimit.layers import Parameterization
from widelimit.networks import mlp, zhu2022_network

NETWORKS = {
    "he": (5, zhu2022_network(depth=1, width=7, outputs=3)),
    "deep": (4, zhu2022_network(depth=4, width=9, outputs=2, initialization="lecun")),
    "allen-zhu": (
        6,
        zhu2022_network(depth=2, width=11, outputs=4, initialization="ntk", alpha=1.7),
    ),
    "non-lazy": (
        3,
        zhu2022_network(
            depth=2, width=6, outputs=1, initialization="non-lazy", exponent=1.5
        ),
    ),
    "ntk": (
        5,
        mlp(
            depth=2,
            width=8,
            outputs=3,
            weight_std=1.3,
            parameterization=Parameterization.NTK,
        ),
    ),
    "unequal": (4, direct(4, 6, 2, (0.9, 0.4, 0.7, 1.3), alpha=0.6)),
    "one unit": (3, direct(3, 1, 2, (0.9, 1.4, 0.7))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_lemma5_is_the_mean_over_networks(name):
    d, network = NETWORKS[name]
    rng = np.random.default_rng(7)
    chain = ReLUChain.of(network, d)
    k = 6000
    weights = [
        beta * rng.normal(size=(k, rows, columns))
        for beta, rows, columns in zip(
            chain.betas, chain.widths[1:], chain.widths[:-1], strict=True
        )
    ]
    jacobians = input_jacobians(weights, rng.normal(size=d), chain.alpha)
    squares = np.sum(jacobians**2, axis=(1, 2))
    bound = lemma5_mean_square(network, d)
    error = squares.std(ddof=1) / k**0.5
    assert abs(squares.mean() - bound.mean_square_gradient) < 5 * error
    assert error < 0.1 * bound.mean_square_gradient

    # The same for a perturbation in the ball, and the bounds on its mean length.
    steps = rng.normal(size=(k, d))
    steps *= (rng.uniform(size=k) ** (1 / d) / np.linalg.norm(steps, axis=1))[:, None]
    change = np.linalg.norm(np.einsum("koi,ki->ko", jacobians, steps), axis=1)
    error = (change**2).std(ddof=1) / k**0.5
    assert abs((change**2).mean() - bound.value) < 5 * error
    assert change.mean() < bound.stability < bound.upper_value**0.5
    assert change.mean() < lipschitz_bound(network, d).value


def test_lemma5_is_the_mean_over_initialized_networks(getkey):
    d, network = NETWORKS["ntk"]
    x = jax.random.normal(getkey(), (d,))

    def square(key):
        params = network.init(key, (d,))
        jacobian = jax.jacrev(lambda z: network.apply(params, z[None])[0])(x)
        return (jacobian**2).sum()

    squares = jax.jit(jax.vmap(square))(jax.random.split(getkey(), 4000))
    squares = np.asarray(squares)
    error = squares.std(ddof=1) / len(squares) ** 0.5
    expected = lemma5_mean_square(network, d).mean_square_gradient
    assert abs(squares.mean() - expected) < 5 * error


def test_lemma5_in_numbers():
    network = direct(5, 8, 3, (0.3, 0.5, 0.7, 0.9), alpha=1.6)
    bound = lemma5_mean_square(network, 5)
    gamma_power = (0.5 * 0.7 * 8 / 2) ** 2
    one = 8 * 3 * 0.3**2 * 0.9**2 / 2 * gamma_power / 1.6**2
    np.testing.assert_allclose(bound.upper_value, one)
    np.testing.assert_allclose(bound.value, one * 5 / 7)
    np.testing.assert_allclose(bound.mean_square_gradient, one * 5)
    np.testing.assert_allclose(bound.stability, (one * 5 / 7) ** 0.5)
    assert bound.applies and bound.kind == "exact" and bound.vacuous is False
    assert all(a.status == "declared" for a in bound.assumptions)


def test_lipschitz_bound_in_numbers():
    network = direct(4, 9, 2, (0.3, 0.5, 0.7), alpha=2.0)
    expected = 0.3 * (3 + 2) * 0.5 * (3 + 3) * 0.7 * (2**0.5 + 3) / 2 * 4 / 5
    bound = lipschitz_bound(network, 4)
    np.testing.assert_allclose(bound.value, expected)
    assert bound.applies and bound.vacuous is None
