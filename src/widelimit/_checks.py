"""Named checks of arguments, all with one message form.

Each message reads: `caller` needs <requirement>. Got <value>. <What to do>.
"""

import math
import numbers
import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

BLOCK_BYTES = 2**24
"""Of an array that is read in blocks."""


def check_number(caller: str, name: str, value: Any) -> None:
    """Raise unless `value` is one real number."""
    if not (isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()):
        raise ValueError(
            f"`{caller}` needs a number as `{name}`. Got `{name}={value!r}`."
        )


def check_at_least(caller: str, name: str, value: Any, least: int | float) -> None:
    """Raise unless `value >= least` (NaN fails)."""
    check_number(caller, name, value)
    if not value >= least:
        raise ValueError(f"`{caller}` needs `{name} >= {least}`. Got `{name}={value}`.")


def check_count(caller: str, name: str, value: Any, least: int) -> None:
    """Raise unless `value` is a whole number of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise ValueError(
            f"`{caller}` needs a whole number as `{name}`. Got `{name}={value!r}`."
        )
    check_at_least(caller, name, int(value), least)


def check_positive(caller: str, name: str, value: Any) -> None:
    """Raise unless `value` is a finite number above zero."""
    check_number(caller, name, value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"`{caller}` needs a finite `{name} > 0`. Got `{name}={value}`."
        )


def check_fits_type(caller: str, name: str, value: Any, dtype: Any) -> None:
    """Raise unless the type in which is computed holds every number of `value`."""
    with np.errstate(over="ignore"):
        held = np.asarray(value).astype(dtype)
    if not np.isfinite(held).all():
        raise ValueError(
            f"`{caller}` needs a `{name}` that {np.dtype(dtype).name} holds. Got "
            f"`{name}={value}`. Give a smaller one, or compute in another type."
        )


def check_unmasked(caller: str, name: str, value: Any) -> None:
    """Raise if some entries are masked: what is behind a mask would be used."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        count = int(np.ma.getmaskarray(value).sum())
        raise ValueError(
            f"`{caller}` needs numbers without a mask in `{name}`. Got {count} masked "
            "entries. Remove or impute them first."
        )


