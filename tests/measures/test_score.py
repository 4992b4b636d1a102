"""Accuracy and loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.measures import score

OUTPUTS = np.array(
    [[0.3, 1.2, -2.0], [2.1, 0.4, 2.0], [0.1, 0.2, 0.3], [5.0, 4.0, 1.0]]
)
ONE_HOT = np.eye(3)[[1, 2, 2, 0]]  # wrong in the second row alone


def test_one_hot_targets():
    result = score(jnp.asarray(OUTPUTS), jnp.asarray(ONE_HOT), loss="cross-entropy")
    assert result.accuracy == 0.75
    shares = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
    expected = -np.mean([np.log(shares[i, j]) for i, j in enumerate([1, 2, 2, 0])])
    np.testing.assert_allclose(result.loss, expected, rtol=1e-12)


def test_one_hot_targets_with_the_squared_loss():
    result = score(jnp.asarray(OUTPUTS), jnp.asarray(ONE_HOT), loss="squared")
    assert result.accuracy == 0.75
    expected = 0.5 * ((OUTPUTS - ONE_HOT) ** 2).sum() / 4
    np.testing.assert_allclose(result.loss, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_signs(loss):
    f = np.array([[0.3], [-1.2], [0.0], [-0.1], [2.0]])
    y = np.array([[1.0], [1.0], [1.0], [-1.0], [-1.0]])
    result = score(jnp.asarray(f), jnp.asarray(y), loss=loss)
    assert result.accuracy == pytest.approx(2 / 5)  # an output of 0 is wrong
    rows = {"squared": 0.5 * (f - y) ** 2, "logistic": np.log1p(np.exp(-f * y))}[loss]
    np.testing.assert_allclose(result.loss, rows.mean(), rtol=1e-12)


def test_float32_stays_float32():
    outputs = jnp.asarray(OUTPUTS, jnp.float32)
    result = score(outputs, jnp.asarray(ONE_HOT, jnp.float32), loss="squared")
    assert result.accuracy.dtype == result.loss.dtype == jnp.float32


def test_unknown_losses_are_named():
    message = "'squared', 'logistic', 'margin'. Got `loss='hinge'`"
    with unchecked(), pytest.raises(ValueError, match=message):
        score(jnp.ones((2, 1)), jnp.ones((2, 1)), loss="hinge")  # pyright: ignore
