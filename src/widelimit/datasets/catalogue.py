"""What is known of each named data set without reading it."""

import os
from dataclasses import dataclass
from pathlib import Path

from widelimit._files import DAMAGED
from widelimit.datasets.entry import Entry, Form
from widelimit.datasets.folders import search_folders
from widelimit.datasets.registry import SETS


@dataclass(frozen=True)
class Listing:
    """What is known of a data set without reading it.

    Args:
        name: Its name.
        available: Whether `load` finds it.
        where: Its first file, or the package that it comes with; empty if not found.
        n_train: Number of training rows; `None` if not found or not cheap to tell.
        n_test: Number of test rows, likewise.
        image_shape: Shape of one input.
        how: How to get it.
    """

    name: str
    available: bool
    where: str
    n_train: int | None
    n_test: int | None
    image_shape: tuple[int, ...]
    how: str


def listing(*, directory: str | os.PathLike[str] | None = None) -> list[Listing]:
    """Every named data set, and whether and where `load` would find it.

    Args:
        directory: Folder to look in first, as in `load`.

    Returns:
        One record per set, in the order of `names()`.
    """
    return [_describe(entry, directory) for entry in SETS.values()]


def _describe(entry: Entry, directory: str | os.PathLike[str] | None) -> Listing:
    if entry.embedded:
        where, rows, how = "scikit-learn", entry.rows, "installed with widelimit"
    else:
        found = entry.find(search_folders(entry.name, directory))
        where, rows = (str(found[1][0]), _rows(*found)) if found else ("", None)
        how = f"widelimit data fetch {entry.name} ({entry.size})"
    n_train, n_test = rows or (None, None)
    shape = entry.image_shape
    return Listing(entry.name, bool(where), where, n_train, n_test, shape, how)


def _rows(form: Form, paths: tuple[Path, ...]) -> tuple[int, int] | None:
    try:
        return form.rows(paths) if form.rows else None
    except (*DAMAGED, OSError, ValueError, LookupError):
        return None  # a damaged file: `load` says what is wrong with it
