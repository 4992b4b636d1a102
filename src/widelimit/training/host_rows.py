"""Rows that stay on the host until a compiled step asks for them."""

import contextlib
import itertools
import mmap
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from widelimit._checks import row_blocks

INDEX_ROWS = 2**13
"""Rows of one call. JAX copies an argument of 100 kB or more in the background, and on
a CPU with few cores the call would wait for ever for the thread that copies."""


class _Source:
    """An array on the host, and what went wrong when it was read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.error: Exception | None = None
        self._file = _mapped_file(array)
        self._size = self._file.size() if self._file else 0

    def rows(self, index: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Some rows. Reading what a file no longer holds would end the process.

        Args:
            index: Which.
            dtype: Type of the result.

        Returns:
            The rows.

        Raises:
            OSError: If the file behind them has been cut.
        """
        if self._file and self._file.size() < self._size:
            raise OSError(
                f"the file has {self._file.size()} bytes left of {self._size}"
            )
        with np.errstate(over="ignore"):  # as JAX makes float32 of float64
            return np.ascontiguousarray(self.array[index], dtype)


def _mapped_file(array: Any) -> mmap.mmap | None:
    """The file that an array, or what it is a view of, is mapped from."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


_sources: dict[int, _Source] = {}
_numbers = itertools.count(1)


class HostRows(eqx.Module):
    """An array on the host, as a compiled program knows it.

    The program carries a number, under which the array is looked up when rows are
    fetched; another array of this shape and type needs no other program.

    Attributes:
        number: The number.
        shape: Shape of the array.
        dtype: Type in which JAX holds its rows.
    """

    number: Int[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(
        self, index: Int[Array, " b"]
    ) -> tuple[Float[Array, "b *s"] | UInt8[Array, "b h w c"], Bool[Array, ""]]:
        """Some rows, inside a compiled program.

        Args:
            index: Which.

        Returns:
            The rows, and whether they could be read; zeros if not, and `check` says
            why. A callback that raises has no defined result in JAX.
        """

        def read(number: Any, part: Any) -> tuple[np.ndarray, np.bool_]:
            return _read(number, part, self.shape, self.dtype)

        found = []
        for start in range(0, len(index), INDEX_ROWS):
            part = index[start : start + INDEX_ROWS]
            like = (
                jax.ShapeDtypeStruct((len(part), *self.shape[1:]), self.dtype),
                jax.ShapeDtypeStruct((), np.bool_),
            )
            # One seed after the other, as all their rows would be a larger index.
            found.append(
                jax.pure_callback(
                    read, like, self.number, part, vmap_method="sequential"
                )
            )
        if len(found) == 1:
            return found[0]
        rows, whole = zip(*found, strict=True)
        return jnp.concatenate(rows), jnp.all(jnp.stack(whole))

    def blocks(self) -> Iterator[np.ndarray]:
        """The array in blocks of rows, in JAX's type; not inside a program."""
        for _, block in row_blocks(_sources[int(self.number)].array):
            yield block.astype(self.dtype, copy=False)

    def check(self, caller: str) -> None:
        """Refuse to go on after rows that could not be read; not inside a program.

        Args:
            caller: Name of the public function, for messages.

        Raises:
            ValueError: If so.
        """
        error = _sources[int(self.number)].error
        if error is not None:
            raise ValueError(
                f"`{caller}` needs rows of `x` that can be read while it trains. Got "
                f"{type(error).__name__}: {error}. See to the file or the array behind "
                "`x`, and start again."
            ) from error


@contextlib.contextmanager
def on_host(array: np.ndarray, dtype: Any = None) -> Iterator[HostRows]:
    """Registers an array, as long as a program may fetch its rows.

    Args:
        array: The array, of which nothing is copied here.
        dtype: Type of the rows; that which JAX gives the array unless said.

    Yields:
        What the program can carry.
    """
    number = next(_numbers)
    _sources[number] = _Source(array)
    try:
        # An array: a Python int would be part of the program and recompile it.
        own = jax_dtype(array) if dtype is None else np.dtype(dtype)
        yield HostRows(jnp.int32(number), array.shape, own)
    finally:
        _sources.pop(number, None)


def on_device(array: Any, dtype: Any) -> Array:
    """An array on the device in one of JAX's types, whatever its own and byte order.

    Args:
        array: Of NumPy or JAX.
        dtype: The type.

    Returns:
        It.
    """
    if isinstance(array, jax.Array):
        return array.astype(dtype)
    return jnp.asarray(np.asanyarray(array).astype(dtype, copy=False))


def jax_dtype(array: Any) -> np.dtype:
    """The type that JAX gives an array, such as float32 for float64 unless told.

    Args:
        array: Of NumPy or JAX.

    Returns:
        The type.
    """
    own = np.dtype(array.dtype).newbyteorder("=")  # JAX knows no other order
    return np.dtype(jax.dtypes.canonicalize_dtype(own))


def _read(
    number: Any, index: Any, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[np.ndarray, np.bool_]:
    """Called by the program, from another thread, where JAX must not be called.

    Args:
        number: The number.
        index: Rows.
        shape: Shape of the array.
        dtype: Type of the result.

    Returns:
        The rows, and whether they could be read.
    """
    index = np.asarray(index)
    wanted = (len(index), *shape[1:])
    source = _sources.get(int(number))
    if source is None or source.error is not None:  # interrupted, or failed before
        return np.zeros(wanted, dtype), np.False_
    try:
        rows = source.rows(index, dtype)
    except Exception as error:
        source.error = error
        return np.zeros(wanted, dtype), np.False_
    return rows, np.True_
