"""Settings and presets of the study `eigenfeatures`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from widelimit.studies.kim2023_tables import Depth, TableSettings


class EigenfeatureSettings(TableSettings):
    r"""Training with and without a penalty on gradients, and perturbed test inputs.

    A seed is a division into training and test rows.

    Attributes:
        size: As in other studies of tables, for the training rows.
        regularizations: $\lambda$; the first is 0, standard training, with which the
            others are compared.
        strengths: Learning rates of the one-step perturbation, ascending.
        attack: What the step ascends, at the predictor of standard training: `squared`,
            the loss $(f - y)^2 / 2$; `margin`, $-y f$; `unit`, the same by a step whose
            length is the strength. The paper does not say.
        test_share: Share of the table's rows that is for testing.
        depth: Number of hidden layers; if `None`, the smallest at which Assumption 8
            holds on as many rows as `size` allows.
        criterion: When it holds: `threshold`, the smallest eigenvalue is above
            `threshold`; or `verdict`, it exceeds the bound on its error.
        max_depth: Where the search for that depth ends.
    """

    regularizations: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.001, 0.01, 0.1, 1.0), min_length=2
    )
    strengths: tuple[PositiveFloat, ...] = Field((0.01, 0.1), min_length=1)
    attack: Literal["squared", "margin", "unit"] = "squared"
    test_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    depth: Depth | None = None
    criterion: Literal["threshold", "verdict"] = "threshold"
    max_depth: Depth = 20
    seeds: PositiveInt = 4

    @field_validator("regularizations")
    @classmethod
    def _standard_first(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return _rising(values, "regularizations", first=0.0)

    @field_validator("strengths")
    @classmethod
    def _strengths_rise(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return _rising(values, "strengths")


def _rising(
    values: tuple[float, ...], name: str, first: float | None = None
) -> tuple[float, ...]:
    if sorted(set(values)) != list(values):
        raise ValueError(f"{name} must rise")
    if first is not None and values[0] != first:
        raise ValueError(f"{name} must begin with {first:g}, standard training")
    return values


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {
        "tables": ("algerian-forest-fires",),
        "regularizations": (0.0, 0.01, 1.0),
        "size": 720,
    },
    "laptop": {"size": 1800},
    "paper": {"seeds": 10},
}
