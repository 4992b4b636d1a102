"""How a named data set is described: the files it may lie in, and its download."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from widelimit.datasets.dataset import Dataset
from widelimit.datasets.table import Table


@dataclass(frozen=True)
class Form:
    """One group of files that holds a data set.

    Args:
        label: The files in words, for messages.
        parts: For each file, the names under which it may lie in a folder.
        read: Turns the files found, one path per part, into the data set.
        rows: Numbers of training and test rows from the files' headers, where cheap.
    """

    label: str
    parts: tuple[tuple[str, ...], ...]
    read: Callable[[tuple[Path, ...]], Dataset | Table]
    rows: Callable[[tuple[Path, ...]], tuple[int, int]] | None = None

    def find(self, folder: Path) -> tuple[Path | None, ...]:
        """The file of each part in `folder`; `None` where it is missing."""
        return tuple(
            next((folder / n for n in names if (folder / n).is_file()), None)
            for names in self.parts
        )


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Args:
        name: Its name, both under the set's base URL and in the cache.
        checksum: Algorithm and hexadecimal digest, as in `"md5:0cc1..."`.
    """

    name: str
    checksum: str


@dataclass(frozen=True)
class Entry:
    """A data set known by name: either `embedded`, or read from one of its `forms`.

    Args:
        name: Name under which `load` knows it.
        image_shape: Shape of one input.
        size: Size of the download in words.
        forms: Groups of files that hold it, most wanted first.
        base_url: Where `remotes` are downloaded from.
        remotes: Files that together make up one of `forms`.
        embedded: Makes the set without files of ours.
        rows: Training and test rows of an embedded set.
        table: Whether its forms are read as a `Table`.
    """

    name: str
    image_shape: tuple[int, ...]
    size: str = ""
    forms: tuple[Form, ...] = ()
    base_url: str = ""
    remotes: tuple[Remote, ...] = ()
    embedded: Callable[[], Dataset] | None = None
    rows: tuple[int, int] | None = None
    table: bool = False

    def find(self, folders: Iterable[Path]) -> tuple[Form, tuple[Path, ...]] | None:
        """The first form whose files all lie in one of `folders`, and those files."""
        for folder in folders:
            for form in self.forms:
                paths = tuple(path for path in form.find(folder) if path)
                if len(paths) == len(form.parts):
                    return form, paths
        return None

    def incomplete(self, folders: Iterable[Path]) -> str:
        """A sentence for each folder that has some but not all files of a form."""
        text = ""
        for folder in folders:
            for form in self.forms:
                found = zip(form.parts, form.find(folder), strict=True)
                lacks = [names[0] for names, path in found if path is None]
                if 0 < len(lacks) < len(form.parts):
                    text += f" In {folder} there is no {', '.join(lacks)}."
        return text
