"""The data sets known by name: load and download them."""

import os
from pathlib import Path
from typing import cast

from widelimit._checks import check_one_of
from widelimit.datasets.banknote import BANKNOTE
from widelimit.datasets.cifar10 import CIFAR10
from widelimit.datasets.cifar100 import CIFAR100
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.digits import DIGITS
from widelimit.datasets.download import Progress, download
from widelimit.datasets.entry import Entry
from widelimit.datasets.folders import cache_folder, search_folders
from widelimit.datasets.forest_fires import ALGERIAN_FOREST_FIRES
from widelimit.datasets.mnist import MNIST
from widelimit.datasets.sonar import SONAR
from widelimit.datasets.table import Table

_IMAGES = (DIGITS, MNIST, CIFAR10, CIFAR100)
_TABLES = (ALGERIAN_FOREST_FIRES, BANKNOTE, SONAR)
SETS: dict[str, Entry] = {entry.name: entry for entry in (*_IMAGES, *_TABLES)}
"""Every named set; a new one is a file with its `Entry`, and a place here."""


def names() -> tuple[str, ...]:
    """Names of the data sets that `load` knows; the first is the default."""
    return tuple(SETS)


def load(
    name: str = "digits", *, directory: str | os.PathLike[str] | None = None
) -> Dataset:
    """The named data set, from files on this machine; it never uses the network.

    Its files are looked for in `directory` or else in the folder of the environment
    variable `WIDELIMIT_DATA`, then in the cache that `fetch` fills; in each also in the
    folder `name`.

    Args:
        name: One of `names()`.
        directory: Folder to look in first.

    Returns:
        The data set. Pixels are divided by their largest possible value; tables are
        split by `Table.split` and otherwise as they are.

    Raises:
        FileNotFoundError: If no folder has all files of the set.
    """
    made = _read("load", name, directory)
    return made.split() if isinstance(made, Table) else made


def load_table(name: str, *, directory: str | os.PathLike[str] | None = None) -> Table:
    """The named table, whole and in double precision, from files on this machine.

    Args:
        name: One of `names()` that is a table.
        directory: Folder to look in first, as in `load`.

    Returns:
        All rows in the order of the file, in the units of their features.

    Raises:
        FileNotFoundError: If no folder has the file of the table.
        ValueError: If the set is no table, or unknown.
    """
    known = tuple(entry.name for entry in SETS.values() if entry.table)
    if not isinstance(name, str) or name not in SETS:
        check_one_of("load_table", "name", name, known)
    if name not in known:
        tables = ", ".join(map(repr, known))
        raise ValueError(
            f"`load_table` needs a table: {tables}. Got `name={name!r}`, a set of "
            f"images: call `load({name!r})`."
        )
    return cast(Table, _read("load_table", name, directory))


def _read(
    caller: str, name: str, directory: str | os.PathLike[str] | None
) -> Dataset | Table:
    check_one_of(caller, "name", name, SETS)
    entry = SETS[name]
    if entry.embedded:
        return entry.embedded()
    folders = search_folders(name, directory)
    found = entry.find(folders)
    if found is None:
        wanted = "; or ".join(form.label for form in entry.forms)
        raise FileNotFoundError(
            f"`{caller}` needs the files of '{name}': {wanted}. Got no such set in "
            f"{', '.join(map(str, folders))}.{entry.incomplete(folders)} Run "
            f"`widelimit data fetch {name}`, or set WIDELIMIT_DATA to their folder."
        )
    form, paths = found
    return form.read(paths)


def fetch(
    name: str,
    *,
    directory: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download the named data set, so that `load` finds it.

    A download that broke off goes on where it was, and a file that is there with the
    right checksum is not downloaded again. Two calls at once do not disturb each other.

    Args:
        name: One of `names()`.
        directory: Folder in which to make the folder `name`; the cache if not given.
        base_url: Address of the folder that holds the files, such as a mirror's.
        progress: Called with a file's name, its bytes so far, and its bytes in all or
            `None`.

    Returns:
        The folder with the files.

    Raises:
        ValueError: If the set is not one to download, or a checksum is wrong.
    """
    check_one_of("fetch", "name", name, SETS)
    entry = SETS[name]
    if not entry.remotes:
        choices = ", ".join(repr(e.name) for e in SETS.values() if e.remotes)
        raise ValueError(
            f"`fetch` needs a set that is downloaded: {choices}. Got `name={name!r}`, "
            f"which is installed already: call `load({name!r})`."
        )
    from filelock import FileLock

    folder = (Path(directory).expanduser() if directory else cache_folder()) / name
    folder.mkdir(parents=True, exist_ok=True)
    base = (base_url or entry.base_url).rstrip("/")
    with FileLock(folder / ".lock"):
        for remote in entry.remotes:
            download(
                f"{base}/{remote.name}",
                folder / remote.name,
                checksum=remote.checksum,
                progress=progress,
            )
    return folder
