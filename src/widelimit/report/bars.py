"""Bars in categories as Vega-Lite charts."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from widelimit.report.labels import number_format
from widelimit.studies.figure import Bars

_COLORS = ["#2f5d8a", "#c8553d", "#4f8a4b", "#8a5a9e", "#b8860b", "#5b6770"]


def bars_chart(panel: Bars) -> Any:
    """Bars as a chart without its data: side by side, with intervals and numbers.

    Args:
        panel: What to draw.

    Returns:
        An Altair chart that fills its column.
    """
    series = [name for name, *_ in panel.bars]
    colors = [_COLORS[i % len(_COLORS)] for i in range(len(series))]
    y_scale, y_title = alt.Scale(zero=True), panel.y_title
    if panel.log:
        domain = [_floor(panel), max(row.get("high", row["y"]) for row in panel.rows())]
        y_scale = alt.Scale(type="log", domain=domain, clamp=True, nice=False)
        y_title += " (logarithmic)"
    if panel.y_domain:
        y_scale = alt.Scale(domain=list(panel.y_domain), clamp=True, nice=False)
    written = "~g" if panel.y_domain else number_format(panel.rows(), log=panel.log)
    axis = alt.Axis(tickCount=5, format=written)
    y = alt.Y("y:Q", title=y_title, scale=y_scale, axis=axis, stack=None)
    foot = {"y2": "foot:Q"} if panel.log else {}  # there is no zero to stand on
    inside = alt.XOffset("series:N", sort=series)
    x = alt.X(
        "category:N",
        title=panel.x_title,
        sort=list(panel.categories),
        axis=alt.Axis(labelAngle=0 if _short(panel.categories) else -40),
    )
    color = alt.Color(
        "series:N",
        title=panel.legend or None,
        scale=alt.Scale(domain=series, range=colors),
        sort=series,
        legend=alt.Legend(orient="bottom", columns=2) if len(series) > 1 else None,
    )
    rows = panel.rows()
    told = [alt.Tooltip("95 %:N")] if any("95 %" in row for row in rows) else []
    tooltip = [
        alt.Tooltip("category:N", title=panel.x_title),
        alt.Tooltip("series:N", title=panel.legend or "series"),
        alt.Tooltip("y:Q", title=panel.y_title, format=".4~g"),
        *told,
    ]
    base = alt.Chart(alt.Data(values=[])).encode(x=x, xOffset=inside)
    outline = alt.FieldOneOfPredicate(field="series", oneOf=list(panel.outlined))
    bars = (
        base.transform_filter(alt.LogicalNotPredicate(**{"not": outline}))
        .mark_bar(opacity=0.8)
        .encode(y=y, color=color, tooltip=tooltip, **foot)
    )
    outlined = (
        base.transform_filter(outline)
        .mark_bar(fillOpacity=0.06, strokeWidth=1.6, strokeDash=[4, 3])
        .encode(
            y=y,
            color=color,
            stroke=alt.Stroke(
                "series:N",
                scale=alt.Scale(domain=series, range=colors),
                sort=series,
                legend=None,
            ),
            tooltip=tooltip,
            **foot,
        )
    )
    ends = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(color="#222", strokeWidth=1.4)
        .encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q")
    )
    layers = [bars, outlined, ends] if panel.outlined else [bars, ends]
    if panel.written:
        layers.append(
            base.mark_text(dy=-5, fontSize=10, baseline="bottom", color="#222").encode(
                y=alt.Y("top:Q", scale=y_scale),
                text=alt.Text("y:Q", format=panel.written),
            )
        )
    return alt.layer(*layers).properties(
        title=panel.title, width="container", height=260
    )


def _short(categories: Sequence[str]) -> bool:
    """Whether their names stand side by side without touching."""
    return sum(len(name) + 1 for name in categories) < 44


def bars_rows(panel: Bars) -> list[dict[str, Any]]:
    """The data of the chart: the bars, with the place where their number is written.

    Args:
        panel: What to draw.

    Returns:
        One dictionary per bar.
    """
    end = panel.y_domain[1] if panel.y_domain else float("inf")
    rows = [
        row | {"top": max(row["y"], min(row.get("high", row["y"]), end))}
        for row in panel.rows()
    ]
    if not panel.log:
        return rows
    foot = _floor(panel)
    return [
        row | {"foot": foot} | ({"low": max(row["low"], foot)} if "low" in row else {})
        for row in rows
    ]


def _floor(panel: Bars) -> float:
    """Where bars stand on a logarithmic axis: a power of ten below all of them."""
    least = min(row["y"] for row in panel.rows())
    return 10.0 ** (math.ceil(math.log10(least)) - 1)
