"""One step of an attack along the gradient of the loss."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.attacks.base import Value
from widelimit.balls import Norm, per_row, sizes

Rule = Literal["normalized", "raw"]
RULES: tuple[Rule, ...] = ("normalized", "raw")


def losses_and_gradients(
    value: Value, x: Float[Array, "n *s"]
) -> tuple[Float[Array, " n"], Float[Array, "n *s"]]:
    """Losses and their gradients by the inputs, of a whole batch in one pass.

    Args:
        value: The losses of a batch; each depends on its own row.
        x: Points.

    Returns:
        Both.
    """

    def total(points):
        losses = value(points)
        return jnp.sum(losses), losses

    (_, losses), gradients = jax.value_and_grad(total, has_aux=True)(x)
    return losses, gradients


def steepest(
    gradients: Float[Array, "n *s"], norm: Norm, rule: Rule
) -> Float[Array, "n *s"]:
    r"""The direction of a step.

    `"normalized"` is the direction of steepest ascent for the norm, $g / \|g\|_2$ or
    $\mathrm{sign}(g)$, in which a step has a length of its own; `"raw"` is $g$.

    Args:
        gradients: $g$ of the losses.
        norm: The norm of the ball.
        rule: `"normalized"` or `"raw"`.

    Returns:
        Directions; zero where the gradient is.
    """
    if rule == "raw":
        return gradients
    if norm == "linf":
        return jnp.sign(gradients)
    lengths = sizes(gradients, "l2")
    return gradients / per_row(jnp.where(lengths > 0, lengths, 1.0), gradients)
