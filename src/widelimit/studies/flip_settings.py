"""Settings of the flip studies."""

from pydantic import Field, PositiveFloat, field_validator

from widelimit.studies.wang2022_problem import LazySettings, Scale


class FlipSettings(LazySettings):
    r"""Networks trained to the border of the lazy ball, then flipped.

    Attributes:
        scales: Rows of norm 1, as the theorem has them, or raw pixels.
        learning_rate: Of SGD.
        search: The largest perturbation that is tried, over the largest test norm.
        reach: A single step of this times $\|x\| / \sqrt d$ is tried too.
        gamma: Probability of failure of the lemmas.
    """

    scales: tuple[Scale, ...] = Field(("unit", "raw"), min_length=1)
    learning_rate: PositiveFloat = 0.1
    search: PositiveFloat = 4.0
    reach: PositiveFloat = 5.0
    gamma: float = Field(0.05, gt=0, lt=1)


class FlipCurveSettings(FlipSettings):
    """With several lazy balls.

    Attributes:
        constants: C_0 of the balls, rising.
    """

    constants: tuple[PositiveFloat, ...] = Field((5.0, 10.0, 20.0), min_length=1)

    @field_validator("constants")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in zip(value, value[1:], strict=False)):
            raise ValueError(f"constants must rise, got {value}")
        return value
