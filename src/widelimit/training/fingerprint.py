"""Values as text that is the same in every process, to tell trainings apart."""

import dataclasses
import enum
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Iterable, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._checks import row_blocks
from widelimit.training.host_rows import HostRows

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(value: Any) -> str:
    """Text that two values share if, as far as can be seen, they are the same.

    Arrays are digested by type, shape and contents; of functions count the name, the
    code, its constants and what is enclosed (such as the rate in an Optax
    transformation), of descriptions and other objects their fields. Whole numbers are
    alike in every type. Not seen are global variables that a function reads; a function
    that changes what it encloses, but for such a type, becomes another.

    Args:
        value: Anything.

    Returns:
        The text, without addresses of this process.
    """
    return _text(value, ())


def _text(value: Any, above: tuple[int, ...]) -> str:
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))  # Optax makes floats of a schedule's numbers in its use
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, np.dtype | np.generic | enum.Enum):
        return str(value)
    if isinstance(value, np.ndarray | jax.Array):
        return _digest(value)
    if isinstance(value, HostRows):  # as of the same array on a device
        return f"{_kind(value)}:{_hash(value.blocks())}"
    if id(value) in above:  # a function that encloses itself
        return "..."
    within = functools.partial(_text, above=(*above, id(value)))
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return _name(value)
    if isinstance(value, Mapping):
        return _listed("", {str(k): within(v) for k, v in value.items()})
    if isinstance(value, Set):
        return "{" + ", ".join(sorted(map(within, value))) + "}"
    if isinstance(value, tuple | list):
        kind = "" if type(value) in (tuple, list) else type(value).__name__
        return f"{kind}({', '.join(map(within, value))})"
    if isinstance(value, functools.partial):
        return f"partial({within((value.func, value.args, value.keywords))})"
    if isinstance(value, types.MethodType):
        return f"{within(value.__self__)}.{value.__name__}"
    if isinstance(value, types.FunctionType):
        return _function(value, within)
    if isinstance(value, types.CodeType):
        parts = value.co_names, value.co_consts, value.co_code
        return f"code{within(parts)}"
    if (inner := inspect.unwrap(value)) is not value:  # such as what `jax.jit` gives
        return within(inner)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: within(getattr(value, name, None)) for name in names}
        return _listed(type(value).__name__, fields)
    if type(value).__repr__ is object.__repr__ and hasattr(value, "__dict__"):
        fields = {name: within(field) for name, field in vars(value).items()}
        return _listed(type(value).__name__, fields)
    return ADDRESS.sub("", repr(value))


def _function(value: types.FunctionType, within: Any) -> str:
    plain = inspect.unwrap(value)
    if plain is not value:
        return within(plain)
    enclosed = map(_inside, value.__closure__ or ())
    cells = dict(zip(value.__code__.co_freevars, enclosed, strict=True))
    code = hashlib.sha256(within(value.__code__).encode()).hexdigest()[:8]
    fields = {**cells, **_numbered(value.__defaults__), **(value.__kwdefaults__ or {})}
    return _listed(f"{_name(value)}@{code}", {k: within(v) for k, v in fields.items()})


def _inside(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


def _numbered(values: tuple[Any, ...] | None) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values or ())}


def _name(value: Any) -> str:
    names = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return ".".join(filter(None, names)) or getattr(value, "__name__", repr(value))


def _listed(name: str, fields: Mapping[str, str]) -> str:
    return f"{name}({', '.join(f'{k}={v}' for k, v in fields.items())})"


def _digest(array: Any) -> str:
    """Type, shape and a digest of the contents."""
    kind = _kind(array)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    data = np.asarray(array)
    if data.dtype == object:
        return kind
    return f"{kind}:{_hash(block for _, block in row_blocks(data))}"


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _hash(blocks: Iterable[np.ndarray]) -> str:
    """Of what the blocks hold, however it is divided into them."""
    found = hashlib.sha256()
    for block in blocks:
        found.update(np.ascontiguousarray(block).view(np.uint8).data)
    return found.hexdigest()[:16]
