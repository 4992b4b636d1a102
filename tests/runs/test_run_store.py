"""The directory of a run: whole files, one configuration, one writer."""

import os

import pytest
import xarray as xr

from widelimit.runs import Record, Store, load_results, run_trials

CONFIGURATION = {"grid": {"width": [64, 128], "depth": [2]}, "seeds": 3}
TRIALS = [{"seed": s} for s in range(3)]


def record(seed=0, value=1.0):
    values = xr.Dataset({"a": ((), value)})
    return Record({"seed": seed}, "2026-01-01T00:00:00+00:00", 0.1, {}, values)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "out")


def test_what_is_written_is_read(store):
    with store.writing(CONFIGURATION):
        for seed in range(3):
            store.write(record(seed))
    assert store.configuration == CONFIGURATION
    assert sorted(r.config["seed"] for r in store.records()) == [0, 1, 2]
    key = record(1).key
    assert key in store and store.read(key).to_json() == record(1).to_json()
    assert "0" * 20 not in store
    with pytest.raises(KeyError):
        store.read("0" * 20)


def test_an_empty_place_has_nothing(store):
    assert store.configuration is None and list(store.records()) == []
    assert not store.directory.exists()


def test_equal_configurations_are_accepted(store):
    with store.writing(CONFIGURATION):
        pass
    with store.writing({"seeds": 3, "grid": {"depth": (2,), "width": (64, 128)}}):
        pass


def test_a_changed_configuration_is_refused_with_the_difference(store):
    with store.writing(CONFIGURATION):
        store.write(record())
    changed = {"grid": {"width": [64, 256], "depth": [2]}, "device": "cpu"}
    with pytest.raises(ValueError) as refusal:
        run_trials(
            store.directory, configuration=changed, trials=TRIALS, trial="absent:absent"
        )
    assert str(refusal.value) == (
        f"`{store.directory}` holds a run with another configuration. What was there "
        '-> what is asked for now:\n  device: absent -> "cpu"\n'
        "  grid.width: [64, 128] -> [64, 256]\n  seeds: 3 -> absent\n"
        "Choose another directory, or go back to the old settings."
    )
    assert store.configuration == CONFIGURATION


def test_one_run_at_a_time(store):
    with store.writing(CONFIGURATION):
        with pytest.raises(RuntimeError, match="in use by another run. Wait"):
            with Store(store.directory).writing(CONFIGURATION):
                pass
        assert store.configuration == CONFIGURATION  # reading goes on
    with store.writing(CONFIGURATION):
        pass


def test_the_lock_goes_when_the_run_fails(store):
    for _ in range(2):
        with pytest.raises(KeyError), store.writing(CONFIGURATION):
            raise KeyError


def test_drafts_of_a_killed_run_are_removed_and_never_read(store):
    with store.writing(CONFIGURATION):
        store.write(record())
    (store.trials / f"{record(1).key}.json.tmp").write_text('{"half')
    (store.directory / "study.json.tmp").write_text('{"half')
    assert len(list(store.records())) == 1
    with store.writing(CONFIGURATION):
        assert not list(store.directory.rglob("*.tmp"))


def test_a_write_that_fails_changes_nothing(store, monkeypatch):
    with store.writing(CONFIGURATION):
        store.write(record(value=1.0))
        before = store.read(record().key).to_json()
        monkeypatch.setattr(os, "fsync", lambda fd: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.write(record(value=2.0))
    assert store.read(record().key).to_json() == before


def test_a_damaged_record_is_named_with_the_cure(store):
    with store.writing(CONFIGURATION):
        store.write(record())
    path = store.trials / f"{record().key}.json"
    path.write_text(path.read_text()[:50])
    message = rf"{record().key}.json` cannot be read.* delete the file"
    with pytest.raises(ValueError, match=message):
        load_results(store.directory, {"seed": [0]})
    with pytest.raises(ValueError, match=message):
        run_trials(
            store.directory,
            configuration=CONFIGURATION,
            trials=TRIALS,
            trial="tiny_trials:draw",
        )


def test_a_renamed_record_is_named(store):
    with store.writing(CONFIGURATION):
        store.write(record())
    path = store.trials / f"{record().key}.json"
    path.rename(path.with_stem("0" * 20))
    with pytest.raises(ValueError, match="the file was renamed"):
        list(store.records())


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2, "configuration": {}}'])
def test_a_damaged_configuration_is_named(store, text):
    store.directory.mkdir()
    (store.directory / "study.json").write_text(text)
    with pytest.raises(ValueError, match="study.json` is not a run's configuration"):
        with store.writing(CONFIGURATION):
            pass
