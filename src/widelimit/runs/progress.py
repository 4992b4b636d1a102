"""Progress of a run: what is done, how long the rest will take, and three displays."""

import abc
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta

from rich import progress as rich_progress
from rich.console import Console
from rich.text import Text

from widelimit.runs.config import canonical_json
from widelimit.runs.record import Record


@dataclass
class Tally:
    """What a run has done so far.

    Args:
        total: Number of trials, those of earlier runs included.
        before: Number of trials that earlier runs finished.
    """

    total: int
    before: int = 0
    finished: set[str] = field(default_factory=set)
    """Keys of the trials that this run has finished, failed ones included."""
    failed: int = 0
    """How many of these failed."""
    running: dict[str, float] = field(default_factory=dict)
    """Fraction done of each trial in flight, by key."""
    begin: float = field(default_factory=time.monotonic)

    def advance(self, key: str, fraction: float) -> None:
        """Note how far a trial in flight is; a report after its end is dropped."""
        if key not in self.finished:
            self.running[key] = fraction

    def finish(self, record: Record) -> None:
        """Count a trial of this run."""
        self.running.pop(record.key, None)
        self.finished.add(record.key)
        self.failed += record.status == "failed"

    @property
    def count(self) -> int:
        """Trials finished, in this run or before."""
        return self.before + len(self.finished)

    @property
    def done(self) -> float:
        """Trials done, in flight ones by their fraction."""
        # A list, because a bar reads this while the run changes it.
        return self.count + sum(list(self.running.values()), 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self.begin

    @property
    def seconds_left(self) -> float | None:
        """Time left, were the rest like the trials of this run; `None` at first."""
        here = self.done - self.before
        return self.elapsed * (self.total - self.done) / here if here > 0 else None

    def __str__(self) -> str:
        percent = int(100 * self.done / self.total) if self.total else 100
        left = self.seconds_left
        return ", ".join(
            [f"{self.count}/{self.total} trials ({percent} %)"]
            + [f"{self.failed} failed"] * (self.failed > 0)
            + [f"{_clock(self.elapsed)} elapsed"]
            + ([] if left is None else [f"{_clock(left)} left"])
        )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Progress(abc.ABC):
    """A display of a `Tally`; a context manager for as long as the run lasts."""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        return None  # a display that needs it overrides this

    @abc.abstractmethod
    def show(self, tally: Tally, record: Record | None = None) -> None:
        """Show `tally`, which has just changed: by `record`, if a trial finished."""


class SilentProgress(Progress):
    """Shows nothing."""

    def show(self, tally: Tally, record: Record | None = None) -> None:
        pass


class LineProgress(Progress):
    """Plain lines, for logs: the first, the last, each failure, and one now and then.

    Args:
        interval: Least time between two lines that tell nothing special, in seconds.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self._interval = interval
        self._last = -float("inf")

    def show(self, tally: Tally, record: Record | None = None) -> None:
        failure = _failure(record)
        last = record is not None and tally.count == tally.total
        now = time.monotonic()
        if failure or last or now - self._last >= self._interval:
            self._last = now
            for line in [*failure, str(tally)]:
                print(line, file=sys.stderr, flush=True)


class BarProgress(Progress):
    """A bar on a terminal, with the failures above it.

    Args:
        console: Where to; `None` for standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._bar = rich_progress.Progress(
            rich_progress.BarColumn(),
            _TallyColumn(),
            console=console or Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, tally="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, tally: Tally, record: Record | None = None) -> None:
        for line in _failure(record):
            self._bar.console.print(Text(line, style="red"))
        self._bar.update(
            self._task, completed=tally.done, total=tally.total, tally=tally
        )


class _TallyColumn(rich_progress.ProgressColumn):
    """The tally in words, anew at each refresh, so that its clock runs."""

    def render(self, task: rich_progress.Task) -> Text:
        return Text(str(task.fields["tally"]))


def default_progress() -> Progress:
    """A bar if standard error is a terminal, else plain lines."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def _failure(record: Record | None) -> list[str]:
    if record is None or record.error is None:
        return []
    return [f"trial {canonical_json(record.config)} failed: {record.reason}"]
