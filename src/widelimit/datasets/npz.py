"""Reader of data sets kept as numpy archives."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from widelimit._files import DAMAGED
from widelimit.datasets.images import Split


def read_npz(path: Path) -> Split:
    """The arrays `x_train`, `y_train`, `x_test`, `y_test` of a numpy archive.

    Args:
        path: The `.npz` file.

    Returns:
        The four arrays.

    Raises:
        ValueError: As `read_arrays`.
    """
    return Split(**read_arrays(path, Split._fields))


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays named `keys` of a numpy archive.

    Args:
        path: The `.npz` file; pickled objects in it are refused.
        keys: Names of the arrays wanted; others are ignored.

    Returns:
        The arrays by name.

    Raises:
        ValueError: If the file is damaged, is no numpy archive, or lacks an array.
    """
    try:
        with path.open("rb") as file:  # `np.load` leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            missing = [key for key in keys if key not in archive]
            if missing:
                raise ValueError(
                    f"it has no {', '.join(missing)}, only {', '.join(archive) or '-'}"
                )
            return {key: archive[key] for key in keys}
    except (*DAMAGED, ValueError) as error:
        raise ValueError(
            f"`load` needs a numpy archive with the arrays {', '.join(keys)}. "
            f"Got '{path}', which cannot be used: {error}."
        ) from error


def npz_rows(path: Path) -> tuple[int, int]:
    """Numbers of training and test rows, read from the archive's headers alone."""
    counts = []
    with zipfile.ZipFile(path) as archive:
        for key in ("y_train", "y_test"):
            with archive.open(f"{key}.npy") as file:
                np.lib.format.read_magic(file)
                shape, _, _ = np.lib.format.read_array_header_1_0(file)
            counts.append(shape[0])
    return counts[0], counts[1]
