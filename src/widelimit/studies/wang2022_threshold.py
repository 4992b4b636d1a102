"""Thresholds of the robust accuracy beside the paper's curve, constant / root x."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from widelimit.studies.curves import seed_curve
from widelimit.studies.figure import Curve, HeatMap, Panel
from widelimit.studies.powers import TOLERANCE, near, told
from widelimit.studies.verdicts import Claim, claim_of_every, share_interval, slopes

if TYPE_CHECKING:
    import xarray as xr

HALF = 0.5
FACTOR = 1.5
"""How far a measured constant may be from the paper's, as a factor."""
LEAST = 3  # positions of a power


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


@dataclass(frozen=True)
class Threshold:
    """Where the robust accuracy crosses one half, for every size of something.

    Attributes:
        symbol: Its name, such as `R_50`.
        constant: Of the paper's curve, constant / root of the size.
        along: The axis on which it lies.
        over: The axis of sizes.
        letter: Symbol of a size.
        rises: Whether the accuracy rises along the axis.
        x_title: Title of the axis of sizes.
        y_title: Title of the other.
    """

    symbol: str
    constant: float
    along: str
    over: str
    letter: str
    rises: bool
    x_title: str
    y_title: str

    def sizes(self, at: "xr.Dataset") -> list[int]:
        """The sizes of the results."""
        return [int(size) for size in at[self.over].values]

    def crossings(self, at: "xr.Dataset") -> Crossings:
        """The thresholds of every seed and size."""
        return crossings(at["robust_accuracy"], self.along, self.over, rises=self.rises)

    def claims(
        self, at: "xr.Dataset", tail: str, law: str, everywhere: str, scope: Any
    ) -> list[Claim]:
        """That it goes as the root of the size, and with the paper's constant.

        Args:
            at: Only both axes and seeds left.
            tail: Of the claims' names, in brackets.
            law: The first statement.
            everywhere: In words, such as "m = 1000: ... in every dimension".
            scope: Of the claims.

        Returns:
            Both claims.
        """
        half, sizes = self.crossings(at), self.sizes(at)
        power = half.powers(np.array(sizes))
        scaled = half.at * np.sqrt(sizes)
        groups = {}
        for i, size in enumerate(sizes):
            ratio = np.log2(scaled[:, i] / self.constant)
            groups[size, "above"] = ratio + np.log2(FACTOR)
            groups[size, "below"] = np.log2(FACTOR) - ratio
        return [
            claim_of_every(
                f"power{tail}",
                law,
                near(power, -0.5),
                detail=f"{TOLERANCE} less |p + 1/2|, with p the power; p = "
                f"{told(power)}. " + half.told(f"{self.over}s"),
                scope=scope,
            ),
            claim_of_every(
                f"constant{tail}",
                everywhere,
                groups,
                detail="log2 of the factor less that found, where it is largest. "
                f"{self.symbol} sqrt({self.letter}): {self.told(scaled, sizes)}.",
                scope=scope,
            ),
        ]

    def beside_curve(self, at: "xr.Dataset", factor: float) -> dict[int, np.ndarray]:
        """Per size the robust accuracies at a multiple of the paper's curve."""
        return {
            size: at_position(
                at["robust_accuracy"].sel({self.over: size}),
                self.along,
                factor * self.constant / np.sqrt(size),
            )
            for size in self.sizes(at)
        }

    def told(self, found: np.ndarray, sizes: list[int]) -> str:
        """One number per size, with its interval over seeds, as text."""
        return "; ".join(
            f"{told(found[:, i])} at {self.letter} = {size}"
            for i, size in enumerate(sizes)
        )

    def told_accuracies(self, groups: Mapping[int, np.ndarray]) -> str:
        """Mean accuracies as text."""
        parts = [
            f"{np.nanmean(values):.2f} at {self.letter} = {size}"
            if np.isfinite(values).any()
            else f"not measured at {self.letter} = {size}"
            for size, values in groups.items()
        ]
        return "Mean accuracies: " + "; ".join(parts) + "."

    def panels(self, at: "xr.Dataset", *more: Curve) -> tuple[HeatMap, HeatMap, Panel]:
        """Robust accuracy, clean accuracy, and the threshold beside the paper's curve.

        Args:
            at: Only both axes and seeds left.
            *more: Other curves of the last panel.

        Returns:
            The panels.
        """
        text, sizes = f"{self.constant:g}/√{self.letter}", at[self.over].values
        paper = curve_of(text, self.constant, sizes)
        maps = [
            cells(
                at,
                name,
                self.over,
                self.along,
                title=title,
                value_title=value_title,
                x_title=self.x_title,
                y_title=self.y_title,
                curves=[paper],
            )
            for name, title, value_title in (
                ("robust_accuracy", "Robust test accuracy", "robust accuracy"),
                ("accuracy", "Clean test accuracy", "accuracy"),
            )
        ]
        shape = at["robust_accuracy"].isel({self.along: 0}).transpose("seed", self.over)
        half = shape.copy(data=self.crossings(at).at)
        line = (self.constant / np.sqrt(sizes)).tolist()
        curves = [
            seed_curve(half, self.symbol, self.over, log=True),
            Curve(text, sizes.tolist(), line, theory=True),
            *more,
        ]
        title = "Where one half is crossed"
        panel = Panel(title, self.x_title, self.y_title, curves, ordered=False)
        return maps[0], maps[1], panel


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
    found = [[share_interval(cell) for cell in row] for row in rows]
    tested = results["test_rows"].max().item()
    return HeatMap(
        x=results[x].values.tolist(),
        y=results[y].values.tolist(),
        values=[[i.mean for i in row] for row in found],
        low=[[i.low for i in row] for row in found],
        high=[[i.high for i in row] for row in found],
        notes=[
            [f"{np.isfinite(cell).sum()} seeds, {tested:.0f} test rows" for cell in row]
            for row in rows
        ],
        **labels,
    )


def curve_of(text: str, constant: float, x: np.ndarray) -> Curve:
    """The paper's curve, constant over root x, beyond both ends of the axis."""
    at = np.geomspace(x.min() / 3, x.max() * 3, 65)
    return Curve(text, at.tolist(), (constant / np.sqrt(at)).tolist(), theory=True)
