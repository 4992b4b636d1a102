"""The schedules of the papers, epoch by epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.training import step_decay_sgd, zhu2022_sgd

STEPS = 3  # per epoch


def rates(optimizer, epochs):
    """The rate of every step: what the optimizer subtracts from a gradient of 1."""

    def step(state, _):
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimizer.update(jnp.asarray(1.0), state)
        return state, -update

    start = optimizer.init(jnp.asarray(1.0))
    _, moves = jax.lax.scan(step, start, length=epochs * STEPS)
    return np.asarray(moves).reshape(epochs, STEPS)


def test_zhu2022_falls_in_epochs_25_35_and_45():
    expected = [0.001] * 25 + [1e-4] * 10 + [1e-5] * 10 + [1e-6] * 5
    actual = rates(zhu2022_sgd(steps_per_epoch=STEPS), 50)
    np.testing.assert_allclose(
        actual, np.repeat(expected, STEPS).reshape(50, 3), rtol=1e-6
    )


def test_zhu2022_steps_stay_where_they_are_in_a_shorter_or_longer_training():
    short = rates(zhu2022_sgd(steps_per_epoch=STEPS, learning_rate=0.3, epochs=30), 30)
    long = rates(zhu2022_sgd(steps_per_epoch=STEPS, learning_rate=0.3, epochs=60), 60)
    np.testing.assert_array_equal(short, long[:30])
    expected = [0.3] * 25 + [0.03] * 10 + [0.003] * 10 + [3e-4] * 10 + [3e-5] * 5
    np.testing.assert_allclose(long[:, 1], expected, rtol=1e-6)


def test_step_decay():
    optimizer = step_decay_sgd(
        0.7, steps_per_epoch=STEPS, decay=0.5, every=2, after=1, epochs=6
    )
    expected = [0.7, 0.35, 0.35, 0.175, 0.175, 0.0875]
    np.testing.assert_allclose(
        rates(optimizer, 6), np.repeat(expected, STEPS).reshape(6, 3), rtol=1e-6
    )


def test_equal_arguments_give_the_same_object():
    one, other = (zhu2022_sgd(steps_per_epoch=STEPS, epochs=7) for _ in range(2))
    assert one == other and hash(one) == hash(other)
    assert one != zhu2022_sgd(steps_per_epoch=STEPS + 1, epochs=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "`step_decay_sgd` needs a finite `learning_rate > 0`"),
        ({"learning_rate": float("nan")}, "Got `learning_rate=nan`"),
        ({"decay": -0.1}, "Got `decay=-0.1`"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch >= 1`. Got `steps_per_epoch=0`"),
        ({"every": 0}, "`every >= 1`. Got `every=0`"),
    ],
    ids=repr,
)
def test_numbers_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        step_decay_sgd(**{"learning_rate": 0.1, "steps_per_epoch": STEPS} | change)
