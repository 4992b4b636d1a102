"""The smallest flips of a batch of inputs, the censored ones among them."""

import enum
import math
from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from widelimit._checks import check_one_of

Quantity = Literal["distance", "step", "relative_distance"]


class FlipStatus(enum.IntEnum):
    """What became of one input.

    Attributes:
        FLIPPED: The prediction flips; the adversarial point shows it.
        CENSORED: It does not flip within the largest distance.
        VANISHING_GRADIENT: The gradient is zero, so that there is no direction.
        ON_BOUNDARY: The input is on the boundary itself: step and distance are 0.
        UNCONFIRMED: A crossing was found, but no point behind it has an output of the
            other sign beyond rounding. It may be a mere touch, so its place is only a
            lower bound.
        NOT_FINITE: An output or the gradient is infinite or not a number.
        WRONG_BEFORE: The prediction is not the target to begin with: the distance is 0.
    """

    FLIPPED = 0
    CENSORED = 1
    VANISHING_GRADIENT = 2
    ON_BOUNDARY = 3
    UNCONFIRMED = 4
    NOT_FINITE = 5
    WRONG_BEFORE = 6


class AbstractFlips(eqx.Module):
    """Distances at which predictions flip, known or bounded from below.

    Attributes:
        distance: How far away the flip is.
        input_norm: Norm of every input.
        status: A `FlipStatus` each.
    """

    distance: eqx.AbstractVar[Float[Array, " n"]]
    input_norm: eqx.AbstractVar[Float[Array, " n"]]
    status: eqx.AbstractVar[Int[Array, " n"]]

    @property
    def flipped(self) -> Bool[Array, " n"]:
        """Whether the adversarial point has another prediction."""
        return self.status == FlipStatus.FLIPPED

    @property
    def censored(self) -> Bool[Array, " n"]:
        """Whether only a lower bound of the distance is known."""
        return (
            (self.status == FlipStatus.CENSORED)
            | (self.status == FlipStatus.VANISHING_GRADIENT)
            | (self.status == FlipStatus.UNCONFIRMED)
        )

    @property
    def relative_distance(self) -> Float[Array, " n"]:
        r"""$\|\delta\| / \|x\|$; infinite at the origin."""
        norm = self.input_norm
        ratio = self.distance / jnp.where(norm > 0, norm, 1.0)
        return jnp.where(norm > 0, ratio, jnp.inf)

    def median(self, quantity: Quantity = "distance") -> float:
        """Median over the inputs, if the censored ones leave it known.

        The censored ones are put at their lower bounds and at infinity; if the two
        medians agree, this is the median. For the distance they do if fewer than half
        are censored and none is `UNCONFIRMED`.

        Args:
            quantity: Which: `"distance"`, `"step"` or `"relative_distance"`.

        Returns:
            The median; NaN if it is not known.

        Raises:
            ValueError: If the quantity is unknown, or not among these results.
        """
        values = self._values("median", quantity)
        low = float(np.median(values))
        high = float(np.median(np.where(np.asarray(self.censored), np.inf, values)))
        return low if low == high else math.nan

    def mean_lower_bound(self, quantity: Quantity = "distance") -> float:
        """Lower bound of the mean: censored inputs count with their lower bounds.

        It is the mean if none is censored; without `exact`, up to what that leaves
        open.

        Args:
            quantity: Which: `"distance"`, `"step"` or `"relative_distance"`.

        Returns:
            The bound; NaN if a value is not finite.

        Raises:
            ValueError: If the quantity is unknown, or not among these results.
        """
        return float(np.mean(self._values("mean_lower_bound", quantity)))

    def __str__(self) -> str:
        status = np.asarray(self.status)
        counts = {s: int(np.sum(status == s)) for s in FlipStatus}
        told = [
            f"{count} {s.name.lower().replace('_', ' ')}"
            for s, count in counts.items()
            if count
        ]
        median, relative = self.median(), self.median("relative_distance")
        return (
            f"{len(status)} inputs: {', '.join(told)}; median distance {median:.4g}, "
            f"relative {relative:.4g}"
        )

    def _values(self, caller: str, quantity: str) -> np.ndarray:
        known = tuple(name for name in get_args(Quantity) if hasattr(self, name))
        check_one_of(f"{type(self).__name__}.{caller}", "quantity", quantity, known)
        return np.asarray(getattr(self, quantity))


class MinimalFlip(AbstractFlips):
    r"""Smallest step along the gradient that flips the prediction, of every input.

    Attributes:
        step: The paper's $|\eta|$, distance over gradient norm; infinite where the
            gradient vanishes.
        distance: $\|\delta\| = |\eta|\,\|\nabla f\|$, where the prediction flips. A
            lower bound where `censored`: the place of the touch if `UNCONFIRMED`, else
            `max_distance`. NaN if `NOT_FINITE`.
        gradient_norm: $\|\nabla f(x)\|$; of the margin's with several outputs.
        value: $f(x)$ less the threshold; with several outputs the margin, the largest
            less the second.
        input_norm: $\|x\|$.
        adversarial: Points just behind the flip; `x` itself where there is none.
        status: A `FlipStatus` each.
        max_distance: Where the search ended.
        exact: Whether `distance` is the first crossing up to rounding; else it is an
            upper bound of it.
    """

    step: Float[Array, " n"]
    distance: Float[Array, " n"]
    gradient_norm: Float[Array, " n"]
    value: Float[Array, " n"]
    input_norm: Float[Array, " n"]
    adversarial: Float[Array, "n *s"]
    status: Int[Array, " n"]
    max_distance: float = eqx.field(static=True)
    exact: bool = eqx.field(static=True)
