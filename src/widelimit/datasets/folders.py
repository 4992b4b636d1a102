"""The folders in which data sets are looked for and kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$WIDELIMIT_CACHE`, or else the user's cache folder."""
    chosen = os.environ.get("WIDELIMIT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("widelimit"))


def search_folders(
    name: str, directory: str | os.PathLike[str] | None
) -> tuple[Path, ...]:
    """Where to look for the set `name`, first to last.

    Args:
        name: Name of a data set.
        directory: Folder to look in first, instead of `$WIDELIMIT_DATA`.

    Returns:
        Each of `directory` (or `$WIDELIMIT_DATA`) and the cache, each followed by its
        folder `name`: the files of two sets may share their names.
    """
    first = directory or os.environ.get("WIDELIMIT_DATA")
    roots = [Path(first).expanduser()] if first else []
    roots.append(cache_folder())
    return tuple(folder for root in roots for folder in (root, root / name))
