"""Runs that are killed or interrupted lose at most the trials in flight."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import xarray as xr
from tiny_trials import draw

from widelimit.runs import SilentProgress, Store, load_results, run_trials

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
WORKERS = [0, 2]  # 0: the serial executor


def start(directory, workers, trial, trials):
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, here / "tiny_trials.py", directory, str(workers), trial]
        + [json.dumps(trials)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *sys.path])},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until(claim, seconds=30.0):
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def grown(path, size):
    return path.stat().st_size > size


@pytest.mark.parametrize(
    "workers",
    [WORKERS[0], pytest.param(WORKERS[1], marks=pytest.mark.slow)],
    ids=["serial", "processes"],
)
def test_ten_kills_lose_nothing_that_was_finished(tmp_path, workers):
    rng = random.Random(workers)
    out, log = tmp_path / "out", tmp_path / "log"
    log.touch()
    trials = [
        {"index": i, "seed": i, "log": str(log), "size": 2000}
        | {"seconds": rng.uniform(0.01, 0.06)}
        for i in range(60)
    ]
    store = Store(out)
    kept: dict[str, bytes] = {}
    killed_while_running = 0
    for attempt in range(11):
        known = {store.read(path[: -len(".json")]).config["index"] for path in kept}
        size = log.stat().st_size
        process = start(out, workers, "draw", trials)
        if attempt < 2:
            time.sleep(rng.uniform(0.0, 1.0))  # at any moment, starting included
        elif attempt < 10:
            wait_until(partial(grown, log, size))
            time.sleep(rng.uniform(0.0, 0.3))
        else:
            process.wait(60)
        if process.poll() is None:
            killed_while_running += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)  # ends when the workers have gone, too

        with open(log) as file:
            file.seek(size)
            begun = [int(line) for line in file]
        files = {p.name: p.read_bytes() for p in store.trials.glob("*.json")}
        done = {r.config["index"] for r in store.records()}
        assert all(files[name] == text for name, text in kept.items())
        assert len(set(begun)) == len(begun) and not known & set(begun)
        lost = set(begun) - done
        assert len(lost) <= max(1, workers)
        kept = files

    assert killed_while_running == 10 and process.returncode == 0
    assert sorted(done) == list(range(60)) and len(kept) == 60
    assert {p.name for p in out.iterdir()} == {".lock", "study.json", "trials"}
    assert {p.name for p in store.trials.iterdir()} == set(kept)
    assert {r.status for r in store.records()} == {"done"}
    for record in store.records():
        expected = draw(record.config | {"seconds": 0.0}, lambda fraction: None)
        xr.testing.assert_identical(record.values, expected)


def test_workers_end_with_the_run(tmp_path):
    log = tmp_path / "log"
    process = start(tmp_path / "out", 2, "endless", [{"log": str(log)}])
    wait_until(log.exists)
    process.kill()
    # The worker holds standard error as well: it ends when the worker has.
    process.communicate(timeout=10)


def test_a_run_in_another_process_is_respected_and_its_lock_dies_with_it(tmp_path):
    trials = [{"index": 0, "seed": 0, "log": str(tmp_path / "log"), "seconds": 60}]
    process = start(tmp_path / "out", 0, "draw", trials)

    def run():
        return run_trials(
            tmp_path / "out",
            configuration={"study": "tiny"},
            trials=[trials[0] | {"seconds": 0}],
            trial="tiny_trials:draw",
            progress=SilentProgress(),
        )

    wait_until((tmp_path / "log").exists)
    with pytest.raises(RuntimeError, match="in use by another run"):
        run()
    process.kill()
    process.communicate(timeout=10)
    assert run().computed == 1


@pytest.mark.parametrize("workers", [0, 1], ids=["serial", "processes"])
def test_ctrl_c_is_obeyed_while_compiled_code_runs(tmp_path, workers):
    log = tmp_path / "log"
    trials = [{"index": i, "seed": i} for i in range(2)]
    trials = [trials[0], trials[1] | {"log": str(log)}]
    process = start(tmp_path / "out", workers, "compiled", trials)
    try:
        wait_until(log.exists)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130 and b"Traceback" not in errors
    results = load_results(tmp_path / "out", {"index": [0, 1]})
    assert results.status.values.tolist() == ["done", "missing"]
