"""Accuracy and loss on a data set."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.losses import LossName, loss_function


class Score(eqx.Module):
    """How well outputs match targets.

    Attributes:
        accuracy: Share of rows classified correctly, between 0 and 1.
        loss: Mean loss.
    """

    accuracy: Float[Array, ""]
    loss: Float[Array, ""]


def score(
    outputs: Float[Array, "n o"], targets: Float[Array, "n o"], *, loss: LossName
) -> Score:
    """Accuracy and mean loss of outputs.

    With several outputs a row is right when its largest output is the target's largest;
    with one output, when their signs agree (an output of 0 is wrong).

    Args:
        outputs: Outputs of a network, one row per input.
        targets: One-hot rows, or +1 and -1 in a single column.
        loss: Name of the loss.

    Returns:
        Accuracy and mean loss.
    """
    if targets.shape[1] == 1:
        right = (outputs * targets > 0)[:, 0]
    else:
        right = jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)
    values = loss_function(loss)(outputs, targets)
    return Score(jnp.mean(right.astype(outputs.dtype)), jnp.mean(values))