def as_array(caller: str, name: str, value: Any) -> np.ndarray:
    """An array or list as an array, if its rows are of one length and none masked."""
    check_unmasked(caller, name, value)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{caller}` needs `{name}` with rows of one length. Got rows that differ "
            "in length."
        ) from error


def check_finite(caller: str, name: str, value: Any, dtype: Any = None) -> None:
    """Raise if any entry of `value` is masked, NaN or infinite, naming the first one.

    Args:
        caller: Function to name.
        name: Argument to name.
        value: The array.
        dtype: Type in which it will be held, if in another; also raise if an entry is
            infinite there.

    Raises:
        ValueError: If so.
    """
    check_unmasked(caller, name, value)
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    first, got, count = None, None, 0
    for start, block in row_blocks(array):
        with np.errstate(over="ignore"):
            held = block if dtype is None else block.astype(dtype, copy=False)
        finite = np.isfinite(held)
        if np.all(finite):
            continue
        bad = np.argwhere(~finite)
        count += len(bad)
        if first is None:
            where = tuple(int(i) for i in bad[0])
            got = block[where]
            first = (start + where[0], *where[1:]) if where else where
    if first is None:
        return
    if dtype is not None and np.isfinite(np.asarray(got)):
        raise ValueError(
            f"`{caller}` needs numbers in `{name}` that {np.dtype(dtype).name} holds. "
            f"Got {got} at index {first} ({count} such entries). Divide them by a "
            "constant, or enable JAX's 64-bit types and use them."
        )
    raise ValueError(
        f"`{caller}` needs finite numbers in `{name}`. Got {got} at index "
        f"{first} ({count} such entries). Remove or impute them first."
    )


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of rows of about `BLOCK_BYTES`, each with the number of its first row.

    They are views: of an array in a file only one block at a time need be in memory.
    """
    if array.ndim == 0 or array.size == 0:
        yield 0, array
        return
    rows = max(1, BLOCK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def plainly_bytes(parts: Iterable[np.ndarray]) -> tuple[float, float] | None:
    """Range of pixels that are bytes, or were before they were averaged; else `None`.

    Numbers that someone has scaled are negative or fractions; those from 0 to 255 that
    are whole, or reach the upper half, are as a file has them.

    Args:
        parts: The pixels, in parts that are not empty.

    Returns:
        Least and most.
    """
    least, most, whole = math.inf, -math.inf, True
    for x in parts:
        least, most = min(least, float(x.min())), max(most, float(x.max()))
        if least < 0 or most > 255:
            return None
        whole = whole and bool((x == np.round(x)).all())
    return (least, most) if most > 127 or (most > 1 and whole) else None


def check_flag(caller: str, name: str, value: Any) -> None:
    """Raise unless `value` is true or false."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(
            f"`{caller}` needs `True` or `False` as `{name}`. Got `{name}={value!r}`."
        )


def check_kind(caller: str, name: str, value: Any, kind: type, example: str) -> None:
    """Raise unless `value` is of a class, showing how one is made."""
    if not isinstance(value, kind):
        raise ValueError(
            f"`{caller}` needs a `{kind.__name__}` as `{name}`. Got `{name}={value!r}`."
            f" Write `{example}`."
        )


def check_callable(caller: str, name: str, value: Any, example: str) -> None:
    """Raise unless `value` can be called, and is not the class of what can."""
    if isinstance(value, type) or not callable(value):
        raise ValueError(
            f"`{caller}` needs a function as `{name}`. Got `{name}={value!r}`. Write "
            f"`{example}`."
        )


def check_one_array(caller: str, value: Any) -> None:
    """Raise if a function that is measured returned several arrays."""
    if isinstance(value, tuple | list | dict):
        raise ValueError(
            f"`{caller}` needs a function with one array as its value. Got a "
            f"`{type(value).__name__}` of {len(value)}. Networks that normalise by the "
            "batch are measured in evaluation mode: call the network or "
            "`network.apply`, not `network.apply_training`."
        )


def check_one_of(caller: str, name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise unless `value` is among `choices`, listing them."""
    if value not in choices:
        listed = ", ".join(repr(c) for c in choices)
        raise ValueError(
            f"`{caller}` needs `{name}` to be one of {listed}. Got `{name}={value!r}`."
        )


def check_rows(caller: str, name: str, x: Any) -> None:
    """Raise unless `x` is a matrix with at least one row, and none of it masked."""
    check_unmasked(caller, name, x)
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(
            f"`{caller}` needs `{name}` as a matrix with one input per row. Got "
            f"`{name}.shape={x.shape}`. Flatten images to `(n, features)` first."
        )


def finite_inputs(caller: str, name: str, x: Any, dtype: str) -> np.ndarray:
    """The inputs as an array of one row each, if they are finite real numbers."""
    array = as_array(caller, name, x)
    if array.ndim == 0 and array.dtype.kind not in "fiub":
        raise ValueError(f"`{caller}` needs an array as `{name}`. Got `{name}={x!r}`.")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"`{caller}` needs `{name}` with one input per row, at least one row and "
            f"one feature. Got `{name}.shape={array.shape}`."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"`{caller}` needs real numbers in `{name}`. Got `{name}.dtype="
            f"{array.dtype}`."
        )
    check_finite(caller, name, array, dtype)
    return array.astype(dtype)


def check_memory(caller: str, needed: float, what: str, cure: str) -> None:
    """Raise if `needed` bytes for `what` are more than this machine has."""
    if not hasattr(os, "sysconf"):
        return
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > have:
        raise ValueError(
            f"`{caller}` needs {needed:.0f} bytes ({needed / 2**30:.3g} GiB) for "
            f"{what}. Got a machine with "
            f"{have / 2**30:.3g} GiB. {cure}"
        )
