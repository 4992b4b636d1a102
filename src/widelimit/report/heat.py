"""Heat maps as Vega-Lite charts."""

from typing import Any

import altair as alt

from widelimit.studies.figure import HeatMap, edges

_MISSING = "#e3e3e3"


def heat_rows(panel: HeatMap) -> list[dict[str, Any]]:
    """The data of a heat map: cells, and points of the curves on top.

    Args:
        panel: What to draw.

    Returns:
        One dictionary each, told apart by `kind`; of a curve, the point in the middle
        of those within the axes bears its name.
    """
    left, *_, right = edges(panel.x, log=panel.x_log)
    bottom, *_, top = edges(panel.y, log=panel.y_log)
    rows = panel.cells()
    for curve in panel.curves:
        points: list[dict[str, Any]] = [r | {"kind": "theory"} for r in curve.rows()]
        inside = [
            row for row in points
            if left < row["x"] < right and bottom < row["y"] < top
        ]  # fmt: skip
        if inside:
            inside[len(inside) // 2]["label"] = curve.series
        rows += points
    return rows


def heat_chart(panel: HeatMap) -> Any:
    """A heat map as a chart without its data: cells by their edges, curves on top.

    Missing cells are grey with a cross. The curves are white on black, which is seen on
    every colour of the scale, and end at the outer cells' edges.

    Args:
        panel: What to draw.

    Returns:
        An Altair chart that fills its column.
    """
    x = _axis(alt.X, "left:Q", panel.x_title, panel.x, log=panel.x_log)
    y = _axis(alt.Y, "bottom:Q", panel.y_title, panel.y, log=panel.y_log)
    base = alt.Chart(alt.Data(values=[]))
    cells = base.encode(x=x, x2="right:Q", y=y, y2="top:Q")
    places = [
        alt.Tooltip("x:Q", title=panel.x_title),
        alt.Tooltip("y:Q", title=panel.y_title, format=".4~g"),
    ]
    rows = panel.cells()
    told = [
        alt.Tooltip(f"{n}:N") for n in ("95 %", "note") if any(n in r for r in rows)
    ]
    color = alt.Color(
        "value:Q",
        title=panel.value_title,
        scale=alt.Scale(scheme="viridis", domain=list(panel.domain), clamp=True),
        legend=alt.Legend(orient="bottom", gradientLength=200, format="~g"),
    )
    value = alt.Tooltip("value:Q", title=panel.value_title, format=".4~g")
    filled = (
        cells.transform_filter("datum.kind == 'cell'")
        .mark_rect()
        .encode(color=color, tooltip=[*places, value, *told])
    )
    missing = base.transform_filter("datum.kind == 'missing'")
    gaps = missing.encode(x=x, x2="right:Q", y=y, y2="top:Q", tooltip=places)
    crosses = missing.mark_point(
        shape="cross", angle=45, filled=True, size=90, color="#8a8a8a"
    )
    curves = base.transform_filter("datum.kind == 'theory'").encode(
        x="x:Q", y="y:Q", detail="series:N"
    )
    names = base.transform_filter("isValid(datum.label)").encode(
        x="x:Q", y="y:Q", text="label:N"
    )
    place: dict[str, Any] = {
        "align": "left",
        "dx": 7,
        "dy": -7,
        "fontSize": 12,
        "fontWeight": 600,
    }
    layers = [
        filled,
        gaps.mark_rect(color=_MISSING),
        crosses.encode(x="x:Q", y="y:Q"),
        curves.mark_line(clip=True, color="black", strokeWidth=5),
        curves.mark_line(clip=True, color="white", strokeWidth=2.2),
        names.mark_text(**place, stroke="black", strokeWidth=4, strokeJoin="round"),
        names.mark_text(**place, color="white"),
    ]
    return alt.layer(*layers).properties(
        title=panel.title, width="container", height=260
    )


def _axis(channel: Any, field: str, title: str, positions: Any, *, log: bool) -> Any:
    """An axis that ends at the outer edges, with ticks where the cells stand."""
    whole = edges(positions, log=log)
    step = -(-len(positions) // 7)  # seven ticks at most
    scale: dict[str, Any] = {"type": "log"} if log else {"zero": False}
    return channel(
        field,
        title=title,
        scale=alt.Scale(**scale, domain=[whole[0], whole[-1]], nice=False),
        axis=alt.Axis(values=[float(p) for p in positions[::step]], format=".3~g",
                      grid=False),
    )  # fmt: skip
