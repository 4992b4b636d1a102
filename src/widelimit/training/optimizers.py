"""Optimisers with the papers' schedules."""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import jax
import optax

from widelimit._checks import (
    check_at_least,
    check_count,
    check_flag,
    check_number,
    check_one_of,
    check_positive,
)
from widelimit.layers import Params, is_statistic

ScheduleName = Literal["constant", "step", "cosine"]
FIXED = "signs"  # of a `Readout`
OFFSETS = ("bias", "scale", "shift")


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


def momentum_sgd(
    learning_rate: float,
    *,
    steps_per_epoch: int,
    epochs: int,
    schedule: ScheduleName = "constant",
    milestones: Sequence[float] = (0.5, 0.75),
    decay: float = 0.1,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_all: bool = True,
) -> optax.GradientTransformation:
    r"""Stochastic gradient descent with momentum and weight decay, as PyTorch has it.

    $$g_t = \nabla L(w_t) + \lambda w_t, \quad b_t = \mu b_{t-1} + g_t, \quad
      w_{t+1} = w_t - \eta_t b_t,$$

    or $w_{t+1} = w_t - \eta_t (g_t + \mu b_t)$ with Nesterov's momentum. Of $T$ steps
    in all, $\eta_t = \eta$ with the schedule `constant`; with `step` it is multiplied
    by `decay` at the first step $t \ge s T$, for every share $s$ in `milestones`; with
    `cosine` it is $\tfrac12 \eta\,(1 + \cos(\pi t / T))$. Equal arguments give the
    same object, so that a program compiled for it is found again.

    Weight decay acts on all that is trained, biases and the scales and shifts of batch
    normalisation included, as in PyTorch; `decay_all=False` spares these. Running
    statistics and the signs of a `Readout` never decay.

    Args:
        learning_rate: $\eta$.
        steps_per_epoch: Number of mini-batches in an epoch.
        epochs: Length of the training.
        schedule: What becomes of the rate.
        milestones: Shares of the training, between 0 and 1, for the schedule `step`.
        decay: Factor at every milestone.
        momentum: $\mu$, from 0 to below 1.
        nesterov: Whether momentum is Nesterov's.
        weight_decay: $\lambda$, in the units of a gradient per weight.
        decay_all: Whether arrays named `bias`, `scale` and `shift` decay too.

    Returns:
        An Optax transformation.

    Raises:
        ValueError: If a number is out of range or the schedule unknown.

    Example:
        >>> steps = {"steps_per_epoch": 390, "epochs": 200}
        >>> sgd = momentum_sgd(0.1, **steps, schedule="cosine", weight_decay=5e-4)
        >>> sgd is momentum_sgd(0.1, **steps, schedule="cosine", weight_decay=5e-4)
        True
    """
    caller = "momentum_sgd"
    check_positive(caller, "learning_rate", learning_rate)
    check_count(caller, "steps_per_epoch", steps_per_epoch, 1)
    check_count(caller, "epochs", epochs, 1)
    check_one_of(caller, "schedule", schedule, ("constant", "step", "cosine"))
    check_positive(caller, "decay", decay)
    if not isinstance(milestones, Sequence) or isinstance(milestones, str):
        raise ValueError(
            f"`{caller}` needs several numbers as `milestones`. Got "
            f"`milestones={milestones!r}`. Write `milestones=(0.5, 0.75)`."
        )
    for share in milestones:
        check_number(caller, "milestones", share)
    if not all(0 < share < 1 for share in milestones):
        raise ValueError(
            f"`{caller}` needs `milestones` between 0 and 1, as shares of the training."
            f" Got `milestones={milestones}`. Divide epochs by `epochs`."
        )
    check_number(caller, "momentum", momentum)
    if not (0 <= momentum < 1) or (nesterov and momentum == 0):
        raise ValueError(
            f"`{caller}` needs `0 <= momentum < 1`, and above 0 if it is Nesterov's. "
            f"Got `momentum={momentum}` and `nesterov={nesterov}`."
        )
    check_number(caller, "weight_decay", weight_decay)
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(
            f"`{caller}` needs a finite `weight_decay >= 0`. Got "
            f"`weight_decay={weight_decay}`."
        )
    check_flag(caller, "nesterov", nesterov)
    check_flag(caller, "decay_all", decay_all)
    return _momentum_sgd(
        learning_rate,
        steps_per_epoch * epochs,
        schedule,
        tuple(milestones),
        decay,
        momentum,
        nesterov,
        weight_decay,
        decay_all,
    )


@functools.cache
def _momentum_sgd(
    learning_rate: float,
    steps: int,
    schedule: ScheduleName,
    milestones: tuple[float, ...],
    decay: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decay_all: bool,
) -> optax.GradientTransformation:
    rate = learning_rate
    if schedule == "step":
        factors: dict[int, float] = {}
        for share in milestones:  # two of a short training may fall on one step
            step = math.ceil(round(share * steps, 6))
            factors[step] = factors.get(step, 1.0) * decay
        rate = optax.piecewise_constant_schedule(learning_rate, factors)
    elif schedule == "cosine":
        rate = optax.cosine_decay_schedule(learning_rate, steps)
    moved = optax.sgd(rate, momentum=momentum or None, nesterov=nesterov)
    if weight_decay == 0:
        return moved
    decays = functools.partial(_decays, everything=decay_all)
    return optax.chain(optax.add_decayed_weights(weight_decay, decays), moved)


def _decays(params: Params, *, everything: bool) -> Params:
    """Which arrays of the parameters decay, as a tree of booleans."""
    spared = (FIXED,) if everything else (FIXED, *OFFSETS)

    def decays(path, leaf):
        names = {getattr(key, "key", None) for key in path[-1:]}
        return not (is_statistic(path) or names & set(spared))

    return jax.tree_util.tree_map_with_path(decays, params)
