"""What networks refuse in `apply`, and what they cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.layers import BatchNorm, Conv, Dense, Residual, Sequential
from widelimit.networks import cifar_resnet, cnn, mlp
from widelimit.training import train

SHAPE, X = (8, 6, 3), jnp.ones((2, 8, 6, 3))
RESNET = cifar_resnet(depth=8, outputs=2, width_factor=0.25)


def shapes(network, shape=SHAPE):
    return jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))


def params_of(network, shape=SHAPE):
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes(network, shape))


def refused(message, network, params, x=X):
    with unchecked(), pytest.raises(ValueError, match=message):
        jax.eval_shape(network, params, x)


@pytest.mark.parametrize("network", [RESNET, cnn(depth=2, channels=2, outputs=2)])
def test_bytes_and_channels_first_are_named(network):
    params = params_of(network)
    refused("`Conv.apply` .*`x.dtype=uint8`. Scale", network, params, X.astype("uint8"))
    first = jnp.moveaxis(X, -1, 1)
    refused(r"3 channels.*\(2, 3, 8, 6\).*moveaxis\(x, 1, -1\)", network, params, first)
    refused(r"3 channels.*8, 6, 1\)`. Initialise", network, params, X[..., :1])
    # With three rows of pixels as well, the shape does not say.
    same = jnp.ones((2, 3, 3, 3))
    assert jax.eval_shape(network, params, same).shape == (2, 2)


def test_images_without_pixels_or_channels_are_refused():
    network = cnn(depth=2, channels=2, outputs=2)
    for shape in ((0, 6, 3), (8, 6, 0)):
        with pytest.raises(ValueError, match="positions and channels. Got"):
            network.init(jax.random.key(0), shape)


def test_types_are_promoted_as_in_dense_layers():
    network = cnn(depth=2, channels=2, outputs=2)
    params = jax.tree.map(jnp.float32, network.init(jax.random.key(0), SHAPE))
    x = X.astype("float16")
    with jax.numpy_dtype_promotion("standard"):
        y = network(params, x)
        assert y.dtype == "float32"
        np.testing.assert_allclose(y, network(params, x.astype("float32")), rtol=1e-6)


def test_training_says_so_as_well():
    params = jax.tree.map(lambda a: a[None], params_of(RESNET))
    options = {
        "loss": "squared", "optimizer": optax.sgd(0.1), "epochs": 1, "batch_size": 2,
        "keys": jax.random.split(jax.random.key(0), 1),
    }  # fmt: skip
    for x, cure in (
        (
            jnp.moveaxis(X, -1, 1),
            r"Channels come last: take `jnp.moveaxis\(x, 1, -1\)`",
        ),
        (X[..., :2], "Make them with `network.init"),
    ):
        with pytest.raises(ValueError, match=cure):
            train(RESNET, params, x, jnp.ones((2, 2)), **options)


def test_parameters_of_another_network_are_refused():
    deep, wide = (
        cifar_resnet(depth=14, outputs=2, width_factor=0.25),
        cifar_resnet(depth=8, outputs=2, width_factor=0.5),
    )
    refused(r"for its 11 layers, as a tuple. Got 17", RESNET, params_of(deep))
    refused(r"for its 4 outputs.*weight.shape=\(3, 3, 3, 8\)", RESNET, params_of(wide))
    refused("Got a `dict`", RESNET, {"weight": X})
    plain = mlp(depth=1, width=3, outputs=2)
    biased = mlp(depth=1, width=3, outputs=2, bias_std=1.0)
    row = jnp.ones((2, 4))
    refused(r"names \['bias', 'weight'\]", biased, params_of(plain, (4,)), row)
    refused(r"Got \['bias', 'weight'\]", plain, params_of(biased, (4,)), row)
    refused("for its 5 outputs", Dense(5), params_of(Dense(4), (4,)), row)
    refused("weight with 4 axes", Conv(2, (3, 3)), params_of(Dense(2), (6,)))
    refused(r"'scale', 'shift'.*Got \['weight'\]", BatchNorm(), {"weight": X})
    branch = Sequential((Conv(3, (3, 3)),))
    two = Residual(branch, Conv(3, (1, 1)))
    refused(
        r"\['branch', 'shortcut'\]. Got \['branch'\]", two, params_of(Residual(branch))
    )
    refused(r"\['branch'\]. Got", Residual(branch), params_of(two))
    refused("3 channels", BatchNorm(), params_of(BatchNorm()), X[..., :2])
