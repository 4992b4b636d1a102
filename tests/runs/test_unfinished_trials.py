"""What a trial keeps to go on from: its own folder, until it has succeeded."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from widelimit.runs import (
    ProcessExecutor,
    Record,
    Report,
    SerialExecutor,
    SilentProgress,
    Store,
    config_key,
    run_trials,
)

HERE = Path(__file__).parent


def run(directory, executor, trials, **options):
    return run_trials(
        directory,
        configuration={"study": "tiny"},
        trials=trials,
        trial="tiny_trials:keeps",
        executor=executor,
        progress=SilentProgress(),
        **options,
    )


@pytest.mark.parametrize(
    "executor", [SerialExecutor(), ProcessExecutor(1)], ids=["serial", "processes"]
)
def test_a_folder_stays_until_its_trial_has_succeeded(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a relative directory will do
    trials = [{"index": 0, "fails": 2}, {"index": 1, "fails": 0}]
    store, key = Store("out"), config_key(trials[0])
    for attempt in range(3):
        summary = run("out", executor, trials, retry_failed=True)
        left = sorted(p.name for p in Path("out").rglob("*") if p.is_dir())
        if attempt < 2:
            assert summary.failed == (key,)
            assert left == sorted(["trials", "unfinished", key])
        else:
            assert summary.failed == () and left == ["trials"]
    values = {store.read(config_key(t)).values["before"].item() for t in trials}
    assert values == {2, 0}  # what it found of earlier attempts


def test_a_run_killed_between_record_and_tidying_is_tidied_by_the_next(tmp_path):
    trials = [{"index": 0, "fails": 0}, {"index": 1, "fails": 0}]
    run(tmp_path, SerialExecutor(), trials[:1])
    for trial in trials:
        (tmp_path / "unfinished" / config_key(trial)).mkdir(parents=True)
    with Store(tmp_path).writing({"study": "tiny"}):
        left = [p.name for p in (tmp_path / "unfinished").iterdir()]
    assert left == [config_key(trials[1])]


def test_writing_a_failed_record_keeps_the_folder(tmp_path):
    store, config = Store(tmp_path), {"index": 0}
    place = store.unfinished / config_key(config)
    place.mkdir(parents=True)
    with store.writing({}):
        store.write(Record(config, "", 0.0, {}, None, "an error"))
        assert place.is_dir()
        store.write(Record(config, "", 0.0, {}, xr.Dataset()))
        assert not place.exists()


def test_a_report_is_called_like_a_function():
    heard = []
    report = Report(heard.append)
    report(0.5)
    assert heard == [0.5] and report.directory is None


# Killed while it trains


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("workers", "fast"),
    [
        pytest.param(0, "true", id="serial"),
        pytest.param(0, "false", id="optimized", marks=pytest.mark.slow),
        pytest.param(1, "false", id="process", marks=pytest.mark.slow),
    ],
)
def test_a_killed_trial_goes_on_and_ends_with_the_same_bits(workers, fast, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    configs = {
        place: {"seed": 4, "log": str(tmp_path / f"{place.name}.log")}
        for place in (out, whole)
    }

    def start(*places):
        runs = [part for p in places for part in (str(p), json.dumps(configs[p]))]
        settings = {
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": fast,  # of compiling
        }
        return subprocess.Popen(
            [sys.executable, HERE / "trained_trials.py", str(workers), *runs],
            env=os.environ | settings,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    key = config_key(configs[out])
    state = out / "unfinished" / key / "training" / "state.npz"
    process = start(out)
    end = time.monotonic() + 60
    while not state.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    with np.load(state, allow_pickle=False) as archive:
        done = json.loads(bytes(archive["header"]))["epoch"]
    assert 0 < done < 60 and key not in Store(out)
    (tmp_path / "out.log").unlink(missing_ok=True)

    process = start(out, whole)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    logs = {p: Path(configs[p]["log"]).read_text().split() for p in (out, whole)}
    assert logs[out] == [str(e) for e in range(done + 1, 61)] and len(logs[whole]) == 60
    resumed, expected = (
        Store(p).read(config_key(configs[p])).values for p in (out, whole)
    )
    assert float(expected["loss"].std()) > 0
    xr.testing.assert_identical(resumed, expected)
    assert not (out / "unfinished").exists()
