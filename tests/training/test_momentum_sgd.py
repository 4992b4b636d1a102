"""Momentum, weight decay and schedules, against a recursion and against PyTorch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.training import momentum_sgd

STEPS, EPOCHS = 3, 4
RNG = np.random.default_rng(5)
START = {
    "weight": RNG.normal(size=(2, 3)),
    "bias": RNG.normal(size=3),
    "scale": RNG.normal(size=3),
    "shift": RNG.normal(size=3),
    "statistics": {"mean": RNG.normal(size=3)},
    "signs": np.array([1.0, -1.0]),
}
GRADIENTS = [
    jax.tree.map(lambda a: RNG.normal(size=a.shape), START)
    for _ in range(STEPS * EPOCHS)
]


def moved(optimizer):
    """Parameters after every step along the given gradients."""
    params, path = jax.tree.map(jnp.asarray, START), []
    state = optimizer.init(params)
    for gradient in GRADIENTS:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
        path.append(params)
    return path


def recursion(w, gradients, rates, momentum, nesterov, weight_decay):
    """The same for one array, written out."""
    buffer, path = np.zeros_like(w), []
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + weight_decay * w
        buffer = momentum * buffer + gradient
        w = w - rate * (gradient + momentum * buffer if nesterov else buffer)
        path.append(w)
    return path


RATES = {
    "constant": [0.3] * 12,
    # Shares 0.5 and 0.7 of 12 steps: from the seventh (6 done) and the tenth on.
    "step": [0.3] * 6 + [0.06] * 3 + [0.012] * 3,
    "cosine": [0.15 * (1 + math.cos(math.pi * t / 12)) for t in range(12)],
}


@pytest.mark.parametrize(
    ("schedule", "momentum", "nesterov", "weight_decay", "decay_all"),
    [
        ("constant", 0.9, False, 0.0, True),
        ("constant", 0.0, False, 0.2, True),
        ("step", 0.8, False, 0.1, True),
        ("cosine", 0.7, True, 0.1, False),
    ],
)
def test_steps_are_those_of_the_recursion(
    schedule, momentum, nesterov, weight_decay, decay_all
):
    optimizer = momentum_sgd(
        0.3, steps_per_epoch=STEPS, epochs=EPOCHS, schedule=schedule, decay=0.2,
        milestones=(0.5, 0.7), momentum=momentum, nesterov=nesterov,
        weight_decay=weight_decay, decay_all=decay_all,
    )  # fmt: skip
    path = moved(optimizer)
    offsets = weight_decay if decay_all else 0.0
    decays = {"weight": weight_decay, "bias": offsets, "scale": offsets}
    for name in START:
        if name == "statistics":
            start, gradients = START[name]["mean"], [g[name]["mean"] for g in GRADIENTS]
            actual = [p[name]["mean"] for p in path]
        else:
            start, gradients = START[name], [g[name] for g in GRADIENTS]
            actual = [p[name] for p in path]
        own = decays.get(name, offsets if name == "shift" else 0.0)
        expected = recursion(start, gradients, RATES[schedule], momentum, nesterov, own)
        # Optax keeps its schedules in float32.
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_milestones_that_meet_in_a_short_training_both_count():
    optimizer = momentum_sgd(
        1.0, steps_per_epoch=1, epochs=2, schedule="step", milestones=(0.6, 0.9),
        momentum=0.0,
    )  # fmt: skip
    state = optimizer.init(0.0)
    rates = []
    for _ in range(4):
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimizer.update(jnp.asarray(-1.0), state)
        rates.append(update)
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.01, 0.01], rtol=1e-6)


def test_equal_arguments_give_the_same_object():
    options = {"steps_per_epoch": 2, "epochs": 3, "weight_decay": 1e-4}
    assert momentum_sgd(0.1, **options) is momentum_sgd(0.1, **options)
    assert momentum_sgd(0.1, **options) is not momentum_sgd(0.2, **options)
    listed = momentum_sgd(0.1, milestones=[0.5, 0.75], **options)
    assert listed is momentum_sgd(0.1, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "`momentum_sgd` needs a finite `learning_rate > 0`"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch >= 1`. Got `steps_per_epoch=0`"),
        ({"epochs": 0}, "`epochs >= 1`. Got `epochs=0`"),
        ({"schedule": "linear"}, "one of 'constant', 'step', 'cosine'. Got `schedule="),
        ({"milestones": (0.5, 60)}, "between 0 and 1.*Divide epochs by `epochs`"),
        ({"milestones": 0.5}, r"several numbers as `milestones`. Got `milestones=0.5`"),
        ({"milestones": ["a"]}, "a number as `milestones`. Got `milestones='a'`"),
        (
            {"learning_rate": [0.1]},
            r"a number as `learning_rate`. Got `learning_rate=\[",
        ),
        ({"nesterov": "no"}, "`True` or `False` as `nesterov`"),
        ({"decay": 0.0}, "Got `decay=0.0`"),
        ({"momentum": 1.0}, "`0 <= momentum < 1`.*Got `momentum=1.0`"),
        ({"momentum": 0.0, "nesterov": True}, "above 0 if it is Nesterov's"),
        ({"weight_decay": -1e-4}, "finite `weight_decay >= 0`. Got `weight_decay=-"),
    ],
    ids=repr,
)
def test_numbers_out_of_range_are_named(change, message):
    arguments = {"learning_rate": 0.1, "steps_per_epoch": 3, "epochs": 2} | change
    with unchecked(), pytest.raises(ValueError, match=message):
        momentum_sgd(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["step", "cosine"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_pytorch(schedule, nesterov):
    torch = pytest.importorskip("torch", reason="PyTorch is a benchmark dependency")
    names = ["weight", "bias", "scale", "shift"]
    tensors = [torch.tensor(START[n], requires_grad=True) for n in names]
    sgd = torch.optim.SGD(
        tensors, lr=0.3, momentum=0.9, weight_decay=0.05, nesterov=nesterov
    )
    rates = torch.optim.lr_scheduler
    if schedule == "step":  # 6 and 9 of 12 steps
        rate = rates.MultiStepLR(sgd, [6, 9], gamma=0.1)
    else:
        rate = rates.CosineAnnealingLR(sgd, T_max=12)
    ours = momentum_sgd(
        0.3, steps_per_epoch=STEPS, epochs=EPOCHS, schedule=schedule,
        nesterov=nesterov, weight_decay=0.05,
    )  # fmt: skip
    for gradient, params in zip(GRADIENTS, moved(ours), strict=True):
        for tensor, name in zip(tensors, names, strict=True):
            tensor.grad = torch.tensor(gradient[name])
        sgd.step()
        rate.step()
        for tensor, name in zip(tensors, names, strict=True):
            np.testing.assert_allclose(
                params[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-6
            )
