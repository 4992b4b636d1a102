"""CIFAR-10: from a numpy archive or from its original binary version."""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from widelimit.datasets.cifar_binary import (
    IMAGE_SHAPE,
    RECORD_BYTES,
    parse_cifar10,
    read_cifar10_binary,
)
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.entry import Entry, Form, Remote
from widelimit.datasets.images import Split, image_dataset
from widelimit.datasets.npz import npz_rows, read_npz

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_FOLDER = "cifar-10-batches-bin"
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_TAR = "cifar-10-binary.tar.gz"


def _dataset(split: Split, source: str) -> Dataset:
    return image_dataset(
        "cifar10",
        split,
        white=255,
        class_names=CLASS_NAMES,
        image_shape=IMAGE_SHAPE,
        source=source,
    )


def _from_batches(batches: list[tuple[np.ndarray, np.ndarray]], source: str) -> Dataset:
    """The data set of five training batches and one test batch, in this order."""
    *train, (x_test, y_test) = batches
    x_train = np.concatenate([x for x, _ in train])
    y_train = np.concatenate([y for _, y in train])
    return _dataset(Split(x_train, y_train, x_test, y_test), source)


def _read_npz(paths: tuple[Path, ...]) -> Dataset:
    return _dataset(read_npz(paths[0]), str(paths[0]))


def _read_folder(paths: tuple[Path, ...]) -> Dataset:
    batches = [read_cifar10_binary(path) for path in paths]
    return _from_batches(batches, f"binary files in {paths[0].parent}")


def _read_tar(paths: tuple[Path, ...]) -> Dataset:
    (path,) = paths
    batches = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                if name in _BATCHES and member.isfile():
                    file = archive.extractfile(member)
                    data = file.read() if file else b""
                    batches[name] = parse_cifar10(data, f"{path}:{member.name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"`load` needs a whole gzipped tar archive. Got '{path}': {error}. Run "
            "`widelimit data fetch cifar10` to download it again."
        ) from error
    missing = [name for name in _BATCHES if name not in batches]
    if missing:
        raise ValueError(
            f"`load` needs the binary version of CIFAR-10. Got '{path}', which has no "
            f"{', '.join(missing)}."
        )
    return _from_batches([batches[name] for name in _BATCHES], str(path))


def _folder_rows(paths: tuple[Path, ...]) -> tuple[int, int]:
    *train, test = (path.stat().st_size // RECORD_BYTES for path in paths)
    return sum(train), test


CIFAR10 = Entry(
    name="cifar10",
    image_shape=IMAGE_SHAPE,
    size="170 MB",
    forms=(
        Form(
            label="cifar10.npz or cifar10_subset.npz",
            parts=(("cifar10.npz", "cifar10_subset.npz"),),
            read=_read_npz,
            rows=lambda paths: npz_rows(paths[0]),
        ),
        Form(
            label=f"the folder {_FOLDER} with {_BATCHES[0]} to {_BATCHES[-1]}",
            parts=tuple((f"{_FOLDER}/{name}", name) for name in _BATCHES),
            read=_read_folder,
            rows=_folder_rows,
        ),
        Form(label=_TAR, parts=((_TAR,),), read=_read_tar),
    ),
    base_url="https://www.cs.toronto.edu/~kriz/",
    remotes=(Remote(_TAR, "md5:c32a1d4ab5d03f1284b67883e8d87530"),),
)
