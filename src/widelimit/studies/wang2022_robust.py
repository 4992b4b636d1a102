"""Shared by studies of projected adversarial training: settings, cells, crossings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field, PositiveFloat, PositiveInt

from widelimit.studies.figure import Curve, HeatMap
from widelimit.studies.memory import check_device_memory
from widelimit.studies.verdicts import interval, slopes
from widelimit.studies.wang2022_problem import (
    HIDDEN_COPIES,
    LazySettings,
    check_lazy,
    data_of,
    weight_bytes,
)

if TYPE_CHECKING:
    import xarray as xr

HALF = 0.5
FACTOR = 1.5
"""How far a measured constant may be from the paper's, as a factor."""
LEAST = 3  # positions of a power

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
    "attack_steps": 20,
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


class Crossings(NamedTuple):
    """Where the curve of each seed crosses a level; NaN where it does not.

    Attributes:
        at: Positions.
        before: Whether the curve is beyond the level at its first position already.
        never: Whether it does not get there.
    """

    at: Float[np.ndarray, "k n"]
    before: Bool[np.ndarray, "k n"]
    never: Bool[np.ndarray, "k n"]

    @property
    def known(self) -> Bool[np.ndarray, " n"]:
        """Curves that cross inside the range with every seed."""
        return np.asarray(np.isfinite(self.at).all(axis=0))

    def powers(self, x: np.ndarray) -> Float[np.ndarray, " k"]:
        """Per seed the power of `x` in the position, over the known curves.

        Args:
            x: What tells the curves apart.

        Returns:
            It; NaN with fewer than three known curves.
        """
        if self.known.sum() < LEAST:
            return np.full(len(self.at), np.nan)
        rows = np.log2(self.at[:, self.known])
        return slopes(rows, np.log2(x[self.known].astype(float)))

    def told(self, name: str) -> str:
        """How many did not cross inside the range, as text."""
        count = int(np.isfinite(self.at).sum() + self.before.sum() + self.never.sum())
        return (
            f"Of {count} crossings {self.before.sum()} lie below the range and "
            f"{self.never.sum()} above; the power is taken over the "
            f"{self.known.sum()} {name} without any."
        )


def crossings(values: "xr.DataArray", x: str, over: str, *, rises: bool) -> Crossings:
    """First crossings of one half, on straight lines over the logarithm of x.

    Args:
        values: Shares with the dimensions `seed`, `x` and `over`.
        x: The axis along which they change.
        over: The axis that tells curves apart.
        rises: Whether the level is crossed from below.

    Returns:
        The crossings, one row per seed and one column per entry of `over`.
    """
    rows = values.transpose("seed", over, x).values
    positions = np.log(values[x].values.astype(float))
    beyond = rows >= HALF if rises else rows < HALF
    whole = np.isfinite(rows).all(axis=-1)
    first = beyond.argmax(axis=-1)
    before = whole & beyond[..., 0]
    never = np.asarray(whole & ~beyond.any(axis=-1))
    at = np.full(first.shape, np.nan)
    for place in zip(*np.nonzero(whole & ~before & ~never), strict=True):
        i = first[place]
        low, high = rows[place][i - 1], rows[place][i]
        share = (HALF - low) / (high - low)
        at[place] = np.exp(positions[i - 1] + share * (positions[i] - positions[i - 1]))
    return Crossings(at, before, never)


def at_position(
    values: "xr.DataArray", x: str, position: float
) -> Float[np.ndarray, " k"]:
    """Per seed the value at a position, on straight lines over the logarithm of x.

    Args:
        values: Dimensions `seed` and `x`.
        x: The axis.
        position: Where.

    Returns:
        The values; NaN outside the range.
    """
    rows = values.transpose("seed", x).values
    marks = np.log(values[x].values.astype(float))
    found = [
        np.interp(np.log(position), marks, row, left=np.nan, right=np.nan)
        for row in rows
    ]
    return np.array(found)


def constant_near(found: np.ndarray, constant: float) -> dict[str, np.ndarray]:
    """What must be positive for a number to be within `FACTOR` of the paper's.

    Args:
        found: The number of every seed.
        constant: The paper's.

    Returns:
        Groups for `verdicts.every`, in powers of two.
    """
    ratio = np.log2(found / constant)
    return {"above": ratio + np.log2(FACTOR), "below": np.log2(FACTOR) - ratio}


def cells(results: "xr.Dataset", name: str, x: str, y: str, **labels: Any) -> HeatMap:
    """A heat map of means over seeds, with their intervals and counts.

    Args:
        results: Only the axes `x`, `y` and seeds left.
        name: The share that is drawn.
        x: The axis across.
        y: The axis upwards.
        **labels: Of the heat map.

    Returns:
        It.
    """
    rows = results[name].transpose(y, x, "seed").values
    found = [[interval(cell) for cell in row] for row in rows]
    tested = results["test_rows"].max().item()
    return HeatMap(
        x=results[x].values.tolist(),
        y=results[y].values.tolist(),
        values=[[i.mean for i in row] for row in found],
        low=[[_low(i) for i in row] for row in found],
        high=[[min(i.high, 1.0) for i in row] for row in found],
        notes=[
            [f"{np.isfinite(cell).sum()} seeds, {tested:.0f} test rows" for cell in row]
            for row in rows
        ],
        **labels,
    )


def _low(found: Any) -> float:
    return max(found.low, 0.0) if np.isfinite(found.low) else np.nan


def curve_of(text: str, constant: float, x: np.ndarray) -> Curve:
    """The paper's curve, constant over root x, beyond both ends of the axis."""
    at = np.geomspace(x.min() / 3, x.max() * 3, 65)
    return Curve(text, at.tolist(), (constant / np.sqrt(at)).tolist(), theory=True)
