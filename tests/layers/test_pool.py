"""Averages and sums over positions, finite and infinitely wide."""

import jax
import numpy as np
import pytest
import spatial
from spatial import images, jitted_moments

from oracles import unchecked
from widelimit.description import Description
from widelimit.layers import Pool, Readout, Sequential

POOLS = [
    ((5,), Pool("average", (2,))),
    ((5,), Pool("sum", (3,), (1,), "zero")),
    ((6,), Pool("average", (3,), (2,), "circular")),
    ((4, 5), Pool("sum", (2, 3), (1, 2))),
    ((3, 4), Pool("average", (2, 3), (2, 1), "zero")),
    ((4,), Pool("sum")),
    ((3, 2), Pool("average")),
]
every_pool = pytest.mark.parametrize(("shape", "pool"), POOLS, ids=str)


@every_pool
def test_apply_is_the_written_sum(shape, pool):
    x = images(2, shape, 3)
    y = jax.jit(pool.apply)((), x)
    options = (pool.strides, pool.padding, pool.reduction == "average")
    if pool.window is None:
        options = ((1,) * len(shape), *options[1:])
    expected = spatial.pooling(x, pool.window or shape, *options)
    if pool.window is None:
        expected = expected.reshape(2, 3)
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    assert y.shape == (2, *pool.output_shape((*shape, 3)))
    assert pool.init(spatial.KEY, (*shape, 3)) == ()
    assert pool.without_init((*shape, 3)) == pool


@every_pool
def test_moments_are_sums_over_all_pairs(shape, pool):
    state, (one, two) = spatial.random_covariances(3, shape), (slice(0, 1), slice(1, 3))
    before = spatial.moments_of(state, one, two, 4)
    m = jax.jit(pool.moments)(before)
    average = pool.reduction == "average"
    place = (pool.window, pool.strides, pool.padding)
    expected = spatial.pool_covariances(state, *place, average)
    assert m.joint == (pool.window is not None)
    assert m.shape == pool.output_shape((*shape, 4))
    spatial.assert_moments_match(m, expected, one, two)
    for gaussian in (True, False):
        again = before.replace(gaussian=gaussian)
        assert jax.eval_shape(pool.moments, again).gaussian == gaussian


def test_the_sum_and_a_readout_tie_the_signs_over_pixels(getkey):
    x = images(2, (3, 4), 5)
    network = Sequential((Pool("sum"), Readout()))
    params = network.init(getkey(), (3, 4, 5))
    signs = np.asarray(params[1]["signs"])[:, 0]
    expected = np.einsum("nhwc,c->n", x, signs) / 5**0.5
    np.testing.assert_allclose(network.apply(params, x)[:, 0], expected, rtol=1e-13)


def test_a_description_goes_to_json_and_back():
    assert Pool("sum", (2, 3)) == Pool("sum", (2, 3), (2, 3))
    for _, pool in POOLS:
        back = Description.from_json(pool.to_json())
        assert back == pool and hash(back) == hash(pool)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"reduction": "median"},
            "'sum', 'max'. Got `reduction='median'",
        ),
        ({"window": (0,)}, r"`min\(window\) >= 1`"),
        ({"window": (2,), "strides": (0,)}, r"`min\(strides\) >= 1`"),
        ({"window": (2,), "strides": (1, 1)}, r"one stride for each axis"),
        ({"window": (2,), "padding": "same"}, "Got `padding='same'"),
        ({"window": (2, 2, 2)}, r"along one axis or two. Got `window=\(2, 2, 2\)"),
        ({"strides": (2,)}, r"needs a `window` for strides .*Got .*`strides=\(2,\)`"),
        ({"padding": "zero"}, "needs a `window` for .*`padding='zero'`"),
    ],
    ids=repr,
)
def test_settings_out_of_range_are_named(settings, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        Pool(**settings)


@pytest.mark.parametrize(
    ("pool", "shape", "message"),
    [
        (Pool(), (3,), r"one position axis or two.*Got `input_shape=\(3,\)`"),
        (Pool(), (2, 2, 2, 3), r"Got `input_shape=\(2, 2, 2, 3\)`"),
        (Pool("sum", (2,)), (4, 4, 3), r"1 position axis and channels last"),
        (Pool("sum", (2, 5)), (4, 4, 3), r"no smaller than its window"),
    ],
    ids=str,
)
def test_images_must_fit(pool, shape, message):
    for call in (pool.output_shape, lambda s: pool.init(spatial.KEY, s)):
        with pytest.raises(ValueError, match=message):
            call(shape)
    x = images(2, shape[:-1], shape[-1])
    for call in (lambda x: pool.apply((), x), lambda x: jitted_moments(pool, x)):
        with unchecked(), pytest.raises(ValueError, match=message):
            call(x)


def test_moments_of_single_positions_are_refused():
    rows, state = slice(0, 1), spatial.random_covariances(1, (4,))
    m = spatial.moments_of(state, rows, rows, 2).replace(joint=False)
    with pytest.raises(ValueError, match=r"every pair of positions. Got `joint=False`"):
        Pool().moments(m)
