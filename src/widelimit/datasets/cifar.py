"""What CIFAR-10 and CIFAR-100 share: numpy archives, and the binary version."""

import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from widelimit.datasets.cifar_binary import IMAGE_SHAPE
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.entry import Entry, Form, Remote
from widelimit.datasets.images import Split, image_dataset
from widelimit.datasets.npz import npz_rows, read_npz

Batch = tuple[np.ndarray, np.ndarray]  # images and labels


@dataclass(frozen=True)
class Cifar:
    """Where one of the two lies, and how its records are read.

    Args:
        name: Name of the set.
        title: Its name in prose.
        class_names: Names of the classes, in the order of the labels.
        folder: Folder of the binary files.
        files: These files, the test file last.
        record: Bytes of a record.
        parse: Turns the bytes of a file, with its name, into images and labels.
        checksum: Of the tar archive.
        size: Of the download, in words.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    folder: str
    files: tuple[str, ...]
    record: int
    parse: Callable[[bytes, str], Batch]
    checksum: str
    size: str

    @property
    def tar(self) -> str:
        """Name of the archive of the binary version."""
        return self.title.lower() + "-binary.tar.gz"

    def entry(self) -> Entry:
        """The set as `load` and `fetch` know it."""
        archives = (f"{self.name}.npz", f"{self.name}_subset.npz")
        span = " and " if len(self.files) == 2 else " to "
        return Entry(
            name=self.name,
            image_shape=IMAGE_SHAPE,
            size=self.size,
            forms=(
                Form(
                    label=" or ".join(archives),
                    parts=(archives,),
                    read=lambda paths: self._dataset(read_npz(paths[0]), str(paths[0])),
                    rows=lambda paths: npz_rows(paths[0]),
                ),
                Form(
                    label=f"the folder {self.folder} with {self.files[0]}{span}"
                    f"{self.files[-1]}",
                    parts=tuple((f"{self.folder}/{file}", file) for file in self.files),
                    read=self._read_folder,
                    rows=self._folder_rows,
                ),
                Form(label=self.tar, parts=((self.tar,),), read=self._read_tar),
            ),
            base_url="https://www.cs.toronto.edu/~kriz/",
            remotes=(Remote(self.tar, self.checksum),),
        )

    def _dataset(self, split: Split, source: str) -> Dataset:
        return image_dataset(
            self.name,
            split,
            white=255,
            class_names=self.class_names,
            image_shape=IMAGE_SHAPE,
            source=source,
        )

    def _from_batches(self, batches: list[Batch], source: str) -> Dataset:
        """The data set of its files in order."""
        *train, (x_test, y_test) = batches
        x_train = np.concatenate([x for x, _ in train])
        y_train = np.concatenate([y for _, y in train])
        return self._dataset(Split(x_train, y_train, x_test, y_test), source)

    def _read_folder(self, paths: tuple[Path, ...]) -> Dataset:
        batches = [self.parse(path.read_bytes(), str(path)) for path in paths]
        return self._from_batches(batches, f"binary files in {paths[0].parent}")

    def _read_tar(self, paths: tuple[Path, ...]) -> Dataset:
        (path,) = paths
        batches = {}
        try:
            with tarfile.open(path, "r:gz") as archive:
                for member in archive:
                    name = Path(member.name).name
                    if name in self.files and member.isfile():
                        file = archive.extractfile(member)
                        data = file.read() if file else b""
                        batches[name] = self.parse(data, f"{path}:{member.name}")
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"`load` needs a whole gzipped tar archive. Got '{path}': {error}. Run "
                f"`widelimit data fetch {self.name}` to download it again."
            ) from error
        missing = [name for name in self.files if name not in batches]
        if missing:
            raise ValueError(
                f"`load` needs the binary version of {self.title}. Got '{path}', which "
                f"has no {', '.join(missing)}."
            )
        return self._from_batches([batches[name] for name in self.files], str(path))

    def _folder_rows(self, paths: tuple[Path, ...]) -> tuple[int, int]:
        *train, test = (path.stat().st_size // self.record for path in paths)
        return sum(train), test
