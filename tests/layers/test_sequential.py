"""Layers one after another, and activations as layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
from oracles import unchecked
from widelimit.activations import GELU, ReLU
from widelimit.layers import Activation, Dense, Parameterization, Sequential
from widelimit.networks import mlp

D, N = 5, 3

every_network = pytest.mark.parametrize("network", cases.NETWORKS, ids=cases.label)


@every_network
def test_apply_is_the_layers_in_order(network, getkey):
    params = network.init(getkey(), (D,))
    x = jax.random.normal(getkey(), (N, D))
    expected = x
    for layer, p in zip(network.layers, params, strict=True):
        expected = layer.apply(p, expected)
    np.testing.assert_array_equal(network.apply(params, x), expected)
    assert expected.shape == (N, *network.output_shape((D,)))


@every_network
def test_rows_are_independent(network, getkey):
    params = network.init(getkey(), (D,))
    x = jax.random.normal(getkey(), (N, D))
    rows = [network.apply(params, row[None])[0] for row in x]
    np.testing.assert_allclose(network.apply(params, x), rows, rtol=1e-12, atol=1e-14)


@every_network
def test_without_init_is_the_same_function_of_the_parameters(network, getkey):
    params = network.init(getkey(), (D,))
    x = jax.random.normal(getkey(), (N, D))
    bare = network.without_init((D,))
    np.testing.assert_allclose(
        bare.apply(params, x), network.apply(params, x), rtol=1e-13
    )
    assert jax.tree.structure(bare.init(getkey(), (D,))) == jax.tree.structure(params)


def test_input_shapes_are_those_that_each_layer_meets():
    network = Sequential((Dense(7), Activation(ReLU()), Dense(2)))
    assert network.input_shapes((D,)) == ((D,), (7,), (7,))
    assert network.output_shape((D,)) == (2,)


def test_layers_start_independently(getkey):
    first, _, second = Sequential((Dense(D), Activation(ReLU()), Dense(D))).init(
        getkey(), (D,)
    )
    assert not np.isclose(first["weight"], second["weight"]).any()


def test_an_activation_is_a_layer_without_parameters(getkey):
    layer, x = Activation(GELU()), jax.random.normal(getkey(), (N, 2, D))
    assert layer.init(getkey(), (2, D)) == ()
    assert layer.output_shape((2, D)) == (2, D)
    assert layer.without_init((2, D)) == layer
    np.testing.assert_array_equal(layer.apply((), x), GELU()(x))


def test_parameters_of_another_depth_are_refused(getkey):
    params = cases.NETWORKS[0].init(getkey(), (D,))
    with pytest.raises(
        ValueError, match=r"for its 3 layers, as a tuple. Got \d\. Make"
    ):
        mlp(depth=1, width=6).apply(params, jnp.ones((N, D)))


@pytest.mark.parametrize("layers", [(), (ReLU(),), (Dense(3), ReLU()), (3,)], ids=repr)
def test_what_is_no_layer_is_refused(layers):
    message = r"non-empty tuple of layers. Got `layers=.*Wrap activations"
    with unchecked(), pytest.raises(ValueError, match=message):
        Sequential(layers)


def test_a_list_of_layers_becomes_a_tuple():
    with unchecked():
        network = Sequential([Dense(3)])  # pyright: ignore[reportArgumentType]
    assert network == Sequential((Dense(3),)) and hash(network)


def test_an_activation_needs_an_activation():
    with unchecked(), pytest.raises(ValueError, match="Got `function=Dense"):
        Activation(Dense(3))  # pyright: ignore[reportArgumentType]


def test_shapes_that_do_not_fit_are_refused_at_the_layer(getkey):
    network = Sequential((Activation(ReLU()), Dense(3)))
    with pytest.raises(ValueError, match=r"Got `input_shape=\(2, 5\)`"):
        network.init(getkey(), (2, 5))
    ntk = Sequential((Dense(3, parameterization=Parameterization.NTK),))
    with pytest.raises(ValueError, match=r"Got `input_shape=\(2, 5\)`"):
        ntk.without_init((2, 5))
