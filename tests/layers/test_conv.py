"""The convolutional layer: its parameters, its arithmetic, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spatial
from spatial import images, jitted_moments

from oracles import unchecked
from widelimit.description import Description
from widelimit.layers import Conv, Dense, Parameterization

# Windows odd and even, strides that do and do not divide, windows beyond the image.
GEOMETRIES = [
    ((5,), (3,), (1,), "zero"),
    ((5,), (4,), (2,), "zero"),
    ((6,), (3,), (2,), "circular"),
    ((4,), (7,), (3,), "circular"),
    ((7,), (3,), (2,), "valid"),
    ((3, 4), (3, 3), (1, 1), "zero"),
    ((5, 4), (2, 3), (2, 1), "zero"),
    ((3, 4), (2, 3), (1, 2), "circular"),
    ((4, 5), (3, 2), (1, 3), "valid"),
]
every_geometry = pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"), GEOMETRIES, ids=str
)

# Every parameterization, without a bias and with one.
SIZES = [
    Conv(3, (3,), 1.3, bias_std, -0.6, parameterization, (2,), "circular")
    for parameterization in Parameterization
    for bias_std in (None, 0.0, 0.7)
]
every_size = pytest.mark.parametrize(
    "conv", SIZES, ids=lambda c: f"{c.parameterization.value}-{c.bias_std}"
)


def parameters(conv, channels=2):
    shape = (*conv.window, channels, conv.channels)
    numbers = np.random.default_rng(20260102).normal(size=(1 + np.prod(shape[:-1]), 3))
    weight, bias = numbers[1:].reshape(shape), numbers[0]
    params = {"weight": jnp.asarray(weight), "bias": jnp.asarray(bias)}
    return params if conv.bias_std is not None else {"weight": params["weight"]}


@every_geometry
def test_apply_is_the_written_sum(shape, window, strides, padding):
    conv = Conv(3, window, 1.3, 0.7, -0.6, strides=strides, padding=padding)
    params, x = parameters(conv), images(2, shape)
    place, weight = {"strides": strides, "padding": padding}, params["weight"]
    expected = spatial.convolution(weight, x, **place) + np.asarray(params["bias"])
    y = conv.apply(params, x)
    np.testing.assert_allclose(y, -0.6 * expected, rtol=1e-12, atol=1e-14)
    assert y.shape == (2, *conv.output_shape((*shape, 2)))


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [GEOMETRIES[1], GEOMETRIES[6], GEOMETRIES[4]],
    ids=str,
)
def test_windows_lie_as_those_of_the_library_below(shape, window, strides, padding):
    conv = Conv(3, window, strides=strides, padding=padding)
    params, x = parameters(conv), images(2, shape)
    axes = ("NWC", "WIO", "NWC") if len(shape) == 1 else ("NHWC", "HWIO", "NHWC")
    name = {"zero": "SAME", "valid": "VALID"}[padding]
    expected = jax.lax.conv_general_dilated(
        x, params["weight"], strides, name, dimension_numbers=axes
    )
    np.testing.assert_allclose(conv.apply(params, x), expected, rtol=1e-12)


@every_size
def test_parameters_are_as_of_a_dense_layer_over_a_patch(conv, getkey):
    key, x = getkey(), images(2, (3,))
    dense = Dense(3, 1.3, conv.bias_std, -0.6, conv.parameterization)
    whole = dataclasses.replace(conv, padding="valid", strides=(1,))
    params, flat = whole.init(key, (3, 2)), dense.init(key, (6,))
    assert set(params) == set(flat) and params["weight"].shape == (3, 2, 3)
    for name in params:
        np.testing.assert_array_equal(
            params[name].reshape(flat[name].shape), flat[name]
        )
    expected = dense.apply(flat, x.reshape(2, 6))
    np.testing.assert_allclose(whole.apply(params, x)[:, 0], expected, rtol=1e-12)
    assert whole.fan_in((3, 2)) == 6
    assert whole.init_std(6) == dense.init_std(6)
    assert whole.forward_scale(6) == dense.forward_scale(6)


@every_size
def test_without_init_is_the_same_function_of_the_parameters(conv, getkey):
    params = jax.tree.map(lambda p: p + 0.3, conv.init(getkey(), (5, 2)))
    x = images(2, (5,))
    bare = conv.without_init((5, 2))
    expected = conv.apply(params, x)
    np.testing.assert_allclose(bare.apply(params, x), expected, rtol=1e-13)
    assert bare.without_init((5, 2)) == bare
    assert (bare.strides, bare.padding) == (conv.strides, conv.padding)


@pytest.mark.parametrize("window", [(3,), (4,), (2, 3)], ids=str)
def test_circular_convolution_commutes_with_shifts(window):
    conv, shape = Conv(3, window, padding="circular"), (5, 4)[: len(window)]
    params, x = parameters(conv), images(2, shape)
    axes = tuple(range(1, x.ndim - 1))
    shift = (2, -1)[: len(axes)]
    rolled = conv.apply(params, jnp.asarray(np.roll(x, shift, axes)))
    expected = np.roll(conv.apply(params, x), shift, axes)
    np.testing.assert_allclose(rolled, expected, rtol=1e-12)


def test_windows_of_entry_l_at_stride_one():
    """The identity of the class's docstring: from l - (w - 1) // 2 to l + w // 2."""
    n = 5
    for w in (3, 4):
        ramp = np.arange(1.0, n + 1)
        weight = jnp.ones((w, 1, 1))
        y = Conv(1, (w,)).apply({"weight": weight}, jnp.asarray(ramp)[None, :, None])
        y = np.asarray(y)[0, :, 0]
        for entry in range(n):
            first, last = max(entry - (w - 1) // 2, 0), entry + w // 2
            assert y[entry] == ramp[first : last + 1].sum()


def test_float32_inputs_and_parameters_stay_float32():
    conv = SIZES[-1]
    single = jax.tree.map(lambda p: p.astype(jnp.float32), parameters(conv))
    assert conv.apply(single, jnp.ones((2, 5, 2), jnp.float32)).dtype == jnp.float32


def test_a_description_goes_to_json_and_back():
    assert Conv(3, (3,)) == Conv(3, (3,), strides=(1,))
    for layer in SIZES:
        back = Description.from_json(layer.to_json())
        assert back == layer and hash(back) == hash(layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "`Conv` needs `channels >= 1`. Got `channels=0`"),
        ({"weight_std": 0.0}, "finite `weight_std > 0`. Got `weight_std=0.0`"),
        ({"bias_std": -0.2}, "`bias_std.*Got `bias_std=-0.2`"),
        ({"scale": 0.0}, r"`abs\(scale\) > 0`"),
        ({"window": ()}, r"along one axis or two. Got `window=\(\)`"),
        ({"window": (2, 2, 2), "strides": None}, r"Got `window=\(2, 2, 2\)`"),
        ({"window": (0,)}, r"`min\(window\) >= 1`. Got `min\(window\)=0`"),
        ({"strides": (0,)}, r"`min\(strides\) >= 1`. Got `min\(strides\)=0`"),
        ({"strides": (-1,)}, r"Got `min\(strides\)=-1`"),
        ({"strides": (1.5,)}, r"whole number as `min\(strides\)`. Got .*=1.5`"),
        (
            {"window": 3},
            r"number per position axis as `window`. Got `window=3`. .*3, 3",
        ),
        ({"strides": 2}, r"number per position axis as `strides`. Got `strides=2`"),
        ({"strides": (1, 1)}, r"one stride for each axis.*Got `strides=\(1, 1\)`"),
        (
            {"padding": "same"},
            "one of 'zero', 'centered', 'circular', 'valid'. Got `padding='same'",
        ),
    ],
    ids=repr,
)
def test_settings_out_of_range_are_named(change, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        dataclasses.replace(Conv(4, (3,)), **change)


@pytest.mark.parametrize(
    "method", ["output_shape", "without_init", "init", "apply", "moments"]
)
def test_images_must_fit_the_window(method, getkey):
    x = images(2, (3,))

    def call(layer, x):
        match method:
            case "output_shape" | "without_init":
                getattr(layer, method)(x.shape[1:])
            case "init":
                layer.init(getkey(), x.shape[1:])
            case "apply":
                layer.apply({"weight": jnp.ones((2, 2, 2, 3))}, x)
            case _:
                jitted_moments(layer, x)

    message = r"2 position axes and channels last. Got `input_shape=\(3, 2\)`"
    with pytest.raises(ValueError, match=message):
        call(Conv(3, (2, 2)), x)
    valid = Conv(3, (2, 4), padding="valid")
    with pytest.raises(ValueError, match=r"no smaller than its window.*\(3, 3, 2\)"):
        call(valid, images(2, (3, 3)))
    assert valid.output_shape((3, 4, 2)) == (2, 1, 3)


def test_inputs_must_have_the_channels_of_the_weights(getkey):
    params = Conv(4, (3,)).init(getkey(), (5, 2))
    message = r"inputs with 2 channels, .* Got `x.shape=\(1, 5, 3\)`"
    with pytest.raises(ValueError, match=message):
        Conv(4, (3,)).apply(params, jnp.ones((1, 5, 3)))


def test_settings_given_as_lists_become_tuples():
    with unchecked():
        layer = Conv(3, [3], strides=[2])  # pyright: ignore[reportArgumentType]
    assert layer == Conv(3, (3,), strides=(2,)) and hash(layer)
