"""The interface of everything that computes trials."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from widelimit.runs.config import Config
from widelimit.runs.record import Record

Watch = Callable[[str, float], None]
"""Receives the key of a running trial and the fraction of it that is done."""


@runtime_checkable
class Executor(Protocol):
    """Computes trials, in this process or elsewhere."""

    def run(
        self,
        trial: str,
        configs: Sequence[Config],
        watch: Watch,
        directory: Path | None = None,
    ) -> Generator[Record, None, None]:
        """Compute `trial` for each of `configs`.

        A trial that raises, or takes its process down, gives a failed record and does
        not stop the others. Closing the generator, or Ctrl-C, ends it without the
        trials in flight.

        Args:
            trial: Reference of the function, `"package.module:function"`.
            configs: One configuration for each trial.
            watch: Called in the consumer's thread with what running trials report.
            directory: Folder in which every trial may use the folder named after its
                key (`Report.directory`); the caller empties it.

        Yields:
            One record for each configuration, as they finish.

        Raises:
            ImportError: If the reference does not lead to a function.
        """
        ...
