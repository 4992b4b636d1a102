"""Figures as data: panels of curves with bands, and theory beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

LOG_FROM = 100
"""Ratio of the largest to the smallest bar from where on an axis is logarithmic."""


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
        y_domain: Ends of the y axis, such as 0 and 1 for shares; without, the data's.
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
    y_domain: tuple[float, float] | None = None


@dataclass(frozen=True)
class HeatMap:
    """One pair of axes with a value in every cell, and theory on top.

    Args:
        title: Above the axes.
        x_title: Label of the x axis.
        y_title: Label of the y axis.
        value_title: Label of the colour scale.
        x: Positions along x, rising.
        y: Positions along y, rising.
        values: One row per position along y; a NaN is a missing cell, and drawn as one.
        low: Lower ends of the values' intervals, likewise, or empty for none.
        high: Upper ends, or empty for none.
        notes: A text per cell for the tooltip, such as counts, or empty.
        curves: Lines of theory.
        domain: Values at the ends of the colour scale.
        x_log: Whether x is on a logarithmic scale.
        y_log: Whether y is on a logarithmic scale.
    """

    title: str
    x_title: str
    y_title: str
    value_title: str
    x: Sequence[int | float]
    y: Sequence[int | float]
    values: Sequence[Sequence[float]]
    low: Sequence[Sequence[float]] = ()
    high: Sequence[Sequence[float]] = ()
    notes: Sequence[Sequence[str]] = ()
    curves: Sequence[Curve] = ()
    domain: tuple[float, float] = (0.0, 1.0)
    x_log: bool = True
    y_log: bool = True

    def cells(self) -> list[dict[str, Any]]:
        """One dictionary per cell, with its edges; without `value` where it misses."""
        across, up = edges(self.x, log=self.x_log), edges(self.y, log=self.y_log)
        rows = []
        for j, y in enumerate(self.y):
            for i, x in enumerate(self.x):
                row: dict[str, Any] = {
                    "kind": "missing",
                    "x": float(x),
                    "y": float(y),
                    "left": across[i],
                    "right": across[i + 1],
                    "bottom": up[j],
                    "top": up[j + 1],
                }
                if math.isfinite(self.values[j][i]):
                    row |= {"kind": "cell", "value": float(self.values[j][i])}
                if self.low and math.isfinite(self.low[j][i]):
                    row["95 %"] = f"{self.low[j][i]:.4g} to {self.high[j][i]:.4g}"
                if self.notes:
                    row["note"] = self.notes[j][i]
                rows.append(row)
        return rows


def edges(positions: Sequence[int | float], *, log: bool) -> list[float]:
    """Edges of cells: halfway between their positions, as the axis shows them.

    Args:
        positions: Where the cells stand, rising.
        log: Whether the axis is logarithmic.

    Returns:
        One more than the positions; the outer cells are symmetric, and a cell that is
        alone reaches from two thirds to one and a half times its position, or half a
        unit either way.

    Raises:
        ValueError: If the positions do not rise, or one on a logarithmic axis is not
            positive.
    """
    if any(b <= a for a, b in zip(positions, positions[1:], strict=False)) or (
        log and positions[0] <= 0
    ):
        raise ValueError(
            "`edges` needs positions that rise, and positive ones on a logarithmic "
            f"axis. Got {list(positions)}. Sort them."
        )
    there, back = (math.log, math.exp) if log else (float, float)
    at = [there(p) for p in positions]
    between = [(a + b) / 2 for a, b in zip(at, at[1:], strict=False)]
    if not between:
        half = math.log(1.5) if log else 0.5
        return [back(at[0] - half), back(at[0] + half)]
    ends = 2 * at[0] - between[0], 2 * at[-1] - between[-1]
    return [back(edge) for edge in (ends[0], *between, ends[1])]


@dataclass(frozen=True)
class Bars:
    """Bars side by side in categories that have no positions, with intervals.

    Args:
        title: Above the axes.
        x_title: What the categories are.
        y_title: Label of the y axis.
        categories: Their names, left to right.
        bars: Of every series its name, a value per category (NaN: no bar), and both
            ends of its interval (NaN or infinite: none is drawn).
        legend: What the series are.
        written: Format of the values above the bars, such as `.1%`, or empty for none.
        outlined: Series that are drawn as outlines, such as a paper's numbers.
        y_domain: Ends of the y axis; without, from zero to the data's, or logarithmic
            if these are positive and differ by more than a factor of 100.
    """

    title: str
    x_title: str
    y_title: str
    categories: Sequence[str]
    bars: Sequence[tuple[str, Sequence[float], Sequence[tuple[float, float]]]]
    legend: str = ""
    written: str = ""
    outlined: Sequence[str] = ()
    y_domain: tuple[float, float] | None = None

    @property
    def log(self) -> bool:
        """Whether the y axis is logarithmic: small values would not be seen beside."""
        if self.y_domain is not None:
            return False
        values = [v for _, vs, _ in self.bars for v in vs if math.isfinite(v)]
        return bool(values) and 0 < LOG_FROM * min(values) < max(values)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per bar."""
        rows = []
        for series, values, ends in self.bars:
            for name, value, (low, high) in zip(
                self.categories, values, ends, strict=True
            ):
                if not math.isfinite(value):
                    continue
                row: dict[str, Any] = {
                    "series": series, "category": name, "y": float(value),
                }  # fmt: skip
                if math.isfinite(low) and math.isfinite(high):
                    row |= {"low": float(low), "high": float(high)}
                    row["95 %"] = f"{low:.4g} to {high:.4g}"
                rows.append(row)
        return rows


@dataclass(frozen=True, eq=False)
class Picture:
    """One image with what is said of it.

    Args:
        pixels: Rows, columns and one or three channels, from 0 to 255.
        caption: A few words below it.
        alt: What it shows, for those who do not see it.
    """

    pixels: UInt8[np.ndarray, "h w c"]
    caption: str
    alt: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """Rows of images under common headings.

    Args:
        title: Above the images.
        columns: Headings.
        rows: The images of every row, one per column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Picture]]


AnyPanel = Panel | HeatMap | Histogram | Bars | Pictures


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
    panels: Sequence[AnyPanel]
