"""The process that computes trials for `ProcessExecutor`, one at a time.

It reads one configuration a line from standard input, and writes messages, one JSON
object a line, to what was standard output: first `{"ready": true}`, or
`{"broken": traceback}` if it cannot load the trial's function; then for each trial
`{"begun": key}`, `{"key": key, "fraction": done}` now and then, and `{"record": text}`.
Whatever else is printed goes to standard error. It ends when its input does, so it
outlives the process that started it by no more than an instant.
"""

import io
import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO


def main(trial: str, cpus: list[int], directory: str | None) -> None:
    """Serve until the input ends.

    Args:
        trial: Reference of the function, `"package.module:function"`.
        cpus: The cores to use; empty for all.
        directory: Folder of the folders that trials may use, named after their keys.
    """
    tasks, messages = _take_streams()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, lines), daemon=True).start()
    if cpus and hasattr(os, "sched_setaffinity"):
        # Before the imports below: libraries size their thread pools by it.
        os.sched_setaffinity(0, cpus)

    writing = threading.Lock()

    def send(**message: Any) -> None:
        with writing:
            print(json.dumps(message, allow_nan=False), file=messages, flush=True)

    try:
        from widelimit.runs.config import config_key
        from widelimit.runs.trial import evaluate, load_trial

        function = load_trial(trial)
    except BaseException:
        send(broken=traceback.format_exc())
        return
    send(ready=True)
    while True:
        config = json.loads(lines.get())
        key = config_key(config)

        def report(fraction: float, key: str = key) -> None:
            send(key=key, fraction=fraction)

        send(begun=key)
        place = None if directory is None else Path(directory, key)
        send(record=evaluate(function, config, report, place).to_json())


def _take_streams() -> tuple[TextIO, TextIO]:
    # Trials print, and start processes that read and print. They get an empty input and
    # standard error; the two pipes move to numbers that child processes do not inherit.
    tasks, messages = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # nothing printed waits for the end
    return os.fdopen(tasks, encoding="ascii"), os.fdopen(
        messages, "w", encoding="ascii"
    )


def _listen(tasks: TextIO, lines: "queue.SimpleQueue[str]") -> None:
    for line in tasks:
        lines.put(line)
    os._exit(0)  # at once, whatever the trial is computing: nobody would read it
