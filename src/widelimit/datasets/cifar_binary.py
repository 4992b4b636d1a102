"""Reader of the binary version of CIFAR-10."""

import os
from pathlib import Path

import numpy as np

IMAGE_SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32


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


def parse_cifar10(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the bytes of one CIFAR-10 `.bin` file called `where`.

    Args:
        data: Content of the file.
        where: Name of the file, for messages.

    Returns:
        Images of shape `(n, 3, 32, 32)` and labels of shape `(n,)`, both uint8.

    Raises:
        ValueError: As `read_cifar10_binary`.
    """
    if not data or len(data) % RECORD_BYTES:
        raise ValueError(
            f"`read_cifar10_binary` needs records of {RECORD_BYTES} bytes. Got "
            f"{len(data)} bytes in '{where}', {len(data) / RECORD_BYTES:.2f} records: "
            "the file is truncated, or is not CIFAR-10."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)
    labels = records[:, 0].copy()
    bad = np.flatnonzero(labels > 9)
    if len(bad):
        raise ValueError(
            "`read_cifar10_binary` needs labels from 0 to 9. Got "
            f"{labels[bad[0]]} in record {bad[0]} of '{where}': it is not CIFAR-10."
        )
    return records[:, 1:].reshape(-1, *IMAGE_SHAPE).copy(), labels
