"""Images for convolutional networks, against NumPy."""

import numpy as np
import pytest

from widelimit.datasets import Dataset, load, prepare, prepare_images

RNG = np.random.default_rng(5)


def dataset(shape, rows=(7, 4)):
    x_train, x_test = (RNG.uniform(size=(n, *shape)).astype("f4") for n in rows)
    y_train, y_test = (np.arange(n) % 3 for n in rows)
    names = ("a", "b", "c")
    return Dataset("own", x_train, y_train, x_test, y_test, names, shape)


def test_channels_come_last_and_are_normalised_by_the_training_images():
    data = dataset((3, 4, 5))
    found = prepare_images(data)
    assert found.x_train.shape == (7, 4, 5, 3) and found.x_test.shape == (4, 4, 5, 3)
    for c in range(3):
        plane = data.x_train[:, c].astype(float)
        for images, mine in (
            (data.x_train, found.x_train),
            (data.x_test, found.x_test),
        ):
            expected = (images[:, c] - plane.mean()) / plane.std()
            np.testing.assert_allclose(mine[..., c], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.mean[c], plane.mean(), rtol=1e-6)
        np.testing.assert_allclose(found.std[c], plane.std(), rtol=1e-6)
    np.testing.assert_array_equal(found.t_train, np.eye(3)[data.y_train])


def test_rows_are_those_of_prepare():
    data = load("digits")
    options = {"classes": (1, 7), "targets": "sign", "train": 20, "test": 9, "seed": 3}
    rows = prepare(data, scale="unit", size=6, **options)
    found = prepare_images(data, scale="unit", size=6, **options)
    assert found.x_train.shape == (20, 6, 6, 1) and found.classes == rows.classes
    np.testing.assert_array_equal(found.x_train.reshape(20, -1), rows.x_train)
    np.testing.assert_array_equal(found.x_test.reshape(9, -1), rows.x_test)
    np.testing.assert_array_equal(found.t_test, rows.t_test)
    raw = prepare_images(data, scale="raw", train=5)
    assert raw.x_train.min() >= 0 and raw.x_train.max() <= 1


def test_raw_pixels_that_are_bytes_are_refused():
    shape, labels = (2, 4, 4), np.arange(6) % 2
    whole = RNG.integers(256, size=(6, *shape))

    def prepared(x, scale="raw"):
        own = Dataset("own", x, labels, x[::-1], labels, ("a", "b"), shape)
        return prepare_images(own, scale=scale)

    for x in (whole, whole.astype("f4"), np.clip(whole + 0.25, 0, 255), whole // 16):
        with pytest.raises(
            ValueError, match=r"from [01].* to [\d.]+ in 'own'.*\(255 for bytes\)"
        ):
            prepared(x)
    # Scaled in any way, black and white, or of another range: these may be meant.
    scaled = (whole / 255, whole / 127.5 - 1, (whole - 127.5) / 60, whole / 60)
    for x in (*scaled, whole % 2, 16 * whole, whole - 128):
        assert prepared(x).x_train.shape == (6, 4, 4, 2)
    assert abs(prepared(whole, "channel").x_train.mean()) < 1e-6


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="'channel', 'unit', 'raw'"):
        prepare_images(dataset((3, 4, 5)), scale="best")
    with pytest.raises(ValueError, match="needs images"):
        prepare_images(dataset((5,)))
    for shape in ((5, 5, 3), (8, 8, 1)):
        with pytest.raises(ValueError, match=r"with channels last.*moveaxis\(x, -1, 1"):
            prepare_images(dataset(shape))
    for shape in ((3, 4, 5), (16, 5, 5), (12, 4, 3), (3, 3, 3), (1, 4, 1)):
        images = prepare_images(dataset(shape)).x_train
        assert images.shape == (7, *shape[1:], shape[0])
    flat = dataset((3, 4, 5))
    flat.x_train[:, 1] = 0.5
    with pytest.raises(ValueError, match="constant channel 1"):
        prepare_images(flat)
