"""What operators of Jacobian kernels are given: vectors, matrices, inputs' numbers."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._checks import as_array
from widelimit.kernels.jacobian.pairs import Numbers

Kind = Literal["vector", "matrix", "vector or matrix"]
AXES: dict[Kind, tuple[int, ...]] = {"matrix": (2,), "vector or matrix": (1, 2)}


def operand(caller: str, kind: Kind, u: Any, size: int, dtype: np.dtype) -> Numbers:
    """What a kernel is multiplied with; its entries are not looked at.

    Args:
        caller: Name of the public function, for messages.
        kind: What is needed. Any array of the right number of entries is a vector.
        u: An array, or a list that makes one. Arrays of JAX, traced ones too, stay
            such.
        size: How many rows are needed.
        dtype: Float type of the operator.

    Returns:
        The operand. On the host it has the type of the operator.

    Raises:
        ValueError: If it is not that of so many rows, or not of real numbers.
    """
    u = _real(caller, u, dtype)
    if kind == "vector":
        fits = u.size == size
    else:
        fits = u.ndim in AXES[kind] and len(u) == size
    if not fits:
        raise ValueError(
            f"`{caller}` needs a {kind} of {size} rows. Got `u.shape={u.shape}`. Order "
            "them by inputs: a value, then its derivatives."
        )
    return u.reshape(-1) if kind == "vector" else u


def _real(caller: str, u: Any, dtype: np.dtype) -> Numbers:
    if isinstance(u, jax.Array):
        if jnp.issubdtype(u.dtype, jnp.floating):
            return u
        if jnp.issubdtype(u.dtype, jnp.integer) or u.dtype == bool:
            return u.astype(jnp.asarray(dtype.type(0)).dtype)  # float32 without x64
    else:
        u = as_array(caller, "u", u)
        if u.dtype.kind in "fiub":
            return u.astype(dtype, copy=False)
    raise ValueError(
        f"`{caller}` needs an array of real numbers. Got `u.dtype={u.dtype}`. Give "
        "floats; the product with complex numbers is that of both parts."
    )


def checked_index(index: Any, count: int) -> Any:
    """What selects at least one of so many inputs, as `select` takes it.

    Args:
        index: A slice, or an array of numbers or of booleans; all if `None`.
        count: How many inputs there are.

    Returns:
        A slice or an array.

    Raises:
        ValueError: If there are no such inputs, or none.
    """
    if index is None:
        return slice(None)
    index = index if isinstance(index, slice) else as_array("select", "index", index)
    if not isinstance(index, slice) and not index.size:
        index = index.astype(int)  # an empty list makes an array of floats
    try:
        chosen = np.arange(count)[index]
    except (IndexError, TypeError) as error:
        raise ValueError(
            f"`select` needs numbers of {count} inputs. Got {index!r}: {error}."
        ) from error
    if chosen.ndim != 1 or not len(chosen):
        raise ValueError(
            f"`select` needs a slice or a vector of one input or more. Got {index!r}."
        )
    return index


def checked_pairs(
    rows: Any, columns: Any, counts: tuple[int, int]
) -> tuple[Numbers, Numbers]:
    """Numbers of inputs of the rows and of the columns, as `blocks` takes them.

    Args:
        rows: One whole number for every pair. Traced ones are not looked at.
        columns: As many.
        counts: How many inputs there are on either side.

    Returns:
        Both as arrays.

    Raises:
        ValueError: If these are not two vectors of as many numbers of inputs.
    """
    sides = ("rows", rows, counts[0]), ("columns", columns, counts[1])
    i, j = (_numbers(name, given, count) for name, given, count in sides)
    if len(i) != len(j):
        raise ValueError(
            "`blocks` needs as many `rows` as `columns`, one of either for every pair. "
            f"Got {len(i)} and {len(j)}."
        )
    return i, j


def _numbers(name: str, given: Any, count: int) -> Numbers:
    array = given if isinstance(given, jax.Array) else as_array("blocks", name, given)
    if isinstance(array, np.ndarray) and not array.size:
        array = array.astype(int)
    if array.ndim != 1 or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(
            f"`blocks` needs a vector of whole numbers as `{name}`. Got `{name}="
            f"{given!r}`."
        )
    try:
        known = np.asarray(array)
    except jax.errors.TracerArrayConversionError:
        return array
    outside = known[(known < -count) | (known >= count)]
    if len(outside):
        raise ValueError(
            f"`blocks` needs `{name}` among {count} inputs, numbered from 0. Got "
            f"{outside[0]}."
        )
    return array
