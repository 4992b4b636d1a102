"""How numbers are written along an axis."""

from collections.abc import Sequence
from typing import Any


def number_format(rows: Sequence[dict[str, Any]], *, log: bool) -> str:
    """Format of an axis: powers of ten where decimals would be long.

    Args:
        rows: What is drawn, each with its `y`.
        log: Whether the axis is logarithmic; a linear one has its zero beside them.

    Returns:
        The format, as Vega writes numbers.
    """
    sizes = [abs(row["y"]) for row in rows]
    wide = not sizes or max(sizes) > 1e4 or (min(sizes) if log else max(sizes)) < 1e-3
    return ".1~e" if wide else "~g"
