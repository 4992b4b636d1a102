"""Memory of a training: counted by hand, near what XLA plans, and refused in time."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from widelimit.activations import ReLU
from widelimit.attacks import PGD
from widelimit.layers import Activation, Conv, Dense, Flatten, Sequential
from widelimit.losses import loss_function
from widelimit.training import PixelScaling, train
from widelimit.training import memory as module
from widelimit.training.memory import training_memory
from widelimit.training.plan import Plan

KEYS = jax.random.split(jax.random.key(0), 3)
PLAIN = Sequential((Dense(16), Activation(ReLU()), Dense(2)))
IMAGES = Sequential((Conv(4, (3, 3)), Activation(ReLU()), Flatten(), Dense(2)))


def start(network, shape, seeds=1):
    return jax.vmap(lambda key: network.init(key, shape))(KEYS[:seeds])


def plan_of(network, dtype=jnp.float64, **changes):
    values = {
        "apply": network, "row_loss": loss_function("squared"), "penalty": None,
        "optimizer": optax.sgd(0.1, momentum=0.5), "epochs": 1, "batch_size": 8,
        "stops": (), "patience": None, "scaling": None, "augmentation": None,
        "accumulate": 1, "mixed": False, "dtype": dtype,
    }  # fmt: skip
    return Plan(**(values | changes))


def memory_of(network, x, seeds=1, **changes):
    adversary = changes.pop("adversary", None)
    params = jax.eval_shape(lambda: start(network, x.shape[1:], seeds))
    targets = jax.ShapeDtypeStruct((len(x), 2), jnp.float64)
    return training_memory(plan_of(network, **changes), params, x, targets, adversary)


def test_bytes_by_hand():
    x = jnp.zeros((10, 6))
    found = memory_of(PLAIN, x)
    weights = 6 * 16 + 16 * 2
    assert found.data == 8 * (10 * 6 + 10 * 2)
    assert found.weights == 8 * (7 + 3) * weights  # momentum is as large as they are
    # Results of both products, what is made of them, the inputs and the targets.
    assert 2 * 8 * (16 + 2) <= found.row <= 2 * 8 * (16 + 2 + 6 + 2)
    assert found.needed(5) == found.data + found.weights + 5 * found.row


def test_devices_of_one_machine_add_up():
    x = jnp.zeros((10, 6))
    one, two, three = (memory_of(PLAIN, x, seeds) for seeds in (1, 2, 3))
    assert (two.data, two.weights, two.row) == (
        2 * one.data, 2 * one.weights, 2 * one.row
    )  # fmt: skip
    # Three seeds do not divide over two devices: side by side on one of them.
    assert (three.data, three.weights, three.row) == (
        one.data, 3 * one.weights, 3 * one.row
    )  # fmt: skip
    images = jnp.zeros((10, 5, 5, 1))
    alone, apart = (memory_of(IMAGES, images, seeds) for seeds in (1, 3))
    assert alone.row == apart.row > 2 * 8 * (5 * 5 * 4)


def test_bytes_count_as_bytes_and_halves_as_halves():
    images = jnp.zeros((10, 5, 5, 1), jnp.uint8)
    scaling = PixelScaling((0.5,), (0.25,))
    found = memory_of(IMAGES, images, scaling=scaling)
    devices = 2  # both have all data: they divide the eight rows of a batch
    assert found.data == devices * (10 * 25 + 8 * 20)
    assert found.row == memory_of(IMAGES, jnp.zeros((10, 5, 5, 1))).row
    narrow = jnp.zeros((10, 5, 5, 1), jnp.float32)
    params = jax.tree.map(lambda a: a.astype("float32"), start(IMAGES, (5, 5, 1)))
    full, mixed = (
        training_memory(
            plan_of(IMAGES, jnp.float32, mixed=mixed),
            params,
            narrow,
            jnp.zeros((10, 2), jnp.float32),
        ).row
        for mixed in (False, True)
    )
    # Inputs and targets are kept as they are.
    rest = 2 * 4 * (25 + 2)
    assert rest / 2 < mixed - (full - rest) / 2 <= rest + 1


def test_it_is_near_what_xla_plans():
    x, targets = jnp.zeros((512, 20)), jnp.zeros((512, 2))
    network = Sequential(
        tuple(layer for _ in range(4) for layer in (Dense(64), Activation(ReLU())))
        + (Dense(2),)
    )
    params = start(network, (20,))
    plan = plan_of(network, batch_size=512)
    needed = training_memory(plan, params, x, targets).row * 512

    def value(p):
        return jnp.mean(plan.row_loss(network(p, x), targets))

    one = jax.tree.map(lambda a: a[0], params)
    planned = jax.jit(jax.grad(value)).lower(one).compile().memory_analysis()
    assert 0.5 < needed / planned.temp_size_in_bytes < 2


def refused(monkeypatch, have, network=PLAIN, x=None, **options):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 6))) if x is None else x
    targets = jnp.ones((len(x), 2)).at[:, 0].set(0)
    monkeypatch.setattr(module, "device_memory", lambda: have)
    defaults = {
        "loss": "squared", "optimizer": optax.sgd(0.1), "epochs": 0, "batch_size": 32,
        "keys": KEYS[:1],
    }  # fmt: skip
    params = start(network, x.shape[1:])
    return train(network, params, x, targets, **(defaults | options))


def test_a_batch_that_fits_is_named_and_fits(monkeypatch):
    monkeypatch.setattr(  # nothing is compiled before the refusal
        sys.modules["widelimit.training.train"],
        "start_seeds",
        lambda *a: pytest.fail("started"),
    )
    x = jnp.zeros((64, 6))
    found = memory_of(PLAIN, x, optimizer=optax.sgd(0.1))
    have = found.needed(9)
    with pytest.raises(ValueError, match="`train` needs about .* of memory") as caught:
        refused(monkeypatch, have, x=x)
    message = str(caught.value)
    assert "`batch_size` of at most 9, or `accumulate=4`, of 8 rows" in message
    needed, got = re.findall(
        r"([\d.]+) KiB of memory|device with ([\d.]+) KiB", message
    )
    assert float(needed[0]) == pytest.approx(found.needed(32) / 2**10, rel=1e-2)
    assert float(got[1]) == pytest.approx(have / 2**10, rel=1e-2)
    monkeypatch.undo()
    for options in ({"accumulate": 4}, {"batch_size": 9}):
        refused(monkeypatch, have, x=x, **options)
        monkeypatch.undo()


def test_what_does_not_fit_is_what_is_blamed(monkeypatch):
    x = jnp.zeros((64, 6))
    found = memory_of(PLAIN, x, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="alone do not fit.*smaller network.*`stream"):
        refused(monkeypatch, found.fixed - 1, x=x)
    with pytest.raises(ValueError, match="alone do not fit.*fewer rows of data.$"):
        refused(monkeypatch, found.weights - 1, x=x)
    with pytest.raises(ValueError, match="a `batch_size` of at most 1.$"):
        refused(monkeypatch, found.needed(1), x=x, batch_size=31)
    with pytest.raises(ValueError, match="a single row leaves .* does not fit beside"):
        refused(monkeypatch, found.fixed + 1, x=x)
    attacked = memory_of(PLAIN, x, optimizer=optax.sgd(0.1), adversary=PGD(0.1))
    assert attacked.attack >= 64 * 2 * 8 * (16 + 2)
    with pytest.raises(
        ValueError, match="the attack on all 64 rows takes .*fewer rows"
    ):
        refused(
            monkeypatch, attacked.needed(1) - 1, x=x, adversary=PGD(0.1), batch_size=1
        )


def in_one_piece(params, x):
    return jnp.reshape(x, (32, 6)) @ params


def in_groups(params, x):
    groups = jnp.reshape(x, (len(x) // 8, 8, len(x) // (len(x) // 8 * 8) * 6))
    return jnp.reshape(groups - groups.mean(1, keepdims=True), (-1, 6)) @ params


@pytest.mark.parametrize("apply", [in_one_piece, in_groups])
def test_functions_of_some_sizes_alone_still_train(apply):

    x = jnp.ones((64, 6))
    options = {"loss": "squared", "epochs": 1, "batch_size": 32, "keys": KEYS[:1]}
    found = train(
        apply, jnp.ones((1, 6, 2)), x, x[:, :2], optimizer=optax.sgd(0.0), **options
    )
    assert found.loss.shape == (1, 1) and np.isfinite(found.loss).all()


def test_what_is_streamed_takes_no_memory(monkeypatch):
    rows = np.zeros((64, 600))
    x = jnp.asarray(rows)
    found = memory_of(PLAIN, x, optimizer=optax.sgd(0.1))
    have = found.needed(8) - rows.nbytes
    with pytest.raises(ValueError, match="on the host with `stream=True`"):
        refused(monkeypatch, have, x=x, batch_size=8)
    refused(monkeypatch, have, x=rows, batch_size=8, stream=True)
