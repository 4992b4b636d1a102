"""Compute the trials that a directory lacks."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from widelimit.runs.config import Config, canonical_json, config_key
from widelimit.runs.executor import Executor
from widelimit.runs.progress import Progress, Tally, default_progress
from widelimit.runs.serial import SerialExecutor
from widelimit.runs.store import Store


@dataclass(frozen=True)
class RunSummary:
    """How the trials of a run stand once it has ended.

    Args:
        directory: Where the records are.
        total: Number of trials.
        computed: Those that this run computed, failed ones included.
        failed: Keys of all that have failed, in this run or before.
    """

    directory: Path
    total: int
    computed: int
    failed: tuple[str, ...]


def run_trials(
    directory: str | os.PathLike[str],
    *,
    configuration: Config,
    trials: Sequence[Config],
    trial: str,
    executor: Executor | None = None,
    progress: Progress | None = None,
    retry_failed: bool = False,
    others: Sequence[str | os.PathLike[str]] = (),
) -> RunSummary:
    """Compute every trial that has no record in `directory` yet, and keep each at once.

    Killed at any moment and started again, it computes at most the trials anew that
    were in flight, and these from where they last kept something in their own folder
    (`Report.directory`). A trial that fails leaves a record with its traceback.

    Args:
        directory: Where the records are or will be.
        configuration: Everything that determines the trials, as plain JSON data; a
            directory belongs to one configuration.
        trials: One configuration for each trial, as plain JSON data.
        trial: Reference of the function that computes one, `"package.module:function"`;
            see `Trial`.
        executor: What computes; `SerialExecutor()` by default.
        progress: What shows the progress; by default a bar on a terminal, and plain
            lines on standard error elsewhere.
        retry_failed: Whether trials that failed in an earlier run are computed again.
        others: Directories of other runs of the same trial, whose finished records are
            taken over where the configurations agree.

    Returns:
        How the trials stand.

    Raises:
        ValueError: If two trials are equal, a configuration is no JSON data, or the
            directory belongs to another configuration.
        ImportError: If `trial` does not lead to a function.
        RuntimeError: If another run is writing to the directory.
    """
    by_key = _by_key(trials)
    store = Store(directory)
    with store.writing(configuration), progress or default_progress() as display:
        _take_over(store, by_key, [Store(other) for other in others])
        failed = {k for k in by_key if k in store and store.read(k).status == "failed"}
        todo = [
            config
            for key, config in by_key.items()
            if key not in store or (retry_failed and key in failed)
        ]
        tally = Tally(len(by_key), before=len(by_key) - len(todo))

        def watch(key: str, done: float) -> None:
            tally.advance(key, done)
            display.show(tally)

        display.show(tally)
        run = (executor or SerialExecutor()).run
        records = run(trial, todo, watch, store.unfinished)
        with contextlib.closing(records):
            for record in records:
                store.write(record)
                failed.discard(record.key)
                if record.status == "failed":
                    failed.add(record.key)
                tally.finish(record)
                display.show(tally, record)
    ordered = tuple(key for key in by_key if key in failed)
    return RunSummary(store.directory, tally.total, len(tally.finished), ordered)


def _take_over(store: Store, keys: Iterable[str], others: Sequence[Store]) -> None:
    for key in keys:
        for other in others:
            if key not in store and key in other:
                record = other.read(key)
                if record.status == "done":
                    store.write(record)


def _by_key(trials: Sequence[Config]) -> dict[str, Config]:
    by_key: dict[str, Config] = {}
    for config in trials:
        key = config_key(config)
        if key in by_key:
            raise ValueError(
                "`run_trials` needs trials that differ. Got two with "
                f"{canonical_json(config)}. Give them different seeds, or drop one."
            )
        by_key[key] = config
    return by_key
