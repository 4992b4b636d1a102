"""Losses, one value per row."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from widelimit._checks import check_one_of

LossName = Literal["cross-entropy", "squared", "logistic", "margin"]
Loss = Callable[[Float[Array, "n o"], Float[Array, "n o"]], Float[Array, " n"]]


def cross_entropy(
    outputs: Float[Array, "n o"], targets: Float[Array, "n o"]
) -> Float[Array, " n"]:
    r"""Cross-entropy $-\sum_k y_k \log \mathrm{softmax}(f)_k$, in nats.

    Args:
        outputs: Outputs $f$, one column per class.
        targets: One-hot targets $y$.

    Returns:
        The loss of each row.

    Raises:
        ValueError: If there is a single column, whose softmax is always 1.
    """
    if outputs.shape[1] < 2:
        raise ValueError(
            "`cross_entropy` needs at least two outputs. Got `outputs.shape="
            f"{outputs.shape}`. For targets +1 and -1 use the loss `logistic`."
        )
    return optax.softmax_cross_entropy(outputs, targets)


def squared(
    outputs: Float[Array, "n o"], targets: Float[Array, "n o"]
) -> Float[Array, " n"]:
    r"""Half the squared distance $\tfrac12 \|f - y\|^2$ (zhu2022, Sec. 3)."""
    return 0.5 * jnp.sum(jnp.square(outputs - targets), axis=1)


def logistic(
    outputs: Float[Array, "n 1"], targets: Float[Array, "n 1"]
) -> Float[Array, " n"]:
    r"""Logistic loss $\log(1 + e^{-y f})$ of one output and targets +1 or -1.

    Args:
        outputs: Outputs $f$, in one column.
        targets: Targets $y$, in one column.

    Returns:
        One loss per row, in nats.

    Raises:
        ValueError: If there is not exactly one column.
    """
    if outputs.shape[1] != 1 or targets.shape[1] != 1:
        raise ValueError(
            "`logistic` needs one output and one target per row. Got "
            f"`outputs.shape={outputs.shape}` and `targets.shape={targets.shape}`. Use "
            "the cross-entropy for several classes."
        )
    return jax.nn.softplus(-outputs[:, 0] * targets[:, 0])


def margin(
    outputs: Float[Array, "n o"], targets: Float[Array, "n o"]
) -> Float[Array, " n"]:
    r"""How far the decision is on the wrong side, $-y f$ or $\max_{k \ne y} f_k - f_y$.

    Unlike the others it does not flatten where a network is sure, so that attacks
    along its gradient do not stall there; it has no lower end, so training needs one of
    the others.

    Args:
        outputs: Outputs $f$: one column, or one per class.
        targets: +1 and -1 in one column, or one-hot rows.

    Returns:
        One number per row, in the units of the outputs; negative where the row is
        right.
    """
    if outputs.shape[1] == 1:
        return -outputs[:, 0] * targets[:, 0]
    right = jnp.sum(outputs * targets, axis=1)
    others = jnp.where(targets > 0, -jnp.inf, outputs)
    return jnp.max(others, axis=1) - right


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "squared": squared,
    "logistic": logistic,
    "margin": margin,
}


def loss_function(name: LossName) -> Loss:
    """The loss of that name.

    Args:
        name: A key of `LOSSES`.

    Returns:
        A function of outputs and targets with one value per row.

    Raises:
        ValueError: If the name is unknown.
    """
    check_one_of("loss_function", "loss", name, tuple(LOSSES))
    return LOSSES[name]
