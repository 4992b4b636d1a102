"""Rows of comma-separated text as numbers and classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64


class Row(NamedTuple):
    """The fields of one row, the class last, and the line that they stand in."""

    line: int
    fields: list[str]


def plain_rows(text: str, where: str) -> list[Row]:
    """The rows of a file that is nothing but rows; `where` is its name."""
    return [
        Row(number, line.split(","))
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]


def read_rows(
    rows: Sequence[Row], where: str, width: int, codes: Sequence[str]
) -> tuple[Float64[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
    """Inputs and labels of `rows`.

    Args:
        rows: The rows.
        where: Name of the file, for messages.
        width: Number of features; the class comes after them.
        codes: What stands for each class; blanks around it do not count.

    Returns:
        Inputs and labels.

    Raises:
        ValueError: If a row has another number of fields, one that is no number, or an
            unknown class.
    """
    x = np.empty((len(rows), width))
    y = np.empty(len(rows), np.int64)
    for i, (line, fields) in enumerate(rows):
        at = f"line {line} of '{where}'"
        if len(fields) != width + 1:
            raise ValueError(
                f"`load` needs {width} features and a class in each row. Got "
                f"{len(fields)} fields in {at}: {','.join(fields)!r}."
            )
        try:
            x[i] = [float(field) for field in fields[:-1]]
        except ValueError as error:
            raise ValueError(
                f"`load` needs a number for each feature. Got {at}: {error}."
            ) from error
        code = fields[-1].strip()
        if code not in codes:
            listed = ", ".join(map(repr, codes))
            raise ValueError(
                f"`load` needs the classes {listed}. Got {code!r} in {at}."
            )
        y[i] = codes.index(code)
    return x, y
