"""Settings that studies of projected adversarial training share."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.memory import check_device_memory
from widelimit.studies.wang2022_problem import (
    HIDDEN_COPIES,
    LazySettings,
    check_lazy,
    data_of,
    weight_bytes,
)

ROBUST_TRIAL = "widelimit.studies.wang2022_robust_trial:train_robustly"


class RobustSettings(LazySettings):
    """Projected adversarial training (wang2022, Algorithm 1) on rows of norm 1.

    Attributes:
        radii: Sizes R of the perturbation, in training and test alike.
        attack_steps: Steps of PGD, of size 2.5 R / steps; the paper has 100.
        rule: Of the steps in training; Algorithm 1 as printed is `raw`.
        beta: The paper's rate, of the loss *summed* over a batch.
        patience: Epochs without a higher robust training accuracy that end a seed.
    """

    radii: tuple[PositiveFloat, ...] = Field((0.2,), min_length=1)
    attack_steps: PositiveInt = 10
    rule: Literal["normalized", "raw"] = "normalized"
    beta: PositiveFloat = 0.01
    patience: PositiveInt = 10


MNIST: Mapping[str, Any] = {
    "data": "mnist",
    "train_rows": 500,
    "test_rows": 500,
    "attack_steps": 10,  # as good as a hundred, by `attack-convergence`
    "batch_size": 50,
    "epochs": 40,
}
PAPER: Mapping[str, Any] = {
    "data": "mnist",
    "attack_steps": 100,
    "batch_size": 64,
    "epochs": 100,
    "seeds": 5,
}


def geometric(low: float, high: float, count: int) -> tuple[float, ...]:
    """Numbers from low to high at equal ratios, rounded to four digits."""
    return tuple(float(f"{v:.4g}") for v in np.geomspace(low, high, count))


def check_robust(settings: Any) -> None:
    """Raise where no trial could succeed: without data, or a seed without room.

    Args:
        settings: `RobustSettings`.

    Raises:
        ValueError: If labels, sides or rows do not suit the data, or one seed of the
            largest network does not fit into memory with its attacked inputs.
        OSError: If the data set is not on this machine.
    """
    check_lazy(settings)
    side, width = max(settings.sides), max(settings.widths)
    data = data_of(settings.model_dump() | {"scale": "unit", "side": side})
    rows = len(data.x_train)
    check_device_memory(
        "check_robust",
        weight_bytes(side**2, width) + 4 * HIDDEN_COPIES * rows * width,
        f"one seed of width {width} with {rows} attacked inputs",
        "Choose smaller `widths` or `train_rows`.",
    )
