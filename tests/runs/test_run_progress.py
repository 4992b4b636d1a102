"""Progress: the estimate of the time left, and what the displays write."""

import io
import sys

import pytest
from rich.console import Console

from widelimit.runs import (
    BarProgress,
    LineProgress,
    Record,
    SilentProgress,
    Tally,
    default_progress,
    run_trials,
)
from widelimit.runs import progress as progress_module


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def record(index, error="Traceback\nValueError: bad [red]"):
    return Record({"index": index}, "2026-01-01T00:00:00+00:00", 1.0, {}, None, error)


def test_time_left_counts_fractions_and_ignores_earlier_runs(clock):
    tally = Tally(total=10, before=4, begin=clock[0])
    assert tally.seconds_left is None
    assert str(tally) == "4/10 trials (40 %), 0:00:00 elapsed"
    clock[0] += 30
    tally.finish(record(0))
    tally.advance("a", 0.25)
    tally.advance("b", 0.25)
    assert tally.done == 5.5 and tally.elapsed == 30
    assert tally.seconds_left == pytest.approx(30 / 1.5 * 4.5)
    line = "5/10 trials (55 %), 1 failed, 0:00:30 elapsed, 0:01:30 left"
    assert str(tally) == line


def test_a_report_after_the_end_is_dropped():
    tally = Tally(total=2)
    tally.advance(record(0).key, 0.5)
    tally.finish(record(0))
    tally.advance(record(0).key, 0.9)
    assert tally.done == 1 and not tally.running


def test_lines_are_few_but_tell_failures_and_the_end(clock, capsys):
    tally = Tally(total=3, begin=clock[0])
    with LineProgress() as display:
        display.show(tally)
        for step in range(100):  # 100 reports in 20 seconds
            clock[0] += 0.2
            tally.advance(record(0).key, step / 100)
            display.show(tally)
        for index in range(3):
            tally.finish(record(index))
            display.show(tally, record(index) if index == 0 else None)
        display.show(tally, record(2))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("0/3 trials (0 %)")
    assert 'trial {"index":0} failed: ValueError: bad [red]' in lines
    assert lines[-1].startswith("3/3 trials (100 %), 3 failed")
    assert len(lines) == 1 + 2 + 2 + 2


def test_the_bar_shows_the_tally_and_the_failures():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    tally = Tally(total=2)
    with BarProgress(console) as display:
        tally.finish(record(0))
        display.show(tally, record(0))
    written = console.file.getvalue()
    assert "1/2 trials (50 %), 1 failed" in written
    assert "failed: ValueError: bad [red]" in written


def test_the_default_fits_the_stream(monkeypatch):
    assert isinstance(default_progress(), LineProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(default_progress(), BarProgress)


def test_a_run_shows_lines_by_default_and_can_be_silent(tmp_path, capfd):
    for index, display in enumerate([None, SilentProgress()]):
        run_trials(
            tmp_path / str(index),
            configuration={},
            trials=[{"index": i, "seed": i} for i in range(2)],
            trial="tiny_trials:draw",
            progress=display,
        )
        out, err = capfd.readouterr()
        assert out == "" and bool(err) == (display is None)
        if display is None:
            assert "0/2 trials" in err and "2/2 trials (100 %)" in err
