"""Panels as Vega-Lite charts."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from widelimit.report.bars import bars_chart, bars_rows
from widelimit.report.heat import heat_chart, heat_rows
from widelimit.report.histogram import histogram_chart
from widelimit.report.labels import number_format
from widelimit.report.pictures import pictures_chart, pictures_rows
from widelimit.studies.figure import (
    AnyPanel,
    Bars,
    Curve,
    Figure,
    HeatMap,
    Histogram,
    Panel,
    Pictures,
)

_CATEGORIES = ["#2f5d8a", "#c8553d", "#4f8a4b", "#8a5a9e", "#b8860b", "#5b6770"]
_BAND = 0.16


def panel_spec(panel: AnyPanel, *, name: str) -> dict[str, Any]:
    """One panel as a chart: bands, lines, points, a legend that filters; or the like.

    Args:
        panel: What to draw.
        name: A name unlike those of the other panels on the page.

    Returns:
        A Vega-Lite specification that holds its data and fills its column.
    """
    if isinstance(panel, Bars):
        spec = _styled(bars_chart(panel)).to_dict(validate=False)
        return spec | {"data": {"values": bars_rows(panel)}}
    if isinstance(panel, Pictures):
        spec = _styled(pictures_chart(panel)).to_dict(validate=False)
        return spec | {"data": {"values": pictures_rows(panel)}}
    if isinstance(panel, Histogram):
        spec = _styled(histogram_chart(panel)).to_dict(validate=False)
        return spec | {"data": {"values": panel.rows()}}
    if isinstance(panel, HeatMap):
        spec = _styled(heat_chart(panel)).to_dict(validate=False)
        return spec | {"data": {"values": heat_rows(panel)}}
    rows = [row for curve in panel.curves for row in _drawable(curve, panel)]
    series = list(dict.fromkeys(curve.series for curve in panel.curves))
    colors: dict[str, Any] = {"domain": series}
    if panel.ordered and len(series) > 1:
        colors |= {"range": _ramp(len(series))}
    else:
        colors |= {"range": [_CATEGORIES[i % 6] for i in range(len(series))]}
    pick = alt.selection_point(name=name, fields=["series"], bind="legend")
    ticks = _ticks(rows, log=panel.x_log)
    x = alt.X(
        "x:Q",
        title=panel.x_title,
        scale=alt.Scale(type="log", base=2, nice=False)
        if panel.x_log
        else alt.Scale(nice=True, zero=False),
        axis=alt.Axis(values=ticks, format="~g") if ticks else alt.Axis(),
    )
    y_scale = (
        alt.Scale(type="log", nice=False) if panel.y_log else alt.Scale(zero=False)
    )
    if panel.y_domain:
        y_scale = alt.Scale(domain=list(panel.y_domain), clamp=True, nice=False)
    y_axis = alt.Axis(tickCount=5, format=number_format(rows, log=panel.y_log))
    color = alt.Color(
        "series:N",
        title=panel.legend or None,
        sort=series,
        scale=alt.Scale(**colors),
        legend=alt.Legend(
            orient="bottom",
            columns=max(1, min(4, 36 // (4 + max(len(name) for name in series)))),
            symbolType="stroke",
            symbolStrokeWidth=3,
            symbolSize=180,
            symbolOpacity=1,
        )
        if len(series) > 1
        else None,
    )
    opacity = alt.when(pick).then(alt.value(1.0)).otherwise(alt.value(0.12))
    cloud = alt.when(pick).then(alt.value(0.6)).otherwise(alt.value(0.05))
    faint = alt.when(pick).then(alt.value(_BAND)).otherwise(alt.value(0.02))
    tooltip = [
        alt.Tooltip("series:N", title=panel.legend or "series"),
        alt.Tooltip("kind:N"),
        alt.Tooltip("x:Q", title=panel.x_title),
        alt.Tooltip("y:Q", title=panel.y_title, format=".4~g"),
    ]
    told = [
        alt.Tooltip(f"{n}:N") for n in ("95 %", "note") if any(n in r for r in rows)
    ]
    base = alt.Chart(alt.Data(values=[])).encode(x=x, color=color)
    y = alt.Y("y:Q", title=panel.y_title, scale=y_scale, axis=y_axis)
    band = (
        base.transform_filter("isValid(datum.low)")
        .mark_area()
        .encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q", opacity=faint)
    )
    dash = alt.StrokeDash(
        "kind:N",
        scale=alt.Scale(domain=["measured", "theory"], range=[[1, 0], [5, 4]]),
        legend=None,
    )
    drawn = base if panel.joined else base.transform_filter("datum.kind == 'theory'")
    line = drawn.mark_line(strokeWidth=1.8).encode(
        y=y, strokeDash=dash, opacity=opacity
    )
    points = (
        base.transform_filter("datum.kind == 'measured'")
        .mark_point(filled=True, size=38 if panel.joined else 24)
        .encode(
            y=y,
            opacity=opacity if panel.joined else cloud,
            tooltip=[*tooltip, *told],
        )
    )
    theory = (
        base.transform_filter("datum.kind == 'theory'")
        .mark_point(size=60, opacity=0)
        .encode(y=y, tooltip=tooltip)
    )
    chart = alt.layer(band, line, theory, points.add_params(pick)).properties(
        title=panel.title, width="container", height=260
    )
    # Altair copies a chart with its data many times, so the data come last.
    return _styled(chart).to_dict(validate=False) | {"data": {"values": rows}}


def figure_spec(figure: Figure, panels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All panels side by side at a fixed size, for image files.

    Args:
        figure: What to draw.
        panels: The specification of every panel, by `panel_spec`.

    Returns:
        A Vega-Lite specification.
    """
    fixed = [
        {k: v for k, v in panel.items() if k not in {"$schema", "config"}}
        | {"width": 330 if panel.get("width") == "container" else panel["width"]}
        for panel in panels
    ]
    return {
        "$schema": panels[0]["$schema"],
        "config": panels[0]["config"],
        "title": {"text": figure.title, "offset": 16, "fontSize": 15},
        "hconcat": fixed,
        "spacing": 36,
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }


