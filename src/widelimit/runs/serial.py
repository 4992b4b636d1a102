"""Trials one after another in this process."""

import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from widelimit.runs.config import Config, config_key
from widelimit.runs.executor import Watch
from widelimit.runs.record import Record
from widelimit.runs.trial import evaluate, load_trial

Messages = queue.SimpleQueue[tuple[str, float | Record]]


@dataclass(frozen=True)
class SerialExecutor:
    """Computes trials one after another, each in a thread of this process.

    Python obeys Ctrl-C between two instructions of its main thread only: were a trial
    to run there, Ctrl-C would wait until a compiled program returns, maybe for hours.
    So the trial has its own thread, and the main one waits for it in short steps. After
    Ctrl-C the abandoned thread still computes until its program returns; a command that
    wants to end at once calls `os._exit`.
    """

    def run(
        self,
        trial: str,
        configs: Sequence[Config],
        watch: Watch,
        directory: Path | None = None,
    ) -> Generator[Record, None, None]:
        function = load_trial(trial)
        messages: Messages = queue.SimpleQueue()
        for config in configs:
            key = config_key(config)
            watch(key, 0.0)

            def work(config: Config = config, key: str = key) -> None:
                def report(fraction: float) -> None:
                    messages.put((key, fraction))

                place = None if directory is None else directory / key
                messages.put((key, evaluate(function, config, report, place)))

            threading.Thread(target=work, name=f"trial {key}", daemon=True).start()
            while True:
                try:
                    key, news = messages.get(timeout=0.2)
                except queue.Empty:
                    continue  # back in Python code, where Ctrl-C is obeyed
                if isinstance(news, Record):
                    yield news
                    break
                watch(key, news)
