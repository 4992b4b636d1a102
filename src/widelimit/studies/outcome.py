"""Running a study, and what comes out of it."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widelimit.runs import (
    ProcessExecutor,
    Progress,
    Record,
    SerialExecutor,
    Store,
    config_key,
    load_results,
    run_trials,
)
from widelimit.studies.base import Settings, Study
from widelimit.studies.catalogue import find_study
from widelimit.studies.figure import Figure
from widelimit.studies.verdicts import Claim

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Outcome:
    """A study's results, judged.

    Args:
        study: The study.
        reference: Its name, as `find_study` takes it.
        settings: The settings that it ran with.
        directory: Where its records are.
        records: All records, failed trials included.
        results: The values over the grid.
    """

    study: Study
    reference: str
    settings: Settings
    directory: Path
    records: tuple[Record, ...]
    results: "xr.Dataset"

    @property
    def missing(self) -> int:
        """Number of trials of the grid that have no finished record."""
        return int((self.results["status"] != "done").sum())

    def claims(self) -> list[Claim]:
        """The claims with their verdicts; none before a trial has finished."""
        if not self._any_finished:
            return []
        return [self._with_accuracy(c) for c in self.study.claims(self.results)]

    def _with_accuracy(self, claim: Claim) -> Claim:
        """The claim with the lowest accuracy in its scope: without any, P is small."""
        if "accuracy" not in self.results or claim.scope.get("when") == "before":
            return claim
        reached = self.results["accuracy"]
        reached = reached.sel(
            {k: v for k, v in claim.scope.items() if k in reached.dims}
        )
        if "epoch" in reached.dims:
            reached = reached.isel(epoch=-1)
        reached = reached.mean("seed")
        lowest = float(reached.min())
        if not math.isfinite(lowest):
            return claim
        return replace(
            claim,
            detail=f"{claim.detail} Lowest mean test accuracy here: {lowest:.0%}.",
            scope={**claim.scope, "lowest_accuracy": lowest},
        )

    def figures(self) -> list[Figure]:
        """The figures; none before a trial has finished."""
        return self.study.figures(self.results) if self._any_finished else []

    @property
    def _any_finished(self) -> bool:
        return self.missing < self.results["status"].size


def run_study(
    study: Study | str,
    directory: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    preset: str = "quick",
    changes: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    retry_failed: bool = False,
    others: Sequence[Outcome] = (),
) -> Outcome:
    """Run what is missing of a study in a directory, and read the whole.

    Started again after an interruption, it goes on where it was.

    Args:
        study: The study, or its name (`find_study`). To run a study object of your own
            in several processes, give its name `module:attribute`.
        directory: Where its records are or will be.
        settings: Validated settings; by default those of `preset` with `changes`.
        preset: `quick`, `laptop` or `paper`.
        changes: Settings that differ from the preset, by name.
        workers: Processes; 1 computes in this one.
        progress: Where progress is shown; on standard error by default.
        retry_failed: Whether failed trials are tried again.
        others: Outcomes of studies that share some trials with this one, which are then
            taken over instead of being computed again.

    Returns:
        The outcome.

    Raises:
        ValueError: If the study, the preset or a setting is unknown, or the directory
            belongs to another configuration.
        OSError: If the data set is not on this machine.
    """
    reference = study if isinstance(study, str) else study.name
    study = find_study(study) if isinstance(study, str) else study
    settings = settings or study.configure(preset, changes)
    trials = list(study.trials(settings))
    store = Store(directory)
    if study.check and any(config_key(trial) not in store for trial in trials):
        study.check(settings)
    run_trials(
        directory,
        configuration={
            "study": reference,
            "settings": settings.model_dump(mode="json"),
        },
        trials=trials,
        trial=study.trial,
        executor=ProcessExecutor(workers) if workers > 1 else SerialExecutor(),
        progress=progress,
        retry_failed=retry_failed,
        others=[o.directory for o in others if o.study.trial == study.trial],
    )
    return read_outcome(directory, study=study)


def read_outcome(
    directory: str | os.PathLike[str], *, study: Study | None = None
) -> Outcome:
    """Read a study's records, finished or not.

    Args:
        directory: Where the records are.
        study: The study; by default the one whose name the directory holds.

    Returns:
        The outcome.

    Raises:
        FileNotFoundError: If the directory holds no study.
    """
    store = Store(directory)
    configuration = store.configuration
    if configuration is None:
        raise FileNotFoundError(
            f"`read_outcome` needs a directory with a study. Got `{directory}`, which "
            "has no study.json. Run `widelimit run STUDY --out DIR` first."
        )
    reference = configuration["study"]
    study = study or find_study(reference)
    settings = study.settings.model_validate(configuration["settings"])
    axes = {axis: list(getattr(settings, f)) for axis, f in study.axes.items()}
    return Outcome(
        study=study,
        reference=reference,
        settings=settings,
        directory=Path(directory),
        records=tuple(store.records()),
        results=load_results(directory, axes),
    )
