"""Inputs that are there twice, found by name."""

import numpy as np


def check_distinct(caller: str, x: np.ndarray, cure: str) -> None:
    """Raise if two rows of `x` are equal, naming them.

    Equal rows give equal rows of every kernel, which is then singular.

    Args:
        caller: Name of the public function, for messages.
        x: Inputs, one per row.
        cure: What would help besides removing one.

    Raises:
        ValueError: If two rows are equal.
    """
    found = equal_rows(np.asarray(x))
    if found is not None:
        i, j = found
        raise ValueError(
            f"`{caller}` needs inputs that differ, {cure}. Got rows {i} and {j}, which "
            "are equal. Remove one of them."
        )


def equal_rows(x: np.ndarray) -> tuple[int, int] | None:
    """The first two equal rows; `None` if there are none."""
    seen: dict[bytes, int] = {}
    # Adding zero makes -0.0 the same as 0.0.
    for row, values in enumerate(np.ascontiguousarray(x.reshape(len(x), -1)) + 0.0):
        first = seen.setdefault(values.tobytes(), row)
        if first != row:
            return first, row
    return None
