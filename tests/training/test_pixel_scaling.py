"""Images as bytes: the same training as on scaled images."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.attacks import PGD
from widelimit.training import CropFlip, PixelScaling, train

RNG = np.random.default_rng(11)
BYTES = jnp.asarray(RNG.integers(256, size=(7, 4, 5, 2)), jnp.uint8)
TARGETS = jnp.asarray(np.where(np.arange(7) % 3, 1.0, -1.0)[:, None])
SCALING = PixelScaling((0.4, 0.6), (0.2, 0.3))
KEYS = jax.random.split(jax.random.key(2), 2)


def apply(params, x):
    return jnp.tanh(jnp.sum(x * params, axis=(1, 2)))[:, :1]


def run(x, **options):
    params = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4, 5, 2)))
    defaults = {
        "loss": "logistic", "optimizer": optax.sgd(0.1), "epochs": 2, "batch_size": 3,
        "keys": KEYS,
    }  # fmt: skip
    return train(apply, params, x, TARGETS, **(defaults | options))


def test_images_are_scaled_per_channel():
    x = np.asarray(BYTES) / 255
    expected = np.stack([(x[..., 0] - 0.4) / 0.2, (x[..., 1] - 0.6) / 0.3], axis=-1)
    np.testing.assert_allclose(SCALING(BYTES, jnp.float64), expected, rtol=1e-14)
    assert SCALING(BYTES).dtype == jnp.float32
    assert PixelScaling.from_json(SCALING.to_json()) == SCALING
    with unchecked():
        assert type(PixelScaling((np.float32(0.5),), (1.0,)).mean[0]) is float


def test_training_on_bytes_is_that_on_scaled_images():
    floating = run(SCALING(BYTES, float), augmentation=CropFlip(1))
    bytes_ = run(BYTES, scaling=SCALING, augmentation=CropFlip(1))
    np.testing.assert_allclose(bytes_.params, floating.params, rtol=1e-12)
    np.testing.assert_allclose(bytes_.loss, floating.loss, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (BYTES, {}, "floating-point type.*or give the `scaling` of images that are"),
        (
            BYTES.astype(float),
            {"scaling": SCALING},
            r"`train` needs images of bytes.*Got `x.dtype=float64`",
        ),
        (
            jnp.moveaxis(BYTES, -1, 1),
            {"scaling": SCALING},
            r"\(n, height, width, 2\).*`x.shape=\(7, 2, 4, 5\)`.*channels come last",
        ),
        (
            BYTES,
            {"scaling": SCALING, "adversary": PGD(0.1, steps=1)},
            "floating inputs with an `adversary`",
        ),
    ],
    ids=["no scaling", "floating", "channels first", "adversary"],
)
def test_what_does_not_fit_is_refused(x, options, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        run(x, **options)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.1, 0.1), "one mean and one standard deviation per channel"),
        ((), (), "one mean and one"),
        ((0.5,), (0.0,), "a finite `std > 0`. Got `std=0.0`"),
        ((0.5, 0.5), (0.2, 50.0), r"deviations.*`std=\(0.2, 50.0\)`.*bytes by 255"),
        ((127.5,), (64.0,), "units of white.*Divide those of bytes by 255"),
        ((-0.5,), (0.2,), r"units of white.*`mean=\(-0.5,\)`"),
        (0.5, (0.2,), r"one number per channel as `mean`. Got `mean=0.5`"),
        ((0.5,), ("a",), r"one number per channel as `std`. Got `std=\('a',\)`"),
    ],
)
def test_numbers_out_of_range_are_named(mean, std, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        PixelScaling(mean, std)
