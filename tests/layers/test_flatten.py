"""Images to vectors, finite and infinitely wide."""

import numpy as np
import pytest
import spatial
from spatial import images, jitted_moments

from widelimit.activations import GELU, ReLU
from widelimit.description import Description
from widelimit.kernels import limit_block, limit_moments
from widelimit.layers import Activation, Conv, Dense, Flatten, Residual, Sequential


def test_apply_writes_channels_fastest():
    x = images(2, (3, 4), 5)
    y = Flatten().apply((), x)
    assert y.shape == (2, 60) == (2, *Flatten().output_shape((3, 4, 5)))
    assert y[1, (2 * 4 + 3) * 5 + 4] == x[1, 2, 3, 4]
    assert Flatten().init(spatial.KEY, (3, 4, 5)) == ()
    assert Description.from_json(Flatten().to_json()) == Flatten()


@pytest.mark.parametrize("shape", [(5,), (3, 2)], ids=str)
def test_moments_are_means_over_positions(shape):
    state, (one, two) = spatial.random_covariances(3, shape), (slice(0, 1), slice(1, 3))
    joint = spatial.moments_of(state, one, two, 4)
    diagonal = {
        n: joint.diagonal(getattr(joint, n)) for n in ("cross", "first", "second")
    }
    single = joint.replace(**diagonal, ntk=(joint.diagonal(joint.ntk[0]),), joint=False)
    for before in (joint, single):
        m = Flatten().moments(before)
        assert not (m.joint or m.gaussian) and m.shape == (4 * np.prod(shape),)
        spatial.assert_moments_match(m, spatial.flat_covariances(state), one, two)


def test_a_dense_layer_behind_is_one_of_all_entries():
    """Of the inputs themselves, flattened before or inside the network."""
    x, dense = images(3, (2, 3), 4), Dense(3, 1.3, 0.4)
    kernels = limit_block(Sequential((Flatten(), dense)), x, x)
    vectors = x.reshape(3, 24)
    expected = limit_block(dense, vectors, vectors)
    np.testing.assert_allclose(kernels.nngp, expected.nngp, atol=1e-13)
    np.testing.assert_allclose(kernels.ntk, expected.ntk, atol=1e-13)


def test_vectors_stay_as_they_are():
    x = images(3, (), 4)
    np.testing.assert_array_equal(Flatten().apply((), x), x)
    before, after = limit_moments(Flatten(), x)
    np.testing.assert_array_equal(after.cross, before.cross)
    assert after.shape == (4,)


def test_an_activation_does_not_follow():
    x = images(2, (4,))
    conv, act = Conv(4, (2,)), Activation(ReLU())
    network = Sequential((conv, Flatten(), act))
    assert not network.needs_joint(False)
    with pytest.raises(ValueError, match="needs Gaussian features"):
        jitted_moments(network, x)
    single = Conv(4, (4,), padding="valid")  # one position: all features are alike
    assert limit_moments(Sequential((single, Flatten())), x)[-1].gaussian


def test_sums_of_flattened_features_with_means_are_refused():
    """At each position means are multiplied; flattened, only their averages are."""
    branch = Sequential((Conv(6, (3,)), Activation(GELU()), Flatten()))
    twice = Residual(branch, Sequential((Conv(6, (3,)), Activation(GELU()), Flatten())))
    x = images(2, (4,), 3)
    with pytest.raises(ValueError, match="Put `Flatten` behind the sum, not into both"):
        limit_block(Sequential((twice, Dense(1))), x, x)
    centred = Residual(branch, Sequential((Conv(6, (3,)), Flatten())))
    assert limit_block(Sequential((centred, Dense(1))), x, x).nngp.shape == (2, 2)
