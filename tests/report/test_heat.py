"""Heat maps: edges of cells, missing ones, intervals, and curves on top."""

import math
import re

import pytest
import vl_convert

from widelimit.report import figure_spec, panel_spec
from widelimit.studies import Curve, Figure, HeatMap
from widelimit.studies.figure import edges

VALUES = [[0.9, 0.5, math.nan], [0.25, 0.1, 0.0]]
HEAT = HeatMap(
    "Accuracy",
    "dimension d",
    "radius R",
    "accuracy",
    x=[25, 100, 400],
    y=[0.1, 0.9],
    values=VALUES,
    low=[[0.8, math.nan, math.nan], [0.2, 0.0, 0.0]],
    high=[[1.0, math.nan, math.nan], [0.3, 0.2, 0.0]],
    notes=[["3 seeds"] * 3] * 2,
    curves=[Curve("5/√d", [20, 100, 1000], [1.1, 0.5, 0.16], theory=True)],
)


@pytest.mark.parametrize(
    ("positions", "log", "expected"),
    [
        ([25, 100, 400], True, [12.5, 50, 200, 800]),
        ([0.0, 1.0, 4.0], False, [-0.5, 0.5, 2.5, 5.5]),
        ([3.0], True, [2.0, 4.5]),
        ([3.0], False, [2.5, 3.5]),
    ],
)
def test_edges_are_halfway_on_the_axis(positions, log, expected):
    assert edges(positions, log=log) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("positions", "log"), [([1, 1], False), ([2, 1], True), ([0.0, 1.0], True)]
)
def test_positions_must_rise(positions, log):
    with pytest.raises(ValueError, match="that rise"):
        edges(positions, log=log)


def test_cells_say_what_they_hold():
    spec = panel_spec(HEAT, name="n")
    rows = spec["data"]["values"]
    cells = [row for row in rows if row["kind"] == "cell"]
    assert [r["value"] for r in cells] == [0.9, 0.5, 0.25, 0.1, 0.0]
    first, second, last = cells[0], cells[1], cells[-1]
    assert first["95 %"] == "0.8 to 1" and "95 %" not in second
    assert (last["left"], last["right"]) == pytest.approx((200, 800))
    assert (last["bottom"], last["top"]) == pytest.approx((0.3, 2.7))
    [missing] = [row for row in rows if row["kind"] == "missing"]
    assert (missing["x"], missing["y"]) == (400, 0.1) and "value" not in missing
    theory = [row for row in rows if row["kind"] == "theory"]
    assert [row.get("label") for row in theory] == [None, "5/√d", None]


def test_every_cell_is_drawn_where_its_edges_are():
    panel = panel_spec(HEAT, name="n")
    figure = Figure("heat", "Title", "caption", [HEAT])
    svg = vl_convert.vegalite_to_svg(figure_spec(figure, [panel]))
    filled = re.findall(r'aria-roledescription="rect mark"[^>]*? d="([^"]*)"', svg)
    filled = filled or re.findall(r'rect mark"[^>]*d="([^"]*)"', svg)
    assert len(filled) == 6
    numbers = [[float(n) for n in re.findall(r"-?[\d.]+", d)] for d in filled]
    # Three equal columns of 330 pixels, two equal rows of 260, on the logarithms.
    assert {round(n[0]) for n in numbers} == {0, 110, 220}
    assert {round(n[1]) for n in numbers} == {0, 130}
    assert "5/√d" in svg and "#e3e3e3" in svg
    assert "rgb(68, 1, 84)" in svg or "#440154" in svg  # viridis at 0
