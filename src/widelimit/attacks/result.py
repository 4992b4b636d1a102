"""What an attack returns, the same for every attack and model."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from widelimit.measures import Proportion, proportion


class AttackResult(eqx.Module):
    """Adversarial points and what they do, one entry per input.

    Attributes:
        points: Inside the ball and the box; the input itself where nothing is worse.
        loss_before: Losses of the inputs.
        loss_after: Losses of the points, recomputed; never below those before.
        correct_before: Whether the model is right at the input.
        correct_after: Whether it is right at the point.
        distance: Of the point from the input, in the attack's norm and the units of the
            inputs.
        vanishing_gradient: Whether the loss has (nearly) no gradient at the input, so
            that an attack along it says nothing: where a loss saturates, or a unit is
            dead.
        rising: Whether the loss still rose at the end of the search, so that more steps
            would help.
        undefined: Whether the loss was NaN somewhere on the search's way. Such places
            are never chosen, so that nothing is known about the model there.
    """

    points: Float[np.ndarray, "n *s"]
    loss_before: Float[np.ndarray, " n"]
    loss_after: Float[np.ndarray, " n"]
    correct_before: Bool[np.ndarray, " n"]
    correct_after: Bool[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    vanishing_gradient: Bool[np.ndarray, " n"]
    rising: Bool[np.ndarray, " n"]
    undefined: Bool[np.ndarray, " n"]

    @property
    def success(self) -> Bool[np.ndarray, " n"]:
        """Whether the model was right and is no longer."""
        return self.correct_before & ~self.correct_after

    @property
    def accuracy(self) -> Proportion:
        """Share of inputs that the model has right, with its binomial interval."""
        return proportion(self.correct_before)

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of inputs that it has right before and after.

        An upper bound: a stronger attack can only lower it.
        """
        return proportion(self.correct_before & self.correct_after)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the robust accuracy doubtful, in sentences; empty if nothing."""
        kept = self.correct_before & self.correct_after
        found = []
        if gone := int(np.sum(kept & self.vanishing_gradient)):
            found.append(
                f"{gone} of {kept.sum()} inputs that stand have no gradient: attack "
                "the loss `margin`, or start at random points."
            )
        if late := int(np.sum(kept & self.rising)):
            found.append(
                f"For {late} of {kept.sum()} inputs that stand the loss was still "
                "rising: take more steps."
            )
        if lost := int(np.sum(kept & self.undefined)):
            found.append(
                f"For {lost} of {kept.sum()} inputs that stand the loss was NaN at "
                "points nearby, which do not count: look at the model there."
            )
        return tuple(found)

    def __str__(self) -> str:
        lines = [
            f"accuracy {self.accuracy}, under attack {self.robust_accuracy}",
            *self.warnings,
        ]
        return "\n".join(lines)
