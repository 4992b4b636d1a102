"""Losses against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from oracles import unchecked
from widelimit.losses import LOSSES, logistic, loss_function

RNG = np.random.default_rng(3)
ONE_HOT = np.eye(3)[[1, 2, 2, 0]]
CASES = {
    "cross-entropy": (RNG.normal(size=(4, 3)), ONE_HOT),
    "squared": (RNG.normal(size=(4, 3)), ONE_HOT + 0.3),
    "logistic": (RNG.normal(size=(4, 1)), np.array([[1.0], [-1.0], [-1.0], [1.0]])),
}


@pytest.mark.parametrize("name", CASES)
def test_one_value_per_row(name):
    outputs, targets = CASES[name]
    values = loss_function(name)(jnp.asarray(outputs), jnp.asarray(targets))
    expected = [
        oracles.loss_and_slope(name, outputs[[i]], targets[[i]])[0] for i in range(4)
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_slopes(name):
    outputs, targets = CASES[name]
    mean = lambda f: jnp.mean(loss_function(name)(f, jnp.asarray(targets)))  # noqa: E731
    _, expected = oracles.loss_and_slope(name, outputs, targets)
    np.testing.assert_allclose(
        jax.grad(mean)(jnp.asarray(outputs)), expected, rtol=1e-12
    )


@pytest.mark.parametrize("name", CASES)
def test_large_outputs_do_not_overflow(name):
    _, targets = CASES[name]
    for size in (-800.0, 800.0):
        outputs = jnp.asarray(size * np.ones_like(targets) * np.arange(1, 5)[:, None])
        outputs = outputs.at[:, 0].multiply(0.5)
        value, slope = jax.value_and_grad(
            lambda f: jnp.mean(loss_function(name)(f, jnp.asarray(targets)))
        )(outputs)
        assert np.isfinite(value) and np.isfinite(slope).all()


def test_the_margin_is_how_far_the_decision_is_wrong():
    outputs, targets = CASES["cross-entropy"]
    found = loss_function("margin")(jnp.asarray(outputs), jnp.asarray(targets))
    for row, target, value in zip(outputs, targets, found, strict=True):
        right = int(target.argmax())
        assert value == np.delete(row, right).max() - row[right]
    outputs, targets = CASES["logistic"]
    found = loss_function("margin")(jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_array_equal(found, -(outputs * targets)[:, 0])


def test_cross_entropy_takes_soft_targets():
    outputs, targets = CASES["cross-entropy"][0], RNG.dirichlet(np.ones(3), size=4)
    values = loss_function("cross-entropy")(jnp.asarray(outputs), jnp.asarray(targets))
    expected, _ = oracles.loss_and_slope("cross-entropy", outputs, targets)
    np.testing.assert_allclose(values.mean(), expected, rtol=1e-12)


def test_names():
    assert LOSSES.keys() == {*CASES, "margin"}
    message = "'squared', 'logistic', 'margin'. Got `loss='hinge'`"
    with unchecked(), pytest.raises(ValueError, match=message):
        loss_function("hinge")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "shapes", [((4, 3), (4, 3)), ((4, 1), (4, 3)), ((4, 3), (4, 1))]
)
def test_logistic_takes_one_column(shapes):
    outputs, targets = map(jnp.ones, shapes)
    message = r"`logistic` needs one output.*Got `outputs.shape=\(4, [13]\)`"
    with unchecked(), pytest.raises(ValueError, match=message):
        logistic(outputs, targets)


def test_cross_entropy_needs_two_outputs():
    column = jnp.ones((3, 1))
    with pytest.raises(ValueError, match="use the loss `logistic`"):
        loss_function("cross-entropy")(column, column)
