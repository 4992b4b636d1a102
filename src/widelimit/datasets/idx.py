"""Reader of IDX, the format of the MNIST files."""

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzipped or not (told by content, not by name).

    The file is two zero bytes, a byte for the type of the entries, a byte for the
    number of axes, each axis's length as a big-endian 32-bit integer, then the entries
    in row-major order, big-endian.

    Args:
        path: The file.

    Returns:
        The array, in the byte order of this machine.

    Raises:
        ValueError: If the file is not IDX, is truncated, or goes on after its data.
    """
    with _open(Path(path)) as file:
        try:
            dtype, shape = _header(file, path)
            data = file.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"`read_idx` needs a whole gzip file. Got '{path}': {error}. Download "
                "it again."
            ) from error
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(
            f"`read_idx` needs {expected} bytes of data for an array of shape {shape}. "
            f"Got {len(data)} in '{path}', which is "
            f"{'truncated' if len(data) < expected else 'too long'}."
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def idx_shape(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """Shape of the array in an IDX file, read from its header alone."""
    with _open(Path(path)) as file:
        return _header(file, path)[1]


def _open(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def _header(
    file: io.BufferedIOBase, path: str | os.PathLike[str]
) -> tuple[np.dtype, tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise ValueError(
            "`read_idx` needs a file that starts with two zero bytes and a known type. "
            f"Got '{path}', which starts with {magic.hex(' ') or 'nothing'}."
        )
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise ValueError(
            f"`read_idx` needs the lengths of {magic[3]} axes. Got '{path}', which is "
            "truncated in its header."
        )
    shape = tuple(int(n) for n in np.frombuffer(lengths, ">u4"))
    return np.dtype(_TYPES[magic[2]]), shape
