import jax
import numpy as np
import pytest
from chains import direct

from widelimit.activations import LeakyReLU, ReLU
from widelimit.bounds import ReLUChain
from widelimit.layers import Activation, Dense, Parameterization, Sequential
from widelimit.networks import mlp, zhu2022_network

RELU = Activation(ReLU())


def test_letters_of_a_direct_chain():
    chain = ReLUChain.of(direct(5, 8, 3, (0.3, 0.5, 0.7, 0.9), alpha=1.6), 5)
    assert (chain.d, chain.m, chain.o, chain.L) == (5, 8, 3, 4)
    np.testing.assert_allclose(chain.betas, (0.3, 0.5, 0.7, 0.9))
    np.testing.assert_allclose(chain.alpha, 1.6)
    assert chain.widths == (5, 8, 8, 8, 3)
    np.testing.assert_allclose(chain.gamma_power, 0.5 * 0.7 * 4)
    np.testing.assert_allclose(chain.gamma, (0.5 * 0.7 * 4) ** 0.5)


@pytest.mark.parametrize(
    "name, gamma", [("he", 1.0), ("lecun", 0.5**0.5), ("ntk", 1.0)]
)
def test_gamma_of_the_named_initializations(name, gamma):
    net = zhu2022_network(depth=4, width=12, outputs=3, initialization=name)
    chain = ReLUChain.of(net, 5)
    np.testing.assert_allclose(chain.gamma, gamma)
    np.testing.assert_allclose(chain.gamma_power, gamma**3)


def test_gamma_is_one_without_middle_layers():
    chain = ReLUChain.of(direct(5, 8, 3, (0.3, 0.5)), 5)
    assert chain.gamma == chain.gamma_power == 1.0


def test_ntk_and_standard_parameterizations_are_one_function():
    options = dict(depth=3, width=7, outputs=2, weight_std=1.3)
    ntk = mlp(**options, parameterization=Parameterization.NTK)
    standard = mlp(**options, parameterization=Parameterization.STANDARD)
    chain = ReLUChain.of(standard, 5)
    np.testing.assert_allclose(chain.betas, 1.3 / np.sqrt([5, 7, 7, 7]))
    assert ReLUChain.of(standard, 5, trained=True) == chain
    np.testing.assert_allclose(ReLUChain.of(ntk, 5).betas, chain.betas)
    assert ReLUChain.of(ntk, 5).alpha == chain.alpha == 1.0


def test_trained_reading_has_the_scales_of_the_parameters(getkey):
    net = Sequential(
        (
            Dense(6, 1.3, scale=-0.7, parameterization=Parameterization.NTK),
            RELU,
            Dense(6, 0.8, scale=1.5),
            RELU,
            Dense(2, 0.6, scale=0.25, parameterization=Parameterization.DIRECT),
        )
    )
    function, trained = ReLUChain.of(net, 5), ReLUChain.of(net, 5, trained=True)
    np.testing.assert_allclose(trained.betas, (1.0, 0.8 / 6**0.5, 0.6))
    np.testing.assert_allclose(
        function.betas, (0.7 * 1.3 / 5**0.5, 1.5 * 0.8 / 6**0.5, 0.6)
    )
    np.testing.assert_allclose(function.alpha, 4)
    # Both are the same random function.
    np.testing.assert_allclose(
        np.prod(trained.betas) / trained.alpha, np.prod(function.betas) / function.alpha
    )
    params = net.init(getkey(), (5,))
    outside = jax.tree.map(lambda w: w, params)
    x = jax.random.normal(getkey(), (4, 5))
    weights = [np.asarray(p["weight"]) for p in outside if p]
    h = -np.asarray(x)  # the sign of the first scale
    for w in weights[:-1]:
        h = np.maximum(h @ w, 0)
    expected = h @ weights[-1] / trained.alpha
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-12)


def test_nested_sequences_are_flattened():
    inner = Sequential((Dense(6), RELU))
    nested = Sequential((inner, inner, Dense(2)))
    flat = Sequential((Dense(6), RELU, Dense(6), RELU, Dense(2)))
    assert ReLUChain.of(nested, 5) == ReLUChain.of(flat, 5)


def test_lipschitz_is_the_product_of_the_layers():
    chain = ReLUChain.of(direct(4, 9, 2, (0.3, 0.5, 0.7), alpha=2.0), 4)
    expected = 0.3 * (3 + 2) * 0.5 * (3 + 3) * 0.7 * (2**0.5 + 3) / 2
    np.testing.assert_allclose(chain.lipschitz, expected)


@pytest.mark.parametrize(
    "network, message",
    [
        (mlp(depth=0, width=3), "needs dense layers with `ReLU.*Got Dense. Build"),
        (
            mlp(depth=2, width=3, activation=LeakyReLU(0.2)),
            r"Got Dense, LeakyReLU\(slope=0.2\), Dense",
        ),
        (Sequential((Dense(3), RELU)), r"Got Dense, ReLU\(\). Build"),
        (Sequential((Dense(3), Dense(3), Dense(2))), "Got Dense, Dense, Dense"),
        (
            mlp(depth=2, width=3, bias_std=0.0),
            "without biases. Got `bias_std=0.0` in dense layer 1 of 3",
        ),
        (
            Sequential((Dense(3), RELU, Dense(4), RELU, Dense(1))),
            r"one width. Got widths \[3, 4\]",
        ),
    ],
)
def test_other_networks_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        ReLUChain.of(network, 5)


def test_inputs_need_features():
    with pytest.raises(ValueError, match="Got `in_features=0`"):
        ReLUChain.of(mlp(depth=1, width=3), 0)
