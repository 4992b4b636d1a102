"""Labelled arrays as strict JSON data, and back without losing a bit."""

import json
import math
from typing import Any

import numpy as np
import xarray as xr

_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
    *("uint64", "float16", "float32", "float64", "str"),
}


def encode_dataset(values: xr.Dataset) -> dict[str, Any]:
    """`values` as JSON data: for each array its dimensions, dtype, shape and entries.

    Floats are written so that reading gives the same bits. JSON has no infinities and
    no NaN, so these stand as the strings `"inf"`, `"-inf"` and `"nan"` (one NaN: its
    sign and payload are not kept).

    Args:
        values: Arrays of booleans, integers, floats or strings.

    Returns:
        Data that `json.dumps(..., allow_nan=False)` accepts.

    Raises:
        ValueError: If an array has another dtype, or an attribute is no JSON data.
    """
    encoded = {str(k): _encode(str(k), v) for k, v in values.variables.items()}
    coords = set(map(str, values.coords))
    return {
        "coords": {k: v for k, v in encoded.items() if k in coords},
        "variables": {k: v for k, v in encoded.items() if k not in coords},
        "attributes": _attributes("the dataset", values.attrs),
    }


def decode_dataset(data: dict[str, Any]) -> xr.Dataset:
    """The arrays that `encode_dataset` turned into `data`."""
    return xr.Dataset(
        {k: _decode(v) for k, v in data["variables"].items()},
        {k: _decode(v) for k, v in data["coords"].items()},
        data["attributes"],
    )


def _encode(name: str, variable: xr.Variable) -> dict[str, Any]:
    array = variable.values
    entries = array.ravel().tolist()
    strings = array.dtype.kind in "OUT" and all(isinstance(v, str) for v in entries)
    dtype = "str" if strings else array.dtype.name
    if dtype not in _DTYPES:
        raise ValueError(
            "A trial needs to return booleans, integers, floats of at most 64 bits or "
            f"strings. Got `{name}` with dtype {array.dtype}. Convert it, for example "
            "with `.astype(float)`; split complex numbers; reset a multi-index."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        entries = [v if math.isfinite(v) else str(v) for v in entries]
    return {
        "dims": [str(d) for d in variable.dims],
        "dtype": dtype,
        "shape": list(array.shape),
        "entries": entries,
        "attributes": _attributes(f"`{name}`", variable.attrs),
    }


def _decode(data: dict[str, Any]) -> xr.Variable:
    entries, dtype = data["entries"], data["dtype"]
    if dtype not in _DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}")
    if dtype.startswith("float"):
        entries = [float(v) for v in entries]
    array = np.array(entries, dtype=dtype).reshape(data["shape"])
    return xr.Variable(data["dims"], array, data["attributes"])


def _attributes(owner: str, attributes: dict[Any, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(attributes, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A trial needs plain JSON data as attributes. Got, on {owner}, "
            f"{attributes!r}: {error}. Make it a variable instead."
        ) from error
