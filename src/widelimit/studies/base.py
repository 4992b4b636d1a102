"""What a study is: a grid, a trial, claims and figures."""

import itertools
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
            changes: Values by field; text is read as the field's type, and
                comma-separated text as a tuple.

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
            if isinstance(value, str) and value.lower() in {"none", "null"}:
                value = None
            elif isinstance(value, str) and _holds_tuple(fields[name].annotation):
                value = tuple(part.strip() for part in value.split(",") if part.strip())
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


def _holds_tuple(annotation: Any) -> bool:
    choices = (annotation, *get_args(annotation))  # such as tuple[int, ...] | None
    return any(get_origin(choice) is tuple for choice in choices)
