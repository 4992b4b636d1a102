"""The smallest radius of an attack: closed forms, censoring, and its contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.attacks import (
    PGD,
    FlipStatus,
    GradientStep,
    SmallestRadius,
    attack,
    minimal_flip,
    smallest_radius,
)
from widelimit.networks import wang2022_network

W = np.array([0.5, -2.0, 1.0, 3.0])
X = np.array([[1.0, 0.5, -0.25, 0.75], [-1.0, 2.0, 0.5, 0.25], [0.0, 1.0, 1.0, -2.0]])
SIGNS = np.sign(X @ W)[:, None]


def linear(w, x):
    return x @ w[:, None]


def shell(radius, x):
    """Positive inside a sphere around zero, and behind another, 1.7 times as large."""
    size = jnp.sqrt(jnp.sum(jnp.square(x), axis=1))
    return ((radius - size) * (1.7 * radius - size))[:, None]


@pytest.mark.parametrize("norm, dual, steps", [("l2", 2, 7), ("linf", 1, 1)])
def test_a_linear_model_flips_at_its_margin_over_the_dual_norm(norm, dual, steps):
    expected = np.abs(X @ W) / np.linalg.norm(W, dual)
    found = smallest_radius(
        PGD(1.0, norm, steps=steps), linear, jnp.asarray(W), X, SIGNS, high=5.0
    )
    assert found.flipped.all()
    np.testing.assert_allclose(found.distance, expected, rtol=2e-3)
    assert (np.asarray(found.distance) > expected).all()
    assert (found.failed < expected).all()
    assert (found.distance - found.failed <= 1e-3 * found.distance).all()


@pytest.mark.slow
def test_the_single_step_is_the_minimal_flip_and_points_keep_the_contract(getkey):
    network = wang2022_network(width=64)
    params = network.init(getkey(), (6,))
    x = jax.random.uniform(getkey(), (9, 6), minval=0.1, maxval=0.9)
    x = x.astype(jnp.float32)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    y = jnp.sign(network(params, x))
    high = np.linspace(1.0, 2.0, 9)

    def run(method):
        return smallest_radius(method, network, params, x, y, high=high, batch_size=4)

    step = run(GradientStep(9.0, 1.0, rule="normalized"))
    flip = minimal_flip(network, params, x, max_distance=1.0)
    both = np.asarray(step.flipped & flip.flipped)
    assert both.sum() > 3
    # The bisection may end behind a later crossing of the ray, never before the first.
    ratio = np.asarray(step.distance / flip.distance)[both]
    assert (ratio > 1 - 1e-4).all() and np.median(ratio) < 1 + 2e-3

    found = run(PGD(1.0, steps=10, restarts=2, low=0.0, high=1.0))
    points, distance = np.asarray(found.adversarial), np.asarray(found.distance)
    moved = np.linalg.norm(points.astype(float) - np.asarray(x, float), axis=1)
    flipped = np.asarray(found.flipped)
    assert flipped.any() and points.min() >= 0 and points.max() <= 1
    assert (moved <= high).all()
    np.testing.assert_allclose(moved[flipped], distance[flipped], rtol=1e-5)
    again = np.asarray(network(params, jnp.asarray(points)) * y)[:, 0]
    assert (again[flipped] < 0).all() and (again[~flipped] > 0).all()
    np.testing.assert_array_equal(distance[~flipped], high.astype("f4")[~flipped])
    other = run(PGD(7.0, steps=10, restarts=2, low=0.0, high=1.0))
    np.testing.assert_array_equal(other.adversarial, points)  # its radius is not used


def test_a_shell_is_reached_although_the_largest_radius_steps_over_it():
    x = np.array([[0.3, 0.4], [0.6, -0.8], [0.0, 0.5]])
    y = np.ones((3, 1))
    method = GradientStep(99.0, 1.0, rule="normalized")
    found = smallest_radius(method, shell, 2.0, x, y, high=4.0, tolerance=1e-6)
    expected = 2 - np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(found.distance, expected, rtol=2e-6)
    none = smallest_radius(method, shell, 2.0, x, y, high=4.0, halvings=0)
    assert none.censored.all()
    np.testing.assert_array_equal(none.adversarial, x)


def test_what_does_not_flip_is_censored_and_counts():
    x = np.array([[0.3, 0.4], [1.5, 0.0], [2.2, 0.0]])
    found = smallest_radius(PGD(1.0), shell, 2.0, x, np.ones((3, 1)), high=1.2)
    assert isinstance(found, SmallestRadius)
    status = [FlipStatus(int(s)) for s in found.status]
    wrong = FlipStatus.WRONG_BEFORE
    assert status == [FlipStatus.CENSORED, FlipStatus.FLIPPED, wrong]
    np.testing.assert_allclose(found.distance, [1.2, 0.5, 0.0], rtol=2e-3)
    assert found.mean_lower_bound() < 0.6 and found.median() < 0.51
    np.testing.assert_allclose(found.relative_distance[1], 0.5 / 1.5, rtol=2e-3)

    lost = smallest_radius(
        PGD(1.0), lambda p, x: p * linear(jnp.asarray(W), x), np.nan, X, SIGNS, high=1.0
    )
    assert (lost.status == FlipStatus.NOT_FINITE).all()
    assert np.isnan(np.asarray(lost.distance)).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"high": 0.0}, "`smallest_radius` needs a finite `high > 0`. Got `high=0.0`"),
        ({"high": -1.0}, "`high > 0`. Got `high=-1.0`"),
        ({"high": np.inf}, "`high > 0`. Got `high=inf`"),
        ({"tolerance": 2.0}, "needs `tolerance < 1`"),
        ({"key": 3}, "`smallest_radius` needs a random key. Got `key=3`"),
        ({"high": np.ones(2)}, "one for each of the 3 inputs"),
        ({"tolerance": 0.0}, "needs a finite `tolerance > 0`"),
        ({"halvings": -1}, "needs `halvings >= 0`"),
        ({"loss": "hinge"}, "needs `loss` to be one of"),
        ({"batch_size": 0}, "needs `batch_size >= 1`"),
        ({"targets": SIGNS / 2}, "needs labels"),
        ({"targets": SIGNS[:, [0, 0]] > 0}, "needs labels"),
    ],
)
def test_mistakes_are_named(changes, message):
    arguments = {"targets": SIGNS, "high": 1.0} | changes
    with unchecked(), pytest.raises(ValueError, match=message.replace(".", r"\.")):
        smallest_radius(PGD(1.0), linear, jnp.asarray(W), X, **arguments)


def test_a_quantity_that_is_not_there_is_named():
    nothing = jnp.zeros(2)
    found = SmallestRadius(
        distance=nothing, failed=nothing, input_norm=nothing + 1,
        adversarial=jnp.zeros((2, 3)), status=jnp.zeros(2, int), max_distance=nothing,
    )  # fmt: skip
    assert found.median("relative_distance") == 0
    assert str(found) == "2 inputs: 2 flipped; median distance 0, relative 0"
    with unchecked(), pytest.raises(ValueError, match="`SmallestRadius.median` needs"):
        found.median("step")


def test_numbers_that_float32_does_not_hold_are_refused():
    w, x, y = (jnp.asarray(a, jnp.float32) for a in (W, X, SIGNS))
    with pytest.raises(ValueError, match="`high` that float32 holds"):
        smallest_radius(PGD(1.0), linear, w, x, y, high=1e39)
    with pytest.raises(ValueError, match="`radius` that float32 holds"):
        attack(PGD(1e39), linear, w, x, y)
    with pytest.raises(ValueError, match="`max_distance` that float32 holds"):
        minimal_flip(linear, w, x, max_distance=1e39)
    with pytest.raises(ValueError, match="`loss='squared'` for a regression"):
        attack(PGD(1.0), linear, w, x, y, tolerance=0.5, loss="logistic")
