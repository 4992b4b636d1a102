"""Histograms: bars that stand on each other, with a curve beside them."""

import vl_convert

from widelimit.report.chart import figure_spec, panel_spec
from widelimit.studies import Curve, Figure, Histogram

PANEL = Histogram(
    title="Steps",
    x_title="η",
    y_title="density",
    edges=(0.0, 0.5, 2.0),
    bars=(("zeros", (1.0, 2.0)), ("ones", (0.5, 0.0))),
    curves=(Curve("normal", (0.0, 1.0), (0.1, 0.4), theory=True),),
)


def test_bars_stand_on_those_before():
    bars = [row for row in PANEL.rows() if row["kind"] == "bar"]
    spans = [(r["series"], r["x"], r["end"], r["base"], r["top"]) for r in bars]
    assert spans == [
        ("zeros", 0.0, 0.5, 0.0, 1.0),
        ("zeros", 0.5, 2.0, 0.0, 2.0),
        ("ones", 0.0, 0.5, 1.0, 1.5),
        ("ones", 0.5, 2.0, 2.0, 2.0),
    ]


def test_a_histogram_becomes_a_chart_beside_others():
    spec = panel_spec(PANEL, name="pick0")
    assert spec["data"]["values"] == PANEL.rows()
    figure = Figure("steps", "Steps", "Bars.", (PANEL,))
    svg = vl_convert.vegalite_to_svg(figure_spec(figure, [spec]))
    assert svg.count('aria-roledescription="rect mark"') == 4
    assert "density" in svg and "zeros" in svg
