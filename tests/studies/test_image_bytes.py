"""Training images kept as the bytes that they were."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from widelimit import _checks
from widelimit.datasets import Dataset, load, prepare_images
from widelimit.studies import STUDIES, image_trial
from widelimit.studies.image_bytes import training_pixels

RNG = np.random.default_rng(21)
BYTES = RNG.integers(256, size=(50, 2, 8, 8), dtype=np.uint8)


def prepared(scale="channel", bytes_=BYTES, **options):
    x = np.divide(bytes_, 255, dtype=np.float32)
    labels, names = np.arange(50) % 10, tuple("abcdefghij")
    data = Dataset("own", x[:40], labels[:40], x[40:], labels[40:], names, x.shape[1:])
    return prepare_images(data, scale=scale, **options)


@pytest.mark.parametrize("scale", ["channel", "raw"])
def test_bytes_are_found_and_make_the_same_images(scale, monkeypatch):
    monkeypatch.setattr(_checks, "BLOCK_BYTES", 3000)  # blocks of some rows
    data = prepared(scale)
    pixels, scaling = training_pixels(data)
    np.testing.assert_array_equal(pixels, np.moveaxis(BYTES[:40], 1, -1))
    found = scaling(jnp.asarray(pixels), jnp.float32)
    np.testing.assert_allclose(found, data.x_train, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        prepared("unit"),
        prepared(size=3),
        prepared(bytes_=BYTES + np.float32(0.01)),
        prepared(bytes_=BYTES.astype(np.float32) + 1),
        prepare_images(load("digits")),
    ],
    ids=["unit", "smaller", "finer", "above white", "coarser"],
)
def test_other_numbers_are_left_as_they_are(data):
    assert training_pixels(data) is None


@pytest.mark.slow
def test_a_trial_on_bytes_is_that_on_numbers(monkeypatch):
    study = STUDIES["stability-cnn"]
    [config] = study.trials(
        study.configure(
            changes={
                "networks": "cnn", "depths": "2", "widths": "3", "seeds": 1,
                "epochs": 4, "probe_epochs": "0,4", "batch_size": 20,
                "train_rows": 40, "test_rows": 10, "stability_rows": 8,
                "learning_rate": 0.1, "pictures": 2,
            }
        )
    )  # fmt: skip
    monkeypatch.setattr(image_trial, "prepared_images", lambda *_: prepared())
    kept = image_trial.train_on_images(config, lambda share: None)
    monkeypatch.setattr(image_trial, "training_pixels", lambda data: None)
    numbers = image_trial.train_on_images(config, lambda share: None)
    xr.testing.assert_allclose(kept, numbers, rtol=1e-5)
