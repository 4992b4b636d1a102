"""Tables of the UCI repository: the files they may lie in, and how these are read."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from widelimit._files import DAMAGED
from widelimit.datasets.entry import Entry, Form, Remote
from widelimit.datasets.npz import read_arrays
from widelimit.datasets.table import EVERY, Table
from widelimit.datasets.uci_text import Row, plain_rows, read_rows


@dataclass(frozen=True)
class UCITable:
    """One table: what is in it, its files, and its download.

    Args:
        name: Name under which `load` and `load_table` know it.
        feature_names: Names of the features used, in order.
        class_names: Name of each class, in the order of the labels.
        codes: What stands for each class in the original file, in the same order.
        rows: Number of rows of the original file.
        npz: Name of a numpy archive with `x`, `y` and `feature_names`.
        file: Name of the original file.
        archive: Name of the zip archive on the repository's page, which holds `file`.
        base_url: Folder that holds `file`.
        checksum: Checksum of `file`, as in `Remote`.
        size: Size of `file` in words.
        parse: Turns the text of `file` and its name for messages into rows.
    """

    name: str
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    codes: tuple[str, ...]
    rows: int
    npz: str
    file: str
    archive: str
    base_url: str
    checksum: str
    size: str
    parse: Callable[[str, str], list[Row]] = plain_rows

    def entry(self) -> Entry:
        """The data set as the registry knows it."""
        readers = {
            self.npz: self._read_npz,
            self.file: self._read_file,
            self.archive: self._read_archive,
        }
        return Entry(
            name=self.name,
            image_shape=(len(self.feature_names),),
            size=self.size,
            forms=tuple(_form(file, read) for file, read in readers.items()),
            base_url=self.base_url,
            remotes=(Remote(self.file, self.checksum),),
            table=True,
        )

    def _read_npz(self, path: Path) -> Table:
        arrays = read_arrays(path, ("x", "y", "feature_names"))
        columns = [str(name) for name in arrays["feature_names"].ravel()]
        missing = [name for name in self.feature_names if name not in columns]
        x = arrays["x"]
        if missing or x.ndim != 2 or x.shape[1] != len(columns):
            raise ValueError(
                f"`load` needs a matrix `x` with the columns "
                f"{', '.join(self.feature_names)}, named in `feature_names`. Got "
                f"'{path}' with `x.shape={x.shape}` and the names {', '.join(columns)}."
            )
        chosen = [columns.index(name) for name in self.feature_names]
        return self._table(x[:, chosen], arrays["y"], str(path))

    def _read_file(self, path: Path) -> Table:
        return self._read_bytes(path.read_bytes(), str(path))

    def _read_archive(self, path: Path) -> Table:
        try:
            with zipfile.ZipFile(path) as archive:
                data = archive.read(self.file)
        except (*DAMAGED, KeyError) as error:  # or there is no such file in it
            raise ValueError(
                f"`load` needs a zip archive that holds {self.file}. Got '{path}': "
                f"{error}. Run `widelimit data fetch {self.name}`."
            ) from error
        return self._read_bytes(data, f"{path}:{self.file}")

    def _read_bytes(self, data: bytes, where: str) -> Table:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"`load` needs the text of {self.file}. Got '{where}': {error}."
            ) from error
        rows = self.parse(text, where)
        x, y = read_rows(rows, where, len(self.feature_names), self.codes)
        if len(x) != self.rows:
            raise ValueError(
                f"`load` needs the {self.rows} rows of {self.file}. Got {len(x)} in "
                f"'{where}': it is truncated, or not the original. Run `widelimit data "
                f"fetch {self.name}`; for other rows, construct a `Table`."
            )
        return self._table(x, y, where)

    def _table(self, x: np.ndarray, y: np.ndarray, source: str) -> Table:
        return Table(self.name, x, y, self.feature_names, self.class_names, source)


def _form(file: str, read: Callable[[Path], Table]) -> Form:
    def rows(paths: tuple[Path, ...]) -> tuple[int, int]:
        n = len(read(paths[0]).x)
        return n - n // EVERY, n // EVERY

    return Form(
        label=file,
        parts=((file,),),
        read=lambda paths: read(paths[0]),
        rows=rows,
    )
