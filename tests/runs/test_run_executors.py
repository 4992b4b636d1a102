"""Both executors, through `run_trials`: equal values, and failures that stay alone."""

import os
import re
import sys

import pytest
import xarray as xr

from widelimit.runs import (
    Executor,
    ProcessExecutor,
    SerialExecutor,
    SilentProgress,
    Store,
    config_key,
    load_results,
    run_trials,
)

EXECUTORS = [SerialExecutor(), ProcessExecutor(2)]
both = pytest.mark.parametrize("executor", EXECUTORS, ids=["serial", "processes"])
TRIALS = [{"index": i, "seed": 7 * i} for i in range(5)]


def run(directory, trials=TRIALS, trial="draw", executor=None, **options):
    return run_trials(
        directory,
        configuration={"study": "tiny"},
        trials=trials,
        trial=f"tiny_trials:{trial}",
        executor=executor,
        progress=SilentProgress(),
        **options,
    )


def test_executors_give_equal_values(tmp_path):
    found = []
    for i, executor in enumerate(EXECUTORS):
        assert isinstance(executor, Executor)
        summary = run(tmp_path / str(i), executor=executor)
        assert (summary.total, summary.computed, summary.failed) == (5, 5, ())
        axes = {"index": [t["index"] for t in TRIALS]}
        results = load_results(tmp_path / str(i), axes)
        assert (results.wall_seconds < 5).all()
        found.append(results.drop_vars("wall_seconds"))
    xr.testing.assert_identical(*found)


@both
def test_only_missing_trials_are_computed(tmp_path, executor):
    assert run(tmp_path, TRIALS[:3]).computed == 3
    before = {p: p.read_bytes() for p in Store(tmp_path).trials.iterdir()}
    assert run(tmp_path, TRIALS, executor=executor).computed == 2
    assert all(p.read_bytes() == text for p, text in before.items())
    assert run(tmp_path, TRIALS, executor=executor).computed == 0


def test_finished_trials_of_another_run_are_taken_over(tmp_path):
    run(tmp_path / "first", [*TRIALS[:3], {"index": 9, "seed": 1, "broken": True}])
    others = [tmp_path / "first", tmp_path / "nothing here"]
    summary = run(tmp_path / "second", TRIALS, others=others)
    assert (summary.total, summary.computed) == (5, 2)
    for config in TRIALS[:3]:
        texts = {
            Store(tmp_path / d).read(config_key(config)).to_json()
            for d in ("first", "second")
        }
        assert len(texts) == 1


@both
def test_a_failing_trial_keeps_its_traceback(tmp_path, executor):
    messages = {
        "raise": "(?s)in troublesome\n.*\nArithmeticError: the loss is not finite",
        "exit": "SystemExit: 3",
        "no dataset": "needs to return an `xarray.Dataset`. Got a `dict`",
        "complex": "Got `z` with dtype complex128",
    }
    bad = [{"index": 9, "seed": 0, "trouble": t} for t in messages]
    trials = [TRIALS[0], *bad, *TRIALS[1:]]
    summary = run(tmp_path, trials, "troublesome", executor)
    assert summary.failed == tuple(config_key(t) for t in bad)
    assert len(list(Store(tmp_path).records())) == len(trials)
    for key, message in zip(summary.failed, messages.values(), strict=True):
        assert re.search(message, Store(tmp_path).read(key).error)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dying_worker_fails_its_trial_only(tmp_path, workers):
    messages = {
        "os._exit": "ended with exit code 7",
        "kill": r"was killed by SIGKILL \(exit code -9\)",
    }
    bad = [{"index": 9, "seed": 0, "trouble": t} for t in messages]
    trials = [TRIALS[0], *bad, *TRIALS[1:]]
    summary = run(tmp_path, trials, "troublesome", ProcessExecutor(workers))
    assert summary.computed == len(trials)
    assert summary.failed == tuple(config_key(t) for t in bad)
    for config, message in zip(bad, messages.values(), strict=True):
        record = Store(tmp_path).read(config_key(config))
        assert record.config == config and record.environment["numpy"]
        assert re.search(message, record.error)


