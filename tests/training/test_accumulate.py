"""Batches in parts: the same training, but for statistics of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.activations import Erf
from widelimit.layers import Activation, BatchNorm, Dense, Flatten, Sequential
from widelimit.networks import mlp
from widelimit.training import CropFlip, JacobianPenalty, train

D, ROWS, BATCH = 3, 13, 6
RNG = np.random.default_rng(9)
X = jnp.asarray(RNG.normal(size=(ROWS, D)))
TARGETS = jnp.asarray(RNG.normal(size=(ROWS, 2)))
KEYS = jax.random.split(jax.random.key(1), 2)


def run(network, params, x=X, targets=TARGETS, **options):
    defaults = {
        "loss": "squared", "optimizer": optax.sgd(0.1, momentum=0.5), "epochs": 3,
        "batch_size": BATCH, "keys": KEYS,
    }  # fmt: skip
    return train(network, params, x, targets, **(defaults | options))


def start(network, shape=(D,)):
    return jax.vmap(lambda key: network.init(key, shape))(KEYS)


def assert_trees_close(one, other):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13),
        one,
        other,
    )


def test_parts_give_what_the_whole_gives_and_see_the_same_images():
    images = jnp.asarray(RNG.normal(size=(ROWS, 2, 3, 1)))
    network = Sequential((Flatten(), Dense(4), Activation(Erf()), Dense(2)))
    params, options = start(network, (2, 3, 1)), {"augmentation": CropFlip(1)}
    whole = run(network, params, images, **options)
    parts = run(network, params, images, **options, accumulate=3)
    assert_trees_close((parts.params, parts.loss), (whole.params, whole.loss))


@pytest.mark.slow
def test_parts_have_the_penalty_of_the_whole():
    network = mlp(depth=1, width=4, outputs=2, activation=Erf())
    params, options = start(network), {"jacobian_penalty": JacobianPenalty(0.3)}
    whole = run(network, params, **options)
    parts = run(network, params, **options, accumulate=6)
    assert_trees_close((parts.params, parts.penalty), (whole.params, whole.penalty))


def test_statistics_are_those_of_the_parts_one_after_the_other():
    """One step of a linear network behind a normalisation, by hand."""
    network = Sequential((BatchNorm(0.3), Dense(2)))
    params = start(network)
    found = run(
        network, params, X[:6], TARGETS[:6], epochs=1, accumulate=2,
        optimizer=optax.sgd(0.1),
    )  # fmt: skip
    for seed in range(2):
        drawn = jax.random.fold_in(KEYS[seed], 0)
        order = np.asarray(jax.random.permutation(drawn, 6))
        weight = np.asarray(params[1]["weight"][seed])
        mean, variance, slope, losses = np.zeros(D), np.ones(D), 0.0, []
        for rows in order.reshape(2, 3):
            x, y = np.asarray(X)[rows], np.asarray(TARGETS)[rows]
            mean = 0.7 * mean + 0.3 * x.mean(0)
            variance = 0.7 * variance + 0.3 * x.var(0, ddof=1)
            z = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
            rest = z @ weight - y
            losses.append(0.5 * (rest**2).sum(1).mean())
            slope = slope + z.T @ rest / 3 / 2
        kept = found.params[0]["statistics"]
        np.testing.assert_allclose(kept["mean"][seed], mean, rtol=1e-10)
        np.testing.assert_allclose(kept["variance"][seed], variance, rtol=1e-10)
        moved = found.params[1]["weight"][seed]
        np.testing.assert_allclose(moved, weight - 0.1 * slope, rtol=1e-10)
        np.testing.assert_allclose(found.loss[seed, 0], np.mean(losses), rtol=1e-10)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (4, r"to divide the batch. Got `accumulate=4` and `batch_size=6`.*`.*=1 \* 4`"),
        (12, "`accumulate=12` and `batch_size=6`"),
        (0, "`accumulate >= 1`. Got `accumulate=0`"),
        (1.5, "whole number as `accumulate`"),
    ],
)
def test_parts_that_do_not_divide_the_batch_are_refused(parts, message):
    network = mlp(depth=1, width=4, outputs=2)
    with unchecked(), pytest.raises(ValueError, match=message):
        run(network, start(network), accumulate=parts)
