"""Curves from results: means, bands and what is told beside the points."""

import math

import numpy as np
import pytest
import xarray as xr

from widelimit.studies.curves import (
    accuracy_panel,
    at_peak,
    layers_of,
    name_of,
    seed_curve,
    stability_curve,
)
from widelimit.studies.verdicts import interval

NAN = math.nan
ACCURACY = np.array([[0.5, 0.7], [0.9, NAN], [NAN, NAN]])  # width, seed
RESULTS = xr.Dataset(
    {
        "mean_stability": ("width", [0.3, 2.0, 0.0]),
        "mean_stability_se": ("width", [0.06, NAN, 0.0]),
        "accuracy": (("width", "seed"), ACCURACY),
        "kappa": (("seed", "width"), [[1.0, 2.0, 0.0], [4.0, 2.0, NAN]]),
    },
    {"width": [8, 16, 32], "seed": [0, 1]},
)


def test_the_band_of_stability_is_a_factor_either_way():
    curve = stability_curve(RESULTS, "L = 2", "width")
    assert curve.series == "L = 2" and curve.x == [8, 16, 32]
    assert curve.y == [0.3, 2.0, 0.0] and not curve.theory
    factor = math.exp(1.96 * 0.06 / 0.3)
    assert curve.low[0] == pytest.approx(0.3 / factor)
    assert curve.high[0] == pytest.approx(0.3 * factor)
    assert curve.notes == [f"test accuracy {a}" for a in ("60%", "90%", "nan%")]
    rows = curve.rows()
    assert [set(row) >= {"low", "high"} for row in rows] == [True, False, False]


def test_a_curve_over_seeds_has_students_interval():
    curve = seed_curve(RESULTS["accuracy"], "a", "width")
    first = interval(ACCURACY[0])
    assert (curve.y[0], curve.low[0], curve.high[0]) == (0.6, first.low, first.high)
    rows = curve.rows()
    assert [row["x"] for row in rows] == [8.0, 16.0] and "low" not in rows[1]


def test_logarithms_are_averaged_when_asked():
    curve = seed_curve(RESULTS["kappa"], "a", "width", log=True)
    logs = interval(np.log([1.0, 4.0]))
    assert curve.y[0] == pytest.approx(2.0)  # the geometric mean of 1 and 4
    assert curve.low[0] == pytest.approx(math.exp(logs.low))
    assert curve.high[0] == pytest.approx(math.exp(logs.high))
    assert curve.y[1] == curve.low[1] == curve.high[1] == pytest.approx(2.0)
    assert [row["x"] for row in curve.rows()] == [8.0, 16.0]


def test_the_panel_of_accuracy_is_linear():
    panel = accuracy_panel([("s", RESULTS)], "width", legend="depth")
    assert not panel.y_log and panel.x_log and panel.legend == "depth"
    assert panel.x_title == "width" and panel.curves[0].y[0] == 0.6


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("he", "He"),
        ("lecun", "LeCun"),
        ("ntk", "NTK (Allen-Zhu)"),
        ("non-lazy", "non-lazy, c = 2"),
        ("non-lazy:1.5", "non-lazy, c = 1.5"),
    ],
)
def test_names_for_readers(label, name):
    assert name_of(label) == name


def test_depths_and_peaks_for_readers():
    assert layers_of(3) == "L = 4 (3 hidden)"
    assert at_peak(np.array([8, 16]), 1).endswith("16")
    assert "three widths" in at_peak(np.array([8, 16]), None)