def _styled(chart: Any) -> Any:
    """The chart with the look shared by all figures."""
    font = "system-ui, 'DejaVu Sans', sans-serif"
    return (
        chart.configure(font=font, background="white")
        .configure_axis(gridColor="#ececec", labelColor="#444", titleColor="#333")
        .configure_view(stroke="#d5d5d5")
        .configure_title(anchor="start", fontSize=13, color="#222")
        .configure_legend(labelLimit=260, titleColor="#333", labelColor="#333")
    )


def _drawable(curve: Curve, panel: Panel) -> list[dict[str, Any]]:
    """The points that the axes can show: a logarithmic one, positive numbers only."""
    rows: list[dict[str, Any]] = []
    for row in curve.rows():
        if (panel.y_log and row["y"] <= 0) or (panel.x_log and row["x"] <= 0):
            continue
        if panel.y_log and row.get("low", 1.0) <= 0:
            row = {k: v for k, v in row.items() if k not in {"low", "high"}}
        if curve.low:
            known = "low" in row
            row["95 %"] = f"{row['low']:.4g} to {row['high']:.4g}" if known else "?"
        rows.append(row)
    return rows


def _ramp(count: int) -> list[str]:
    """Colours from dark blue over green to ochre, evenly spaced."""
    stops = [(38, 49, 107), (33, 120, 140), (87, 163, 104), (214, 160, 30)]
    colors = []
    for i in range(count):
        position = i / (count - 1) * (len(stops) - 1)
        lower = min(int(position), len(stops) - 2)
        share = position - lower
        mixed = [
            round(a + share * (b - a))
            for a, b in zip(stops[lower], stops[lower + 1], strict=True)
        ]
        colors.append("#" + "".join(f"{c:02x}" for c in mixed))
    return colors


def _ticks(rows: Sequence[dict[str, Any]], *, log: bool) -> list[float]:
    """The measured positions, thinned on a logarithmic axis; none: let Vega choose."""
    values = sorted({row["x"] for row in rows if row["kind"] == "measured"})
    if len(values) <= 7:
        return values
    return values[::2] if log else []
