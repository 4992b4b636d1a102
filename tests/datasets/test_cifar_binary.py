"""The readers of the binary versions of CIFAR-10 and CIFAR-100."""

import numpy as np
import pytest
from data_files import cifar100_bytes, cifar_bytes, random_split

from widelimit import datasets
from widelimit.datasets import read_cifar10_binary, read_cifar100_binary

IMAGES, LABELS, _, _ = random_split((3, 32, 32))


def test_records_come_back(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(cifar_bytes(IMAGES, LABELS))
    images, labels = read_cifar10_binary(path)
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


def test_planes_are_red_green_blue_row_by_row(tmp_path):
    record = bytearray(3073)
    record[0] = 9
    record[1 + 1024 + 5 * 32 + 7] = 200
    (tmp_path / "one.bin").write_bytes(record)
    images, labels = read_cifar10_binary(str(tmp_path / "one.bin"))
    assert labels.tolist() == [9]
    assert np.argwhere(images).tolist() == [[0, 1, 5, 7]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "records of 3073 bytes. Got 0 bytes in .*bad.bin"),
        (
            bytes(3073 * 2 - 1),
            "Got 6145 bytes in .*bad.bin', 1 records and 3072 bytes: .*truncated",
        ),
        (
            bytes(3073) + b"\x0a" + bytes(3072),
            "0 to 9. Got 10 in record 1 of .*bad.bin",
        ),
    ],
)
def test_what_is_wrong_is_refused(tmp_path, data, message):
    (tmp_path / "bad.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_cifar10_binary(tmp_path / "bad.bin")


def test_both_labels_of_cifar100_come_back(tmp_path):
    fine, coarse = LABELS + 90, LABELS + 10
    path = tmp_path / "train.bin"
    path.write_bytes(cifar100_bytes(IMAGES, coarse, fine))
    images, *labels = read_cifar100_binary(path)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, [fine, coarse])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(3074 * 2 + 7), "records of 3074 bytes. Got 6155 bytes.*not CIFAR-100"),
        (b"\x14" + bytes(3073), "coarse labels from 0 to 19. Got 20 in record 0"),
        (
            bytes(3074) + b"\x13\x64" + bytes(3072),
            "read_cifar100_binary` needs fine labels from 0 to 99. Got 100 in rec.* 1",
        ),
    ],
)
def test_what_is_no_cifar100_is_refused(tmp_path, data, message):
    (tmp_path / "bad.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_cifar100_binary(tmp_path / "bad.bin")


def test_channels_last_are_refused_with_the_cure(tmp_path):
    x = np.moveaxis(IMAGES, 1, -1)
    np.savez(
        tmp_path / "cifar100.npz", x_train=x, y_train=LABELS, x_test=x, y_test=LABELS
    )
    with pytest.raises(ValueError, match=r"Channels come first: `np.moveaxis"):
        datasets.load("cifar100", directory=tmp_path)


def test_the_hundred_classes_are_in_the_order_of_their_names():
    from widelimit.datasets.cifar100 import CLASS_NAMES

    assert len(set(CLASS_NAMES)) == 100
    assert sorted(CLASS_NAMES) == list(CLASS_NAMES)
    assert [CLASS_NAMES[i] for i in (0, 19, 57, 72, 99)] == [
        "apple",
        "cattle",
        "pear",
        "seal",
        "worm",
    ]
