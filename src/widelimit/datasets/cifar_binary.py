"""Readers of the binary versions of CIFAR-10 and CIFAR-100."""

import os
from pathlib import Path

import numpy as np

IMAGE_SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


def read_cifar10_binary(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one CIFAR-10 `.bin` file.

    A record is one label byte, 0 to 9, then the red, green and blue plane, each 32 rows
    of 32 bytes. The file is its records and nothing else.

    Args:
        path: The file, such as `data_batch_1.bin`.

    Returns:
        Images of shape `(n, 3, 32, 32)` and labels of shape `(n,)`, both uint8.

    Raises:
        ValueError: If the file is empty, is no whole number of records, or holds a
            label above 9.
    """
    return parse_cifar10(Path(path).read_bytes(), str(path))


def read_cifar100_binary(
    path: str | os.PathLike[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, fine labels and coarse labels of one CIFAR-100 `.bin` file.

    A record is a coarse label, 0 to 19, a fine one, 0 to 99, and the three planes.

    Args:
        path: The file, `train.bin` or `test.bin`.

    Returns:
        Images of shape `(n, 3, 32, 32)`, fine and coarse labels of shape `(n,)`, uint8.

    Raises:
        ValueError: If the file is empty, is no whole number of records, or holds a
            label out of range.
    """
    return parse_cifar100(Path(path).read_bytes(), str(path))


def parse_cifar10(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the bytes of one CIFAR-10 `.bin` file called `where`.

    Args:
        data: Content of the file.
        where: Name of the file, for messages.

    Returns:
        As `read_cifar10_binary`.

    Raises:
        ValueError: As `read_cifar10_binary`.
    """
    images, (labels,) = _parse(data, where, "CIFAR-10", {"labels": 10})
    return images, labels


def parse_cifar100(
    data: bytes, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels in the bytes of one CIFAR-100 `.bin` file called `where`.

    Args:
        data: Content of the file.
        where: Name of the file, for messages.

    Returns:
        As `read_cifar100_binary`.

    Raises:
        ValueError: As `read_cifar100_binary`.
    """
    kinds = {"coarse labels": 20, "fine labels": 100}
    images, (coarse, fine) = _parse(data, where, "CIFAR-100", kinds)
    return images, fine, coarse


def _parse(
    data: bytes, where: str, title: str, kinds: dict[str, int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Images, and the labels of each kind: one byte each, before the pixels."""
    caller = f"read_{title.lower().replace('-', '')}_binary"
    size = len(kinds) + PIXELS
    if not data or len(data) % size:
        raise ValueError(
            f"`{caller}` needs records of {size} bytes. Got {len(data)} bytes in "
            f"'{where}', {len(data) // size} records and {len(data) % size} bytes: the "
            f"file is truncated, or is not {title}."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, size)
    found = []
    for place, (kind, count) in enumerate(kinds.items()):
        labels = records[:, place].copy()
        bad = np.flatnonzero(labels >= count)
        if len(bad):
            raise ValueError(
                f"`{caller}` needs {kind} from 0 to {count - 1}. Got "
                f"{labels[bad[0]]} in record {bad[0]} of '{where}': it is not {title}."
            )
        found.append(labels)
    return records[:, len(kinds) :].reshape(-1, *IMAGE_SHAPE).copy(), found
