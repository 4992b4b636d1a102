"""`load` on files that are damaged or are not what their name says."""

import numpy as np
import pytest
from data_files import KEYS, random_split, write_idx_set, write_npz
from test_load import CIFAR, MNIST, write_cifar_tar

from widelimit import datasets


def changed(**changes):
    return tuple((dict(zip(KEYS, MNIST, strict=True)) | changes).values())


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (CIFAR, r"mnist.npz` needs `x_train` of shape .*Got .*\(7, 3, 32, 32\)"),
        (changed(x_test=MNIST[2] / 255), "integer pixels.*`x_test` of .*dtype=float64"),
        (changed(x_test=MNIST[2].astype(int) + 9), "pixels from 0 to 255 in `x_test`"),
        (changed(x_test=MNIST[2].astype(int) - 9), "Got values from -9 to"),
        (changed(y_train=MNIST[1] + 10), "mnist.npz` needs labels from 0 to 9"),
        (changed(y_train=MNIST[1][:-1]), r"one label per input.*len\(y_train\)=6"),
        (changed(y_train=MNIST[1].astype(object)), "cannot be used: Object arrays"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, split, message):
    write_npz(tmp_path / "mnist.npz", split)
    with pytest.raises(ValueError, match=message):
        datasets.load("mnist", directory=tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-400])


def flip(path):
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)


def encrypted(path):
    data = path.read_bytes()
    entry = data.index(b"PK\x01\x02") + 8  # flags in the central directory
    path.write_bytes(data[:entry] + bytes([data[entry] | 1]) + data[entry + 1 :])


def lone_array(path):
    with path.open("wb") as file:
        np.save(file, np.arange(3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "cannot be used: "),
        (flip, "cannot be used: Bad CRC-32"),
        (encrypted, "cannot be used: .*encrypted"),
        (lambda path: path.write_bytes(b""), "cannot be used: No data left"),
        (lambda path: path.write_text("<html>"), "cannot be used: "),
        (lone_array, "cannot be used: it holds a single array"),
        (
            lambda path: np.savez(path, x_train=1),
            "no y_train, x_test, y_test, only x_t",
        ),
    ],
)
def test_damaged_archives_are_refused(tmp_path, damage, message):
    path = tmp_path / "mnist.npz"
    write_npz(path, MNIST)
    damage(path)
    with pytest.raises(ValueError, match=rf"arrays x_train.*mnist.npz', .*{message}"):
        datasets.load("mnist", directory=tmp_path)
    record = datasets.listing(directory=tmp_path)[1]
    assert record.available and record.n_train in (None, 7)


def test_images_and_labels_in_each_others_files(tmp_path):
    x_train, y_train, x_test, y_test = MNIST
    write_idx_set(tmp_path, (y_train, x_train, x_test, y_test))
    with pytest.raises(ValueError, match=r"`x_train` of shape .*Got .*shape=\(7,\)"):
        datasets.load("mnist", directory=tmp_path)


def test_a_tar_file_without_a_batch_is_refused(tmp_path):
    write_cifar_tar(tmp_path, without="data_batch_3.bin")
    with pytest.raises(ValueError, match="tar.gz', which has no data_batch_3.bin"):
        datasets.load("cifar10", directory=tmp_path)


def test_a_bad_batch_in_a_tar_file_is_named(tmp_path):
    write_cifar_tar(tmp_path, (CIFAR[0], CIFAR[1] + 20, *CIFAR[2:]))
    with pytest.raises(ValueError, match="tar.gz:cifar-10-batches-bin/data_batch_"):
        datasets.load("cifar10", directory=tmp_path)


@pytest.mark.parametrize("length", [0, 100, 20000])
def test_a_truncated_tar_file_is_refused(tmp_path, length):
    path = write_cifar_tar(tmp_path, random_split((3, 32, 32)))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="whole gzipped tar.*cifar-10-binary.tar.gz"):
        datasets.load("cifar10", directory=tmp_path)
