"""Figures as data: panels of curves with bands, and theory beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Curve:
    """One curve: measured points with a band, or a line of theory.

    Args:
        series: Name in the legend; curves of one name share a colour.
        x: Positions.
        y: Values; a NaN leaves the point out.
        low: Lower ends of the band, or empty for none.
        high: Upper ends of the band, or empty for none.
        theory: Whether it is drawn dashed and without points.
        notes: A text per point for the tooltip, or empty.
    """

    series: str
    x: Sequence[int | float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    theory: bool = False
    notes: Sequence[str] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per drawable point."""
        kind = "theory" if self.theory else "measured"
        rows = []
        for i, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            if not math.isfinite(y):
                continue
            row = {"series": self.series, "kind": kind, "x": float(x), "y": float(y)}
            if self.low and math.isfinite(self.low[i]) and math.isfinite(self.high[i]):
                row |= {"low": float(self.low[i]), "high": float(self.high[i])}
            if self.notes:
                row["note"] = self.notes[i]
            rows.append(row)
        return rows


@dataclass(frozen=True)
class Histogram:
    """One pair of axes with stacked bars, and curves of theory.

    Args:
        title: Above the axes.
        x_title: Label of the x axis.
        y_title: Label of the y axis.
        edges: Edges of the bars, rising.
        bars: Of every series its name and the heights of its bars, which stand on
            those of the series before.
        curves: Lines of theory.
    """

    title: str
    x_title: str
    y_title: str
    edges: Sequence[float]
    bars: Sequence[tuple[str, Sequence[float]]]
    curves: Sequence[Curve] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per bar, from `x` to `end` and `base` to `top`, or point."""
        rows: list[dict[str, Any]] = []
        base = [0.0] * (len(self.edges) - 1)
        for name, heights in self.bars:
            for i, height in enumerate(heights):
                span = {"x": float(self.edges[i]), "end": float(self.edges[i + 1])}
                top = base[i] + float(height)
                row = {"series": name, "kind": "bar", "y": float(height)}
                rows.append(row | span | {"base": base[i], "top": top})
                base[i] = top
        return rows + [row for curve in self.curves for row in curve.rows()]


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its curves.

    Args:
        title: Above the axes.
        x_title: Label of the x axis.
        y_title: Label of the y axis.
        curves: What is drawn.
        x_log: Whether x is on a logarithmic scale, base 2.
        y_log: Whether y is on a logarithmic scale, base 10.
        legend: What the series are.
        ordered: Whether the series have an order (colours from a ramp).
        joined: Whether measured points are joined by lines.
    """

    title: str
    x_title: str
    y_title: str
    curves: Sequence[Curve]
    x_log: bool = True
    y_log: bool = True
    legend: str = ""
    ordered: bool = True
    joined: bool = True


@dataclass(frozen=True)
class Figure:
    """Panels under one caption.

    Args:
        name: Identifier, used for file names.
        title: One line.
        caption: What theory predicts and what is drawn.
        panels: The panels, left to right.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel | Histogram]
