"""Trials in several processes of this machine."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from widelimit._checks import check_at_least
from widelimit.runs.config import Config, canonical_json
from widelimit.runs.environment import environment
from widelimit.runs.executor import Watch
from widelimit.runs.record import Record

Messages = queue.SimpleQueue[tuple["_Worker", dict[str, Any] | None]]


@dataclass(frozen=True)
class ProcessExecutor:
    """Computes trials in worker processes, each with its share of the CPU cores.

    A worker is a fresh interpreter, not a fork (JAX's threads do not survive one), and
    talks to this process in lines of JSON. When a worker dies, its trial has failed,
    and another worker takes its place. When this process dies, so do its workers.

    With several workers on one GPU, set `XLA_PYTHON_CLIENT_PREALLOCATE=false`, or the
    first one takes most of the memory.

    Args:
        workers: Number of processes.
    """

    workers: int

    def __post_init__(self) -> None:
        check_at_least("ProcessExecutor", "workers", self.workers, 1)

    def run(
        self,
        trial: str,
        configs: Sequence[Config],
        watch: Watch,
        directory: Path | None = None,
    ) -> Generator[Record, None, None]:
        if trial.startswith("__main__:"):
            raise ValueError(
                "`ProcessExecutor` needs a trial that another process can import. Got "
                f"{trial!r}. Move it to a module, or use `SerialExecutor`."
            )
        todo = deque(configs)
        messages: Messages = queue.SimpleQueue()
        workers: list[_Worker] = []
        try:
            for cpus in _shares(min(self.workers, len(todo))):
                workers.append(_Worker(trial, cpus, directory, messages))
            while workers:
                try:
                    worker, message = messages.get(timeout=0.2)
                except queue.Empty:
                    continue  # back in Python code, where Ctrl-C is obeyed
                if worker not in workers:
                    continue  # stopped meanwhile
                match message:
                    case {"begun": key}:
                        worker.begun = True
                        watch(key, 0.0)
                        continue
                    case {"key": key, "fraction": fraction}:
                        watch(key, fraction)
                        continue
                    case {"ready": _}:
                        record = None
                    case {"record": text}:
                        record = Record.from_json(text)
                    case {"broken": trace}:
                        raise ImportError(
                            f"A worker process cannot load {trial!r}:\n{trace}"
                        )
                    case _:  # the worker has died
                        workers.remove(worker)
                        record = worker.bury()
                        if record is None and worker.config is not None:
                            todo.appendleft(worker.config)
                        if todo:
                            workers.append(
                                _Worker(trial, worker.cpus, directory, messages)
                            )
                if record is not None:
                    yield record  # kept before the worker goes on: one trial is at risk
                if worker in workers:
                    if todo:
                        worker.begin(todo.popleft())
                    else:
                        workers.remove(worker)
                        worker.stop()
        finally:
            for worker in workers:
                worker.stop()


class _Worker:
    """One process, and the thread that passes on its messages, `None` at the end."""

    def __init__(
        self, trial: str, cpus: list[int], directory: Path | None, messages: Messages
    ) -> None:
        self.cpus = cpus
        self.config: Config | None = None
        self.begun = False
        """Whether it has confirmed that it computes `config`."""
        self._started, self._begin = "", 0.0
        path = [os.path.abspath(folder) for folder in sys.path]
        settings = {
            "path": path,
            "trial": trial,
            "cpus": cpus,
            "directory": None if directory is None else str(directory.absolute()),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Out of reach of the terminal's Ctrl-C, which this process answers.
            process_group=0 if os.name == "posix" else None,
        )
        self._reader = threading.Thread(
            target=self._read, args=(messages,), daemon=True
        )
        self._reader.start()

    def begin(self, config: Config) -> None:
        """Hand over the next trial."""
        self.config, self.begun = config, False
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._begin = time.perf_counter()
        with contextlib.suppress(OSError):  # it just died: `_read` notices
            self._stdin.write(canonical_json(config).encode("ascii") + b"\n")
            self._stdin.flush()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._stdout.close()
        with contextlib.suppress(OSError):  # what it did not read any more
            self._stdin.close()

    def bury(self) -> Record | None:
        """Clear up after the process has died.

        Returns:
            A failed record of the trial that it was computing, if there was one.

        Raises:
            RuntimeError: If it died before it was ready for a trial.
        """
        seconds = time.perf_counter() - self._begin
        self.stop()
        how = _describe(self._process.returncode)
        if self.config is None:
            raise RuntimeError(
                f"A worker process {how} before its first trial. See what it wrote to "
                "standard error."
            )
        if not self.begun:
            return None
        # If the whole run is being killed and the workers came first, no trial is to
        # blame: then this process does not live to say so.
        time.sleep(0.5)
        error = (
            f"The worker process {how} during the trial. If the system ran out of "
            "memory, use fewer workers.\n"
        )
        return Record(self.config, self._started, seconds, environment(), None, error)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self, messages: Messages) -> None:
        try:
            for line in self._stdout:
                if line.endswith(b"\n"):  # not the half line of a dying process
                    messages.put((self, json.loads(line)))
        finally:
            messages.put((self, None))


# Everything that can be imported here can be imported in a worker.
_BOOT = """\
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings["path"]
from widelimit.runs.worker import main
main(settings["trial"], settings["cpus"], settings["directory"])
"""


def _shares(workers: int) -> list[list[int]]:
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(workers)]
    cpus = sorted(os.sched_getaffinity(0))
    return [cpus[i::workers] or [cpus[i % len(cpus)]] for i in range(workers)]


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "an unknown signal"
    return f"was killed by {name} (exit code {returncode})"
