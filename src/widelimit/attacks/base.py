"""The contract of attacks: points inside ball and box, with a loss not below before."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from widelimit._checks import check_at_least, check_number, check_one_of, check_positive
from widelimit.balls import NORMS, Norm, chosen, inside

Value = Callable[[Float[Array, "n *s"]], Float[Array, " n"]]


class Found(eqx.Module):
    """What the search of an attack returns.

    Attributes:
        points: The best points, one per input, possibly outside ball or box by rounding
            errors.
        rising: Whether the loss was still rising when the search ended.
        undefined: Whether the loss was NaN somewhere on the way; `None` if not watched.
    """

    points: Float[Array, "n *s"]
    rising: Bool[Array, " n"]
    undefined: Bool[Array, " n"] | None = None


class AbstractAttack(eqx.Module):
    """An attack: a search for a point near an input where the loss is large.

    A new one writes `search`. `perturb` is what others call, inside compiled programs
    too: whatever the search returns, its points are inside the ball of `norm` and
    `radius` and the box from `low` to `high`, and their losses are not below those of
    the inputs, which are returned where nothing better was found.

    Attributes:
        norm: `"l2"` or `"linf"`, of all axes of an input together.
        radius: Of the ball, in the units of the inputs: one number, or one per input.
            Zero gives the inputs back.
        low: Smallest allowed entry of a point; `None` for no such limit.
        high: Largest allowed entry.
    """

    norm: eqx.AbstractVar[Norm]
    radius: eqx.AbstractVar[Any]
    low: eqx.AbstractVar[float | None]
    high: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def search(
        self, value: Value, x: Float[Array, "n *s"], keys: Key[Array, " n"]
    ) -> Found:
        """Points with a large loss.

        Args:
            value: The losses of a batch; each depends on its own row.
            x: Inputs inside the box.
            keys: One random key per input.

        Returns:
            Points and what is known about the search.
        """

    def perturb(
        self, value: Value, x: Float[Array, "n *s"], keys: Key[Array, " n"]
    ) -> Found:
        """Points of the ball and the box whose losses are not below those of `x`.

        Args:
            value: The losses of a batch; each depends on its own row.
            x: Inputs inside the box.
            keys: One random key per input.

        Returns:
            The points and whether more steps may help.
        """
        found = self.search(value, x, keys)
        undefined = found.undefined
        if undefined is None:
            undefined = jnp.isnan(value(found.points))
        points = inside(found.points, x, self.radius, self.norm)
        points = self.into_box(points)  # towards x, which is in the box
        better = value(points) > value(x)  # not where either is NaN
        return Found(chosen(better, points, x), found.rising, undefined)

    def into_box(self, x: Float[Array, "n *s"]) -> Float[Array, "n *s"]:
        """The nearest points of the box.

        Args:
            x: Points.

        Returns:
            The points inside.
        """
        return jnp.clip(x, self.low, self.high)

    def check(self, caller: str) -> None:
        """Raise where a setting is out of range.

        Args:
            caller: Function to name.

        Raises:
            ValueError: If it is.
        """
        check_one_of(caller, "norm", self.norm, NORMS)
        check_radius(caller, self.radius)
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                check_number(caller, name, getattr(self, name))
        low, high = (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )
        if not low < high:
            raise ValueError(
                f"`{caller}` needs `low < high`. Got `low={self.low}` and "
                f"`high={self.high}`."
            )


def check_radius(caller: str, radius: Any) -> None:
    """Raise unless every radius is finite and not negative.

    Args:
        caller: Function to name.
        radius: One number, or a vector.

    Raises:
        ValueError: If one is not.
    """
    values = np.asarray(radius)
    if values.ndim == 0:
        check_at_least(caller, "radius", radius, 0)
    bad = ~(np.isfinite(values) & (values >= 0)) if values.dtype.kind in "fiu" else True
    if values.ndim > 1 or np.any(bad):
        raise ValueError(
            f"`{caller}` needs a finite `radius >= 0`, one number or one per input. "
            f"Got `radius={radius}`."
        )


def check_step(caller: str, name: str, step: Any) -> None:
    """Raise unless every size of a step is finite and positive.

    Args:
        caller: Function to name.
        name: Of the setting.
        step: One number, or a vector.

    Raises:
        ValueError: If one is not.
    """
    values = np.asarray(step)
    if values.ndim == 0:
        check_positive(caller, name, step)
    elif values.ndim > 1 or not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(
            f"`{caller}` needs a finite `{name} > 0`, one number or one per input. Got "
            f"`{name}={step}`."
        )
