"""Histograms as Vega-Lite charts."""

from typing import Any

import altair as alt

from widelimit.studies.figure import Histogram

_COLORS = ["#2f5d8a", "#c8553d", "#4f8a4b", "#8a5a9e"]


def histogram_chart(panel: Histogram) -> Any:
    """A histogram as a chart without its data: stacked bars, and curves beside them.

    Args:
        panel: What to draw.

    Returns:
        An Altair chart that fills its column.
    """
    series = list(dict.fromkeys(name for name, _ in panel.bars))
    x = alt.X("x:Q", title=panel.x_title, scale=alt.Scale(zero=False, nice=False))
    axis = alt.Axis(tickCount=5, format=".3~g")
    scale = alt.Scale(zero=True)
    color = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=series, range=_COLORS[: len(series)]),
        legend=alt.Legend(orient="bottom") if len(series) > 1 else None,
    )
    base = alt.Chart(alt.Data(values=[]))
    bars = (
        base.transform_filter("datum.kind == 'bar'")
        .mark_rect(opacity=0.75, stroke="white", strokeWidth=0.5)
        .encode(
            x=x,
            x2="end:Q",
            y=alt.Y("base:Q", title=panel.y_title, axis=axis, scale=scale),
            y2="top:Q",
            color=color,
            tooltip=[
                alt.Tooltip("series:N"),
                alt.Tooltip("x:Q", title="from", format=".4~g"),
                alt.Tooltip("end:Q", title="to", format=".4~g"),
                alt.Tooltip("y:Q", title=panel.y_title, format=".4~g"),
            ],
        )
    )
    curve = (
        base.transform_filter("datum.kind == 'theory'")
        .mark_line(color="#222", strokeWidth=1.8, strokeDash=[5, 4])
        .encode(
            x=x,
            y=alt.Y("y:Q", title=panel.y_title, axis=axis, scale=scale),
            detail="series:N",
            tooltip=["series:N"],
        )
    )
    return alt.layer(bars, curve).properties(
        title=panel.title, width="container", height=260
    )
