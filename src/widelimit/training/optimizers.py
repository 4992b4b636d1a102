"""Optimisers with the papers' schedules."""

import functools

import optax

from widelimit._checks import check_at_least, check_positive


@functools.cache
def step_decay_sgd(
    learning_rate: float,
    *,
    steps_per_epoch: int,
    decay: float = 0.1,
    every: int = 10,
    after: int = 25,
    epochs: int = 50,
) -> optax.GradientTransformation:
    """Stochastic gradient descent whose rate falls in steps.

    The rate is multiplied by `decay` at the start of epoch `after` (epochs count from
    0), and again every `every` epochs. Equal arguments give the same object, so that a
    program compiled for it is found again.

    Args:
        learning_rate: Initial rate.
        steps_per_epoch: Number of mini-batches in an epoch.
        decay: Factor of each step.
        every: Epochs between steps.
        after: Epoch of the first step.
        epochs: Length of the training, in epochs.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: If a rate is not positive, or a count is below 1.
    """
    check_positive("step_decay_sgd", "learning_rate", learning_rate)
    check_positive("step_decay_sgd", "decay", decay)
    check_at_least("step_decay_sgd", "steps_per_epoch", steps_per_epoch, 1)
    check_at_least("step_decay_sgd", "every", every, 1)
    steps = {e * steps_per_epoch: decay for e in range(after, epochs, every)}
    return optax.sgd(optax.piecewise_constant_schedule(learning_rate, steps))


def zhu2022_sgd(
    *, steps_per_epoch: int, learning_rate: float = 0.001, epochs: int = 50
) -> optax.GradientTransformation:
    """The schedule of zhu2022, Sec. 5.1: 0.001, times 0.1 every 10 epochs after 25.

    The text leaves open whether the first step comes at epoch 25 or 35; Sec. 5.2 says
    "in epoch 25 we decrease the learning rate", so it comes at epochs 25, 35 and 45.

    Args:
        steps_per_epoch: Number of mini-batches in an epoch.
        learning_rate: Initial rate.
        epochs: Length of the training, in epochs; the steps stay where they are.

    Returns:
        An Optax transformation.
    """
    return step_decay_sgd(learning_rate, steps_per_epoch=steps_per_epoch, epochs=epochs)
