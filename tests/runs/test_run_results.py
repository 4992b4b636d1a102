"""Records as one labelled array set: right places, order kept, gaps shown."""

import numpy as np
import pytest
import xarray as xr

from widelimit.runs import Record, Store, load_results

WIDTHS, NAMES, SCALES = [512, 64, 128], ["ntk", "he"], [1.0, 0.5]
AXES = {"width": WIDTHS, "initialization": NAMES, "scale": SCALES}


def value(width, name, scale, epoch):
    return 1000 * width + 100 * len(name) + scale + epoch / 7


def record(config, values=None, error=None, seconds=2.0):
    return Record(config, "2026-01-01T00:00:00+00:00", seconds, {}, values, error)


def write(directory, records):
    store = Store(directory)
    with store.writing({"study": "grid"}):
        for one in records:
            store.write(one)


def grid(epochs=(0, 10)):
    for width in WIDTHS:
        for name in NAMES:
            for scale in SCALES:
                config = {"width": width, "initialization": name, "scale": scale}
                numbers = [value(width, name, scale, e) for e in epochs]
                yield record(
                    config | {"seed": 3},
                    xr.Dataset(
                        {
                            "loss": ("epoch", numbers, {"units": "nats"}),
                            "steps": ((), width),
                            "good": ((), True),
                            "label": ((), name),
                        },
                        {"epoch": list(epochs)},
                    ),
                )


def test_each_value_stands_at_its_labels(tmp_path):
    write(tmp_path, grid())
    results = load_results(tmp_path, AXES)
    assert results.loss.dims == ("width", "initialization", "scale", "epoch")
    for axis, values in AXES.items():
        assert results[axis].values.tolist() == values
    for point in results.loss.stack(p=results.loss.dims).p.values:
        labels = dict(zip(results.loss.dims, point, strict=True))
        assert results.loss.sel(labels) == value(*point)
    assert results.loss.dtype == float and results.loss.attrs == {"units": "nats"}
    assert results.steps.dtype == int and results.good.dtype == bool
    assert (results.status == "done").all() and (results.wall_seconds == 2.0).all()
    assert (results.label == results.initialization).all()


def test_missing_and_failed_trials_are_nan_and_told(tmp_path):
    records = list(grid())
    failed = record(records[3].config, error="Traceback: too bad", seconds=9.0)
    write(tmp_path, [*records[:3], failed, *records[5:]])
    results = load_results(tmp_path, AXES)
    lost = {"width": 512, "initialization": "he"}
    assert results.status.sel(lost).values.tolist() == ["done", "failed"]
    assert results.status.sel(width=64, initialization="ntk").values.tolist() == [
        "missing",
        "done",
    ]
    assert (results.status != "done").sum() == 2
    gaps = results.loss.isnull().all("epoch")
    xr.testing.assert_equal(gaps, results.status.drop_attrs() != "done")
    assert int(results.steps.isnull().sum()) == 2 and results.steps.dtype == float
    seconds = results.wall_seconds.sel(lost).values.tolist()
    assert seconds == [2.0, 9.0]
    assert np.isnan(results.wall_seconds.sel(width=64, initialization="ntk")[0])


def test_a_part_of_an_axis_can_be_loaded(tmp_path):
    write(tmp_path, grid())
    whole = load_results(tmp_path, AXES)
    part = load_results(tmp_path, AXES | {"width": [64]})
    xr.testing.assert_identical(part, whole.sel(width=[64]))


def test_own_dimensions_may_differ_by_trial(tmp_path):
    a, b, *_ = grid()
    (c, d, *_) = grid(epochs=(0, 5, 20))
    write(tmp_path, [a, d])
    results = load_results(tmp_path, {"scale": SCALES})
    assert results.epoch.values.tolist() == [0, 5, 10, 20]
    expected = [value(512, "ntk", 1.0, 0), np.nan, value(512, "ntk", 1.0, 10), np.nan]
    np.testing.assert_array_equal(results.loss.sel(scale=1.0), expected)


def test_variables_may_be_absent_from_some_trials(tmp_path):
    extra = xr.Dataset({"a": ((), 1.5), "b": ((), 2.5)})
    write(tmp_path, [record({"w": 1}, extra), record({"w": 2}, extra[["a"]])])
    results = load_results(tmp_path, {"w": [1, 2]})
    np.testing.assert_array_equal(results.b, [2.5, np.nan])


def test_coordinates_that_vary_get_the_axes(tmp_path):
    def one(width):
        coords = {"gain": width / 2, "unit": "m", "step": ("epoch", [0, width])}
        return record({"w": width}, xr.Dataset({"a": ("epoch", [1.0, 2.0])}, coords))

    write(tmp_path, [one(2), one(3)])
    results = load_results(tmp_path, {"w": [3, 2]})
    assert results.gain.dims == ("w",) and results.gain.values.tolist() == [1.5, 1.0]
    assert results.step.sel(w=3).values.tolist() == [0, 3]
    assert results.unit.ndim == 0


def test_a_run_without_finished_trials_has_a_status(tmp_path):
    write(tmp_path, [record({"w": 1}, error="x")])
    results = load_results(tmp_path, {"w": [2, 1]})
    assert results.status.values.tolist() == ["missing", "failed"]
    assert set(results.data_vars) == {"status", "wall_seconds"}


def test_no_axes_are_one_trial(tmp_path):
    write(tmp_path, [next(grid())])
    assert load_results(tmp_path, {}).loss.dims == ("epoch",)


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"width": WIDTHS, "scale": SCALES}, 'initialization: "ntk" -> "he"|"he" -> '),
        (AXES | {"depth": [1]}, "Got 'depth', which .* lacks"),
        (AXES | {"width": [1, "a"]}, r"axes\['width'\]=\[1, 'a'\]"),
        (AXES | {"width": []}, r"axes\['width'\]=\[\]"),
        (AXES | {"width": [64, 64.0]}, "values of an axis to differ"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, axes, message):
    write(tmp_path, grid())
    with pytest.raises(ValueError, match=f"`load_results` needs(.|\n)*({message})"):
        load_results(tmp_path, axes)


@pytest.mark.parametrize("name", ["w", "status", "wall_seconds"])
def test_names_that_are_taken_are_refused(tmp_path, name):
    write(tmp_path, [record({"w": 1}, xr.Dataset({"a": (name, [1.0])}))])
    with pytest.raises(ValueError, match=rf"names of their own. Got \['{name}'\]"):
        load_results(tmp_path, {"w": [1]})


def test_values_that_do_not_fit_together_are_refused(tmp_path):
    values = [xr.Dataset({"a": ("k", np.zeros(n))}) for n in (2, 3)]
    write(tmp_path, [record({"w": i}, v) for i, v in enumerate(values)])
    with pytest.raises(ValueError, match="fit together(.|\n)*coordinates in the trial"):
        load_results(tmp_path, {"w": [0, 1]})


def test_an_empty_place_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_results(tmp_path / "nowhere", {"w": [1]})
