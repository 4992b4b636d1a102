"""Convolutional and residual networks: counts as published, shapes, initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.layers import Conv, Residual, is_statistic
from widelimit.networks import cifar_resnet, cnn, resnet18, resnet34, resnet110

IMAGE = (32, 32, 3)
# Of the networks for CIFAR-10 with projection shortcuts, by their published code.
PUBLISHED = {resnet18: 11_173_962, resnet34: 21_282_122, resnet110: 1_730_714}


def trained(network, shape=IMAGE):
    params = jax.eval_shape(lambda k: network.init(k, shape), jax.random.key(0))
    paths = jax.tree.flatten_with_path(params)[0]
    return sum(leaf.size for path, leaf in paths if not is_statistic(path))


@pytest.mark.parametrize("builder", PUBLISHED, ids=lambda b: b.__name__)
def test_parameters_are_as_many_as_published(builder):
    assert trained(builder()) == PUBLISHED[builder]
    hundred = builder(outputs=100)
    features = 64 if builder is resnet110 else 512
    assert trained(hundred) == PUBLISHED[builder] + 90 * (features + 1)
    assert hundred.output_shape(IMAGE) == (100,)


def convolutions(layer):
    """Every convolution with its place: path and input shape are not needed."""
    for part in getattr(layer, "layers", (layer,)):
        if isinstance(part, Residual):
            yield from convolutions(part.branch)
            if part.shortcut is not None:
                yield from convolutions(part.shortcut)
        elif isinstance(part, Conv):
            yield part


def test_depths_and_width_factors():
    main = [c for c in convolutions(resnet34()) if c.window == (3, 3)]
    assert len(main) + 1 == 34
    half = resnet18(width_factor=0.25)
    assert [c.channels for c in convolutions(half)][:1] == [16]
    assert max(c.channels for c in convolutions(half)) == 128
    deep = [c for c in convolutions(resnet110(width_factor=0.5)) if c.window == (3, 3)]
    assert len(deep) + 1 == 110 and {c.channels for c in deep} == {8, 16, 32}


def test_other_depths_of_the_cifar_family():
    # ResNet-20 has 269,722 with shortcuts that pad, and 2,752 more with projections.
    assert trained(cifar_resnet(depth=20)) == 272_474
    assert cifar_resnet(depth=110, width_factor=0.5) == resnet110(width_factor=0.5)
    with pytest.raises(ValueError, match="`depth=18`. Take 14 or 20"):
        cifar_resnet(depth=18)
    with pytest.raises(ValueError, match="`depth"):
        cifar_resnet(depth=2)


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_a_plain_cnn_has_its_layers(depth):
    network = cnn(depth=depth, channels=8, outputs=10)
    found = list(convolutions(network))
    assert len(found) == depth and {c.channels for c in found} == {8}
    count = 27 * 8 + (depth - 1) * 9 * 64 + 80
    assert trained(network) == count
    strides = [c.strides for c in found if c.strides != (1, 1)]
    assert len(strides) == {1: 0, 3: 2, 9: 2}[depth]


@pytest.mark.parametrize(
    ("name", "hidden", "last"),
    [
        ("he", lambda fan_in, m: np.sqrt(2 / fan_in), np.sqrt(2 / 16)),
        ("lecun", lambda fan_in, m: np.sqrt(1 / fan_in), np.sqrt(1 / 16)),
        ("ntk", lambda fan_in, m: np.sqrt(2 / (9 * m)), np.sqrt(1 / 5)),
        ("non-lazy", lambda fan_in, m: m**-1.5, 16**-1.5),
    ],
)
def test_weights_start_with_the_sizes_of_their_initialisation(
    name, hidden, last, getkey
):
    network = cnn(depth=2, channels=16, outputs=5, initialization=name, exponent=1.5)
    params = network.init(getkey(), (6, 6, 30))
    weights = [np.asarray(p["weight"]) for p in params if p]
    expected = [hidden(270, 16), hidden(144, 16), last]
    for weight, size in zip(weights, expected, strict=True):
        error = size / np.sqrt(2 * weight.size)
        assert abs(weight.std() - size) < 5 * error


def test_outputs_of_a_small_residual_network(getkey):
    network = resnet18(outputs=3, width_factor=1 / 32)
    params = network.init(getkey(), (8, 8, 3))
    x = jax.random.normal(getkey(), (2, 8, 8, 3))
    y = jax.jit(network.apply)(params, x)
    assert y.shape == (2, 3) and bool(jnp.all(jnp.isfinite(y)))
    assert network.batched


WRONG = [
    {"depth": 0},
    {"channels": 0},
    {"outputs": 0},
    {"initialization": "best"},
    {"alpha": 0.0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_bad_settings(wrong):
    with pytest.raises(ValueError, match="`cnn` needs"):
        cnn(**{"depth": 2, "channels": 3, "outputs": 2} | wrong)
    with pytest.raises(ValueError, match="`resnet18` needs"):
        resnet18(width_factor=-1.0)
