"""The reader of the binary version of CIFAR-10."""

import numpy as np
import pytest
from data_files import cifar_bytes, random_split

from widelimit.datasets import read_cifar10_binary

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
            "Got 6145 bytes in .*bad.bin', 2.00 records: .*truncated",
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
