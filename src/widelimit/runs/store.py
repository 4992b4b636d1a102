"""The directory that holds a run: its configuration, and one file for each trial."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from widelimit._files import replace_file
from widelimit.runs.config import Config, canonical_json, differences, plain
from widelimit.runs.record import FORMAT, Record


class Store:
    """Records of trials in a directory, each written at once and whole.

    `study.json` holds the configuration of the run, `trials/<key>.json` one record. A
    file is first written beside its place and then moved there in one step, so a reader
    or a run that is killed never leaves half a record. Reading needs no lock.
    `unfinished/<key>` is for what a trial keeps until it has succeeded.

    Args:
        directory: Where; it need not exist.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.trials = self.directory / "trials"
        self.unfinished = self.directory.absolute() / "unfinished"
        self._study = self.directory / "study.json"

    @property
    def configuration(self) -> dict[str, Any] | None:
        """The configuration of the run, or `None` where no run has begun.

        Raises:
            ValueError: If `study.json` is damaged.
        """
        try:
            data = json.loads(self._study.read_text(encoding="ascii"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r} instead of {FORMAT}")
            return plain(data["configuration"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"`{self._study}` is not a run's configuration that this version of "
                f"widelimit can read: {error!r}. Restore the file, or choose another "
                "directory."
            ) from error

    @contextlib.contextmanager
    def writing(self, configuration: Config) -> Iterator[None]:
        """Keep the directory for one run, begun or continued with `configuration`.

        Other runs are refused meanwhile. The lock goes with the process that holds it,
        however that ends. What a killed run left half-written is removed, but for what
        its trials kept to go on from.

        Args:
            configuration: Everything that determines the run's trials.

        Yields:
            Nothing; call `write` inside.

        Raises:
            ValueError: If the directory holds a run with another configuration.
            RuntimeError: If another run is writing to the directory.
        """
        self.trials.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.directory / ".lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise RuntimeError(
                f"`{self.directory}` is in use by another run. Wait until it has ended "
                "or stop it, or choose another directory."
            ) from error
        try:
            self._begin(plain(configuration))
            for folder in (self.directory, self.trials):
                for stale in folder.glob("*.json.tmp"):
                    stale.unlink()
            for place in self.unfinished.glob("*"):
                if place.name in self and self.read(place.name).status == "done":
                    self._tidy(place.name)
            yield
        finally:
            lock.release()

    def write(self, record: Record) -> None:
        """Put `record` in its place at once; it survives whatever comes next.

        If its trial has succeeded, what it kept to go on from is removed.

        Args:
            record: The record.
        """
        _write_text(self._path(record.key), record.to_json())
        if record.status == "done":
            self._tidy(record.key)

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def read(self, key: str) -> Record:
        """The record of the trial whose configuration has this key.

        Args:
            key: See `config_key`.

        Returns:
            The record.

        Raises:
            KeyError: If there is none.
            ValueError: If its file is damaged or of another format.
        """
        path = self._path(key)
        try:
            record = Record.from_json(path.read_text(encoding="ascii"))
        except FileNotFoundError as error:
            raise KeyError(key) from error
        except ValueError as error:
            raise ValueError(
                f"`{path}` cannot be read. {error} Or delete the file: running again "
                "then computes its trial anew."
            ) from error
        if record.key != key:
            raise ValueError(
                f"`{path}` holds the trial {record.key}: the file was renamed. Rename "
                "it back, or delete it: running again then computes its trial anew."
            )
        return record

    def records(self) -> Iterator[Record]:
        """Every record, in the order of keys."""
        for path in sorted(self.trials.glob("*.json")):
            yield self.read(path.stem)

    def _path(self, key: str) -> Path:
        return self.trials / f"{key}.json"

    def _tidy(self, key: str) -> None:
        shutil.rmtree(self.unfinished / key, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are not finished, or there is none
            self.unfinished.rmdir()

    def _begin(self, configuration: dict[str, Any]) -> None:
        old = self.configuration
        if old is None:
            data = {"format": FORMAT, "configuration": configuration}
            _write_text(self._study, json.dumps(data, indent=2, allow_nan=False))
        elif canonical_json(old) != canonical_json(configuration):
            lines = "\n  ".join(differences(old, configuration))
            raise ValueError(
                f"`{self.directory}` holds a run with another configuration. What was "
                f"there -> what is asked for now:\n  {lines}\nChoose another "
                "directory, or go back to the old settings."
            )


def _write_text(path: Path, text: str) -> None:
    replace_file(path, lambda file: file.write((text + "\n").encode("ascii")))
