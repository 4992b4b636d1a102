"""Configurations: plain JSON data with one canonical text, a key and a difference."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def canonical_json(config: Config) -> str:
    """The one JSON text of `config`: sorted keys, no spaces, ASCII only.

    Two configurations are the same if and only if their texts are. So the order of keys
    does not matter, a tuple is a list, and numbers are told apart as Python writes
    them: `1`, `1.0` and `true` are three values, `0.10` and `0.1` are one.

    Args:
        config: Mapping of strings, numbers, booleans, `None`, and lists and mappings of
            these.

    Returns:
        The text.

    Raises:
        ValueError: If `config` holds something that JSON does not have.
    """
    try:
        return json.dumps(
            dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise ValueError(
            "A configuration needs plain JSON data: strings, finite numbers, booleans, "
            f"None, lists, mappings. Got {dict(config)!r}: {error}. Turn NumPy "
            "scalars into Python ones with `.item()`; write infinity as a string."
        ) from error


def config_key(config: Config) -> str:
    """Name of `config`: the first 20 hex digits of its canonical text's SHA-256."""
    return hashlib.sha256(canonical_json(config).encode("ascii")).hexdigest()[:20]


def plain(config: Config) -> dict[str, Any]:
    """An independent copy of `config` as it comes back from JSON."""
    return json.loads(canonical_json(config))


def differences(old: Config, new: Config) -> list[str]:
    """One line for each setting that differs, `grid.width: [64] -> [64, 128]`."""
    before, after = _flat(plain(old)), _flat(plain(new))
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    ]


def _flat(config: Config, prefix: str = "") -> dict[str, str]:
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value, sort_keys=True)
    return flat