@both
def test_failed_trials_are_computed_again_on_demand_only(tmp_path, executor):
    trials = [TRIALS[0], TRIALS[1] | {"trouble": "raise"}]
    run(tmp_path, trials, "troublesome")
    first = [r.started for r in Store(tmp_path).records()]
    summary = run(tmp_path, trials, "troublesome", executor)
    assert summary.computed == 0 and len(summary.failed) == 1
    summary = run(tmp_path, trials, "troublesome", executor, retry_failed=True)
    assert summary.computed == 1 and len(summary.failed) == 1
    again = [r.started for r in Store(tmp_path).records()]
    assert sum(a != b for a, b in zip(first, again, strict=True)) == 1
    summary = run(tmp_path, trials, "draw", executor, retry_failed=True)
    assert summary.computed == 1 and summary.failed == ()


@both
def test_trials_cannot_change_their_record(tmp_path, executor):
    given = {"index": 0, "seed": 1}
    run(tmp_path, [given], "changes_its_config", executor)
    (record,) = Store(tmp_path).records()
    assert record.config == given == {"index": 0, "seed": 1}
    assert record.status == "done"


def test_workers_may_print_and_read(tmp_path, capfd):
    run(tmp_path, TRIALS[:2], "noisy", ProcessExecutor(1))
    assert [r.error for r in Store(tmp_path).records()] == [None, None]
    out, err = capfd.readouterr()
    assert out == "" and err.count("from Python\nfrom a child") == 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
def test_workers_share_the_cores_and_have_their_own_groups(tmp_path):
    run(tmp_path, TRIALS[:2], "place", ProcessExecutor(2))
    records = list(Store(tmp_path).records())
    cores = [int(r.values["cores"]) for r in records]
    allowed = len(os.sched_getaffinity(0))
    assert all(max(1, allowed // 2) <= c <= (allowed + 1) // 2 for c in cores)
    # Their own process groups: the terminal's Ctrl-C does not reach them. A quick
    # worker may have computed both trials.
    assert os.getpgrp() not in {int(r.values["group"]) for r in records}


def test_the_environment_of_a_worker_is_recorded(tmp_path):
    run(tmp_path, TRIALS[:1], executor=ProcessExecutor(1))
    (record,) = Store(tmp_path).records()
    assert record.environment["device"] is None  # this trial needs no JAX
    assert record.environment["python"] == sys.version.split()[0]


@both
@pytest.mark.parametrize("reference", ["tiny_trials:absent", "draw"])
def test_a_wrong_reference_ends_the_run(tmp_path, executor, reference):
    with pytest.raises(ImportError, match="A trial needs a reference"):
        run_trials(
            tmp_path,
            configuration={},
            trials=TRIALS,
            trial=reference,
            executor=executor,
            progress=SilentProgress(),
        )
    assert list(Store(tmp_path).records()) == []


def test_trials_of_the_main_script_need_the_serial_executor(tmp_path):
    with pytest.raises(ValueError, match="another process can import"):
        list(ProcessExecutor(1).run("__main__:draw", TRIALS, lambda k, f: None))


def test_a_worker_that_cannot_start_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="exit code 1 before its first trial"):
        run(tmp_path, executor=ProcessExecutor(2))
    assert list(Store(tmp_path).records()) == []


def test_the_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="`workers >= 1`. Got `workers=0`"):
        ProcessExecutor(0)


def test_equal_trials_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'Got two with {"seed":1,"width":2}. Give'):
        run(tmp_path, [{"width": 2, "seed": 1}, {"seed": 1, "width": 2}])
    assert list(tmp_path.iterdir()) == []


@both
def test_no_trials_are_no_work(tmp_path, executor):
    summary = run(tmp_path, [], executor=executor)
    assert (summary.total, summary.computed, summary.failed) == (0, 0, ())
