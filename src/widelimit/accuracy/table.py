"""Comparisons gathered into the rows of a table."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from widelimit.accuracy.comparison import THRESHOLDS, Comparison

GROUPS = {
    "dual": "dual",
    "dual by c": "dual by c, p, q",
    "dual by p": "dual by c, p, q",
    "dual by q": "dual by c, p, q",
    "dual_derivative": "dual_derivative",
    "dual_derivative by c": "dual_derivative by c, p, q",
    "dual_derivative by p": "dual_derivative by c, p, q",
    "dual_derivative by q": "dual_derivative by c, p, q",
    "mean": "mean, also by q",
    "mean by q": "mean, also by q",
}


@dataclass(frozen=True)
class Cell:
    """A row in one precision.

    Args:
        points: Points outside the singular sets.
        broken: How many of them break the promise.
        worst: The worst of them, if there are any.
        singular: For each singular set its points, the worst one first.
    """

    points: int
    broken: int
    worst: Comparison | None
    singular: dict[str, list[Comparison]]

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; an error that is not finite is `None`."""
        worst = self.worst
        return {
            "points": self.points,
            "broken": self.broken,
            "worst": None if worst is None else _number(worst.error),
            "place": None if worst is None else worst.place,
            "singular": {
                name: {"points": len(points), "worst": _number(points[0].error)}
                for name, points in self.singular.items()
            },
        }


@dataclass(frozen=True)
class Row:
    """A quantity of an activation or a network.

    Args:
        subject: The activation or the network.
        quantity: The quantity, or a group of them.
        cells: By precision.
    """

    subject: str
    quantity: str
    cells: dict[str, Cell]

    @property
    def kept(self) -> bool:
        """Whether the promise is kept at all points outside the singular sets."""
        return not any(cell.broken for cell in self.cells.values())

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            "subject": self.subject,
            "quantity": self.quantity,
            "kept": self.kept,
            **{p: cell.to_dict() for p, cell in self.cells.items()},
        }


@dataclass(frozen=True)
class AccuracyTable:
    """All rows.

    Args:
        rows: In order.
        precision: The one precision that was asked for, if one was.
        only: The part of names that was asked for, if one was.
    """

    rows: tuple[Row, ...]
    precision: str | None = None
    only: str | None = None

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that were compared."""
        return tuple(p for p in THRESHOLDS if any(p in row.cells for row in self.rows))

    @property
    def broken(self) -> tuple[Row, ...]:
        """Rows in which the promise is broken."""
        return tuple(row for row in self.rows if not row.kept)

    @property
    def verdict(self) -> str:
        """Whether the promise is kept, in words."""
        if not self.broken:
            return f"The promise is kept in all {len(self.rows)} rows."
        return f"The promise is broken in {len(self.broken)} of {len(self.rows)} rows."

    def to_dict(self) -> dict[str, Any]:
        """The table for JSON."""
        return {
            "kept": not self.broken,
            "promise": {p: THRESHOLDS[p] for p in self.precisions},
            "rows": [row.to_dict() for row in self.rows],
        }


def gather(comparisons: Iterable[Comparison]) -> tuple[Row, ...]:
    """Gathers comparisons by subject and quantity.

    Args:
        comparisons: In the order in which rows are to appear.

    Returns:
        The rows.
    """
    groups: dict[tuple[str, str], dict[str, list[Comparison]]] = {}
    for c in comparisons:
        key = (c.subject, GROUPS.get(c.quantity, c.quantity))
        groups.setdefault(key, {}).setdefault(c.precision, []).append(c)
    return tuple(
        Row(subject, quantity, {p: _cell(found) for p, found in by_precision.items()})
        for (subject, quantity), by_precision in groups.items()
    )


def _cell(comparisons: list[Comparison]) -> Cell:
    ordered = sorted(comparisons, key=lambda c: -c.error)
    outside = [c for c in ordered if c.singular is None]
    singular: dict[str, list[Comparison]] = {}
    for c in ordered:
        if c.singular is not None:
            singular.setdefault(c.singular, []).append(c)
    return Cell(
        points=len(outside),
        broken=sum(not c.kept for c in outside),
        worst=outside[0] if outside else None,
        singular=singular,
    )


def _number(error: float) -> float | None:
    return error if math.isfinite(error) else None
