"""Frozen values that describe a network, and their JSON form."""

import dataclasses
import enum
import json
import math
import numbers
from typing import Any, ClassVar, TypeVar

D = TypeVar("D", bound="Description")  # not `Self`, which beartype takes in no method


class Description:
    """Base of everything that describes a network: layers and activations.

    A subclass is a frozen dataclass whose fields are numbers, strings, enums, other
    descriptions, or tuples of these. It is hashable, equal by value, and it goes to
    JSON and back under its class name.
    """

    kinds: ClassVar[dict[str, type["Description"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.__name__.startswith("Abstract"):
            Description.kinds[cls.__name__] = cls

    def to_json(self) -> str:
        """The description as JSON text; `from_json` gives back an equal value.

        Returns:
            The text.

        Raises:
            ValueError: If the description holds a function, as `Custom` does, or a
                number that is not finite.
        """
        return json.dumps(_encode(self), allow_nan=False)

    @classmethod
    def from_json(cls: type[D], text: str) -> D:
        """The description that `to_json` wrote.

        Args:
            text: JSON text.

        Returns:
            A value of this class (or of a subclass).

        Raises:
            ValueError: If the text is not JSON, names an unknown kind or field, lacks a
                required field, or describes something else than this class.
        """
        try:
            value = _decode(json.loads(text))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"`{cls.__name__}.from_json` needs JSON text. Got {text[:40]!r}, which "
                f"fails with: {error}."
            ) from error
        if not isinstance(value, cls):
            raise ValueError(
                f"`{cls.__name__}.from_json` needs the description of a "
                f"`{cls.__name__}`. Got a `{type(value).__name__}`."
            )
        return value


def _encode(value: Any) -> Any:
    if isinstance(value, Description):
        fields = dataclasses.fields(value)  # pyright: ignore[reportArgumentType]
        return {"kind": type(value).__name__} | {
            f.name: _encode(getattr(value, f.name)) for f in fields
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)  # NumPy's integers too
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"A description needs finite numbers. Got {value}.")
        return float(value)
    if value is None or isinstance(value, str | bool):
        return value
    raise ValueError(
        "`to_json` needs a description of numbers, text and other descriptions. Got "
        f"{value!r}, which JSON cannot hold. Rebuild such a network from your code."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in Description.kinds:
        known = ", ".join(sorted(Description.kinds))
        raise ValueError(
            f"`from_json` needs a known `kind`. Got {kind!r}. Known kinds: {known}."
        )
    cls = Description.kinds[kind]
    types = {f.name: f.type for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    for name, field in fields.items():
        fields[name] = _decode(field)
        if isinstance(choices := types.get(name), enum.EnumType):
            fields[name] = choices(field)
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(
            f"`from_json` needs the fields of `{kind}`. Got {sorted(fields)}: {error}."
        ) from error
