"""The real files, where WIDELIMIT_DATA has them, against published numbers."""

import hashlib

import numpy as np
import pytest

from widelimit import datasets


def load(name, folder):
    try:
        return datasets.load(name, directory=folder)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def digest(x):
    """SHA-256 of the integer pixels."""
    return hashlib.sha256(np.rint(x * 255).astype(np.uint8).tobytes()).hexdigest()


def test_mnist(real_data):
    mnist = load("mnist", real_data)
    assert mnist.x_train.shape == (60000, 28, 28)
    assert mnist.x_test.shape == (10000, 28, 28)
    assert mnist.x_train.min() == 0 and mnist.x_train.max() == 1
    expected = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_train).tolist() == expected
    expected = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.y_test).tolist() == expected
    assert digest(mnist.x_test).startswith("6d87418db22cc8025d05968bec9bd5c3")


def test_mnist_zeros_and_ones_prepared(real_data):
    made = datasets.prepare(
        load("mnist", real_data), classes=(0, 1), targets="sign", size=9, test=50
    )
    assert made.x_train.shape == (12665, 81) and made.x_test.shape == (50, 81)
    norms = np.linalg.norm(made.x_train.astype(float), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-7)
    assert made.t_train.sum() == 5923 - 6742


def test_cifar10(real_data):
    cifar10 = load("cifar10", real_data)
    if "subset" not in cifar10.source:
        pytest.skip("the numbers are those of cifar10_subset.npz")
    assert cifar10.x_train.shape == (10000, 3, 32, 32)
    expected = [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert np.bincount(cifar10.y_train).tolist() == expected
    expected = [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]
    assert np.bincount(cifar10.y_test).tolist() == expected
    assert digest(cifar10.x_test).startswith("f167149948fc8fe0b9a76ba86421e987")
    with np.load(real_data / "cifar10_subset.npz", allow_pickle=False) as archive:
        assert cifar10.class_names == tuple(archive["class_names"].tolist())


def test_the_binary_reader_rebuilds_the_first_batch(real_data, tmp_path):
    """The records of `data_batch_1.bin`, whose checksum is published, come back."""
    path = real_data / "cifar10_subset.npz"
    if not path.exists():
        pytest.skip("WIDELIMIT_DATA has no cifar10_subset.npz")
    with np.load(path, allow_pickle=False) as archive:
        x, y = archive["x_train"], archive["y_train"]
    data = np.concatenate([y[:, None], x.reshape(len(x), -1)], axis=1).tobytes()
    assert hashlib.md5(data).hexdigest() == "5dd7e06a14cb22eb9f671a540d1b7c25"
    (tmp_path / "data_batch_1.bin").write_bytes(data)
    images, labels = datasets.read_cifar10_binary(tmp_path / "data_batch_1.bin")
    np.testing.assert_array_equal(images, x)
    np.testing.assert_array_equal(labels, y)
