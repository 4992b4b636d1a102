"""Files written at once and whole, and archives that cannot be read."""

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

DRAFT = ".tmp"

# What reading a zip or NumPy archive raises if that is damaged, or (`RuntimeError`)
# encrypted or compressed in a way that is not known.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file beside its place and moves it there in one step.

    Whoever reads, and whoever is killed, sees the old file or the new one, never half
    of it; a power cut leaves one of the two as well. What a killed writer leaves is a
    draft with the ending `DRAFT`.

    Args:
        path: Where, in a folder that exists.
        write: Writes the contents.
    """
    draft = path.with_name(path.name + DRAFT)
    with open(draft, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    if hasattr(os, "O_DIRECTORY"):  # so that the move survives a power cut as well
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
