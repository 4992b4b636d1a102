"""The convolutional layer at infinite width."""

import dataclasses

import numpy as np
import pytest
import spatial
from spatial import images, jitted_moments, quadratic

from widelimit.layers import (
    Conv,
    Dense,
    Flatten,
    Parameterization,
    Pool,
    Residual,
    Sequential,
)

STANDARD, NTK, DIRECT = Parameterization

CONVS = [
    Conv(4, (3,), 1.3, 0.7, -0.6),
    Conv(4, (4,), 0.6, None, 0.8, DIRECT, (2,), "circular"),
    Conv(4, (2, 3), 1.1, 0.3, 0.9, NTK, (2, 1)),
    Conv(4, (3, 2), 1.1, 0.0, 0.9, NTK, (1, 2), "circular"),
    Conv(4, (2, 2), 1.1, 0.4, 0.9, DIRECT, (1, 2), "valid"),
]
ONE, TWO = slice(0, 1), slice(1, 3)  # the images of the first batch and of the second


@pytest.mark.parametrize(
    ("conv", "joint"),
    [*((conv, True) for conv in CONVS), (CONVS[2], False)],
    ids=str,
)
def test_moments_are_the_written_recursion(conv, joint):
    x = images(3, (5, 4)[: len(conv.window)])
    again = dataclasses.replace(conv, bias_std=0.2)
    layers = (conv, quadratic(0.4, -0.7, 0.2), again)
    network = Sequential((*layers, Pool()) if joint else layers)
    states = [spatial.image_covariances(x)]
    states.append(spatial.conv_covariances(states[-1], conv, 2))
    states.append(spatial.quadratic_covariances(states[-1], 0.4, -0.7, 0.2))
    states.append(spatial.conv_covariances(states[-1], again, 4))
    found = jitted_moments(network, x[ONE], x[TWO])[:4]
    for m, expected in zip(found, states, strict=True):
        assert m.joint == joint
        spatial.assert_moments_match(m, expected, ONE, TWO)
    assert [m.gaussian for m in found] == [False, True, False, True]


def test_residual_branches_keep_means_at_every_position():
    x = images(3, (3, 2))
    first, branch = Conv(4, (1, 1), 1.2, 0.5), Conv(4, (3, 3), 0.9, 0.3)
    act = quadratic(0.3, 0.8, -0.25)
    block = Residual(Sequential((branch, act)))
    network = Sequential((first, act, block, block, Pool("sum")))
    state = spatial.conv_covariances(spatial.image_covariances(x), first, 2)
    state = spatial.quadratic_covariances(state, 0.3, 0.8, -0.25)
    for _ in range(2):
        inner = spatial.conv_covariances(state, branch, 4)
        inner = spatial.quadratic_covariances(inner, 0.3, 0.8, -0.25)
        state = spatial.sum_covariances(state, inner)
    m = jitted_moments(network, x[ONE], x[TWO], per_layer=True)
    assert len(m[-1].ntk) == 3  # one of each convolution; together, the whole
    spatial.assert_moments_match(m[-2], state, ONE, TWO)
    state = spatial.pool_covariances(state, None, None, None, False)
    spatial.assert_moments_match(m[-1], state, ONE, TWO)


def test_a_window_of_one_is_a_dense_layer_at_every_position():
    x = images(3, (4,), 3)
    options, act = (1.3, 0.4, 0.8, NTK), quadratic(0.3, 0.8, -0.25)
    pointwise = Sequential((Conv(5, (1,), *options), act, Conv(2, (1,), *options)))
    dense = Sequential((Dense(5, *options), act, Dense(2, *options)))
    m = jitted_moments(pointwise, x, x[:2])[-1]
    for position in range(4):
        expected = jitted_moments(dense, x[:, position], x[:2, position])[-1]
        for k, e in ((m.cross, expected.cross), (m.ntk[0], expected.ntk[0])):
            np.testing.assert_allclose(k[..., position], e, rtol=1e-12)


@pytest.mark.parametrize("parameterization", Parameterization)
def test_a_window_over_everything_is_a_dense_layer(parameterization):
    x, options = images(3, (5,)), (1.3, 0.7, -0.6, parameterization)
    conv = Conv(3, (5,), *options, padding="valid")
    m = jitted_moments(Sequential((conv, Flatten())), x, x[:2])[-1]
    vectors = x.reshape(3, 10)
    expected = jitted_moments(Dense(3, *options), vectors, vectors[:2])[-1]
    np.testing.assert_allclose(m.cross, expected.cross, rtol=1e-12)
    np.testing.assert_allclose(m.ntk[0], expected.ntk[0], rtol=1e-12)
