"""What a study is: a grid, a trial, claims and figures."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from widelimit._checks import check_one_of
from widelimit.studies.figure import Figure
from widelimit.studies.verdicts import Claim

if TYPE_CHECKING:
    import xarray as xr


class Settings(BaseModel):
    """Settings of a study; a tuple-valued field named in `Study.axes` is an axis."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seeds: PositiveInt = 5


@dataclass(frozen=True)
class Study:
    """A grid of trials on real data, judged against a paper's claims.

    Args:
        name: Identifier, as in `widelimit run NAME`.
        title: One line.
        question: What the study asks, in a sentence or two.
        source: Paper, figures and sections.
        settings: The settings' class, which validates them.
        presets: Settings by preset: `quick`, `laptop` and `paper`.
        axes: Name of each axis of the grid, and the field of the settings that lists
            its values.
        trial: Reference `module:function` of the trial.
        claims: From the results, the claims with their verdicts.
        figures: From the results, the figures.
        check: Called before trials run; raises `ValueError` or `OSError`, with the
            cure, where none of them could succeed, as without the data.
        demo: Whether `widelimit demo` runs it, as it takes half a minute at most.
    """

    name: str
    title: str
    question: str
    source: str
    settings: type[Settings]
    presets: Mapping[str, Mapping[str, Any]]
    axes: Mapping[str, str]
    trial: str
    claims: "Callable[[xr.Dataset], list[Claim]]"
    figures: "Callable[[xr.Dataset], list[Figure]]"
    check: Callable[[Any], None] | None = None
    demo: bool = True

    def configure(
        self, preset: str = "quick", changes: Mapping[str, Any] | None = None
    ) -> Settings:
        """The settings of a preset, with changes.

        Args:
            preset: Name of the preset.
            changes: Values by field; text is read as the field's type,
                comma-separated text as a tuple, and `1/4` as a quarter where any
                number may stand.

        Returns:
            The validated settings.

        Raises:
            ValueError: If the preset or a field is unknown, or a value does not fit.
        """
        check_one_of(f"{self.name}", "preset", preset, tuple(self.presets))
        values = dict(self.presets[preset])
        fields = self.settings.model_fields
        for name, value in (changes or {}).items():
            if name not in fields:
                raise ValueError(
                    f"`{self.name}` needs the name of a setting. Got {name!r}. Its "
                    f"settings: {', '.join(fields)}."
                )
            if isinstance(value, str):
                value = _read(value, fields[name].annotation)
            values[name] = value
        try:
            found = self.settings.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}"
                if e["loc"]
                else e["msg"]  # of the settings together, which the message names
                for e in error.errors()
                # consequences of other mistakes, which are told themselves
                if e["type"] != "default_factory_not_called"
                and not (e["type"] == "too_short" and e["input"])
            ).replace("Value error, ", "")
            raise ValueError(
                f"`{self.name}` needs valid settings. Got {problems}. See "
                f"`widelimit studies {self.name}`."
            ) from error
        for field in self.axes.values():
            points = getattr(found, field)
            if len(set(points)) < len(points):
                raise ValueError(
                    f"`{self.name}` needs every point of its grid once. Got "
                    f"`{field}={points}`."
                )
        return found

    def trials(self, settings: Settings) -> Iterator[dict[str, Any]]:
        """The configuration of every trial, cheap ones first along each axis.

        Args:
            settings: Settings of this study.

        Yields:
            One plain dictionary per point of the grid, seeds included.
        """
        values = settings.model_dump(mode="json")
        lists = [values.pop(field) for field in self.axes.values()]
        seeds = list(range(values.pop("seeds")))
        for point in itertools.product(*lists):
            yield {**values, **dict(zip(self.axes, point, strict=True)), "seeds": seeds}


def _read(text: str, annotation: Any) -> Any:
    """A value as it is written on the command line, as far as pydantic cannot."""
    if text.lower() in {"none", "null"}:
        return None
    parts = [text]
    if _holds(annotation, tuple):
        parts = [part.strip() for part in text.split(",") if part.strip()]
    read = parts
    if _holds(annotation, float):
        read = [_number(part) for part in parts]
    return tuple(read) if _holds(annotation, tuple) else read[0]


def _number(text: str) -> str | float:
    """A fraction of whole numbers as a number; what is none stays as it is."""
    found = re.fullmatch(r"(\d+) */ *(\d+)", text.strip())
    if not found or not int(found[2]):
        return text
    return int(found[1]) / int(found[2])


def _holds(annotation: Any, kind: type) -> bool:
    """Whether it is such a type or made of it, such as `tuple[float, ...] | None`."""
    return (
        annotation is kind
        or get_origin(annotation) is kind
        or any(_holds(part, kind) for part in get_args(annotation))
    )
