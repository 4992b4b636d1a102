"""From a table to rows on the unit sphere, as kim2023 prepares its tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from widelimit._checks import check_finite, check_number, check_rows
from widelimit.datasets.near_parallel import drop_near_parallel
from widelimit.datasets.table import Table
from widelimit.datasets.targets import check_targets, encode

_CALLER = "prepare_table"
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """Rows of norm one, with targets and labels; made by `prepare_table`.

    Args:
        name: Name of the table.
        x: Inputs, one per row; no two are parallel.
        t: Targets of a regression: one column of signs, or one-hot rows.
        y: Labels that index `classes`.
        kept: For each row, its index in the table.
        dropped: Indices in the table of the rows that were dropped.
        parallel_to: For each dropped row, the first kept row (its index in the table)
            that it is nearly parallel to.
        cosines: The cosine between these two, with its sign.
        classes: Names of the classes.
        feature_names: Names of the columns.
        max_cosine: As in `prepare_table`.
    """

    name: str
    x: Float64[np.ndarray, "n d"] = field(repr=False)
    t: Float64[np.ndarray, "n o"] = field(repr=False)
    y: Int64[np.ndarray, " n"] = field(repr=False)
    kept: Int64[np.ndarray, " n"] = field(repr=False)
    dropped: Int64[np.ndarray, " k"] = field(repr=False)
    parallel_to: Int64[np.ndarray, " k"] = field(repr=False)
    cosines: Float64[np.ndarray, " k"] = field(repr=False)
    classes: tuple[str, ...]
    feature_names: tuple[str, ...] = field(repr=False)
    max_cosine: float | None


def prepare_table(
    table: Table, *, max_cosine: float | None = None, targets: str = "sign"
) -> PreparedTable:
    r"""The rows of `table` scaled to the unit sphere, nearly parallel ones left out.

    With the least and the largest value $l_j$, $h_j$ of feature $j$ over all rows,

    $$z_{ij} = 2 \frac{x_{ij} - l_j}{h_j - l_j} - 1, \quad
      u_i = z_i / \|z_i\|_2,$$

    and then, if `max_cosine` is given, a row is kept when $|u_i^\top u_k|$ is at most
    `max_cosine` for every row $k < i$ that was kept [1, Appendix A]. All of it is in
    double precision. kim2023 drops rows of the banknotes only, with the thresholds in
    `BANKNOTE_MAX_COSINE`.

    Args:
        table: From `load_table`, or made of your own arrays.
        max_cosine: Largest $|\cos|$ between two rows, above 0; 1.0 drops only rows that
            are equal or parallel to rounding. If `None`, such rows are an error.
        targets: `"sign"` for one column that is +1 for the first of two classes and -1
            for the second, or `"one-hot"`.

    Returns:
        Inputs, targets and labels, and which rows of the table they are.

    Raises:
        ValueError: If it is no table, `max_cosine` or `targets` is out of range, or the
            table has entries that are not finite, a feature with one
            value only, a row in the middle of every feature (zero once scaled), or,
            without `max_cosine`, rows that are equal or parallel.

    References:
        [1] Kim et al. (2023), https://arxiv.org/abs/2312.03386
    """
    if not isinstance(table, Table):
        raise ValueError(
            f"`{_CALLER}` needs a table. Got `table={table!r}`. Read one with "
            "`load_table(name)`."
        )
    check_targets(_CALLER, targets, len(table.class_names))
    if max_cosine is not None:
        check_number(_CALLER, "max_cosine", max_cosine)
        if not 0 < max_cosine <= 1:
            raise ValueError(
                f"`{_CALLER}` needs `max_cosine` above 0 and at most 1, or `None`. Got "
                f"`max_cosine={max_cosine}`. Most tables need 0.9 or more: lower ones "
                "drop all rows but a few."
            )
    scaled = scale_features(table.x, table.feature_names)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    # Entries are known to about two units of rounding, so a row as short as this one
    # has no direction.
    zero = np.flatnonzero(norms[:, 0] <= 4 * _EPS * np.sqrt(scaled.shape[1]))
    if len(zero):
        raise ValueError(
            f"`{_CALLER}` needs rows that are not zero once their features are scaled. "
            f"Got row {zero[0]} of '{table.name}', in the middle of every feature "
            f"({len(zero)} such rows). Remove them from the table."
        )
    unit = scaled / norms
    found = drop_near_parallel(unit, 1.0 if max_cosine is None else max_cosine)
    if max_cosine is None and len(found.dropped):
        row, first = int(found.dropped[0]), int(found.parallel_to[0])
        how = "equal" if np.array_equal(table.x[row], table.x[first]) else "parallel"
        raise ValueError(
            f"`{_CALLER}` needs rows of which no two are equal or parallel. Got rows "
            f"{first} and {row} of '{table.name}', which are {how} once prepared "
            f"({len(found.dropped)} rows are so to an earlier one). Set `max_cosine`, "
            "such as to 0.99 or 1.0, to drop them."
        )
    y = table.y[found.kept]
    return PreparedTable(
        name=table.name,
        x=unit[found.kept],
        t=encode(y, len(table.class_names), targets),
        y=y,
        kept=found.kept,
        dropped=found.dropped,
        parallel_to=found.parallel_to,
        cosines=found.cosines,
        classes=table.class_names,
        feature_names=table.feature_names,
        max_cosine=max_cosine,
    )


def scale_features(
    x: Float64[np.ndarray, "n d"], feature_names: Sequence[str] | None = None
) -> Float64[np.ndarray, "n d"]:
    r"""Each feature of `x` mapped affinely so that its values span [-1, 1] exactly.

    Args:
        x: Rows of features.
        feature_names: Names of the columns, for messages; their indices if `None`.

    Returns:
        The scaled rows.

    Raises:
        ValueError: If an entry is not finite, or a feature has one value only.
    """
    check_rows(_CALLER, "x", x)
    check_finite(_CALLER, "x", x)
    low, high = x.min(axis=0) / 2, x.max(axis=0) / 2  # halves: no difference overflows
    constant = np.flatnonzero(low == high)
    if len(constant):
        j = int(constant[0])
        name = feature_names[j] if feature_names else j
        raise ValueError(
            f"`{_CALLER}` needs features with at least two values. Got only "
            f"{x[0, j]} in feature '{name}' ({len(constant)} such features). Leave "
            "them out of the table."
        )
    return 2 * ((x / 2 - low) / (high - low)) - 1
