"""Attacks on models whose worst points are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from widelimit.attacks import PGD, attack

N, D, R = 7, 5, 0.3


def linear(params, x):
    return x @ params


def parabola(params, x):
    """Falls from the first axis on to both sides: its gradient at 0 vanishes."""
    return 0.05 - jnp.square(x[:, :1])


@pytest.fixture
def data(getkey):
    x = jax.random.uniform(getkey(), (N, D), minval=0.05, maxval=0.95)
    weights = jax.random.normal(getkey(), (D, 1))
    return x, weights, jnp.sign(jax.random.normal(getkey(), (N, 1)))


@pytest.mark.parametrize("loss", ["margin", "logistic", "squared"])
@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_it_reaches_the_optimum_of_a_linear_model(norm, dual, loss, data):
    x, w, y = data
    found = attack(PGD(R, norm, steps=50), linear, w, x, y, loss=loss)
    rise = R * np.linalg.norm(np.asarray(w)[:, 0], dual)
    margins = np.asarray(-y * linear(w, x))[:, 0] + rise
    worst = np.asarray(-y * linear(w, jnp.asarray(found.points)))[:, 0]
    if loss == "squared":  # either side of the target may be worse
        losses = 0.5 * (margins + 1) ** 2
        other = 0.5 * (margins - 2 * rise + 1) ** 2
        assert np.all(found.loss_after >= np.minimum(losses, other) * (1 - 1e-9))
        assert np.mean(found.loss_after >= losses * (1 - 1e-9)) > 0.4
    else:
        np.testing.assert_allclose(worst, margins, rtol=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_reaches_the_optimum_in_a_box(norm, data):
    """Against a general-purpose solver of the constrained problem."""
    x, w, y = data
    method = PGD(0.6, norm, steps=400, low=0.0, high=1.0)
    found = attack(method, linear, w, x, y)
    for i in range(3):
        start, slope = np.asarray(x[i]), np.asarray(-y[i, 0] * w[:, 0])
        low, high = np.zeros(D), np.ones(D)
        if norm == "linf":
            low, high = np.maximum(low, start - 0.6), np.minimum(high, start + 0.6)
        ball = {
            "type": "ineq",
            "fun": lambda z, s=start: 0.36 - np.sum((z - s) ** 2),
        }
        best = scipy.optimize.minimize(
            lambda z, s=slope: -s @ z,
            start,
            bounds=list(zip(low, high, strict=True)),
            constraints=[ball] if norm == "l2" else [],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        np.testing.assert_allclose(found.loss_after[i], -best.fun, rtol=2e-3)
        assert found.loss_after[i] <= -best.fun + 1e-6


@pytest.mark.slow
def test_random_starts_find_what_the_gradient_hides():
    x, y = jnp.zeros((4, 3)), jnp.ones((4, 1))
    plain = attack(PGD(0.5), parabola, (), x, y)
    assert plain.vanishing_gradient.all() and not plain.success.any()
    assert "no gradient" in plain.warnings[0]
    again = attack(PGD(0.5, restarts=3), parabola, (), x, y)
    assert again.success.all() and not again.warnings
    np.testing.assert_allclose(again.loss_after, 0.2, rtol=0.05)


def test_random_starts_fill_the_ball(getkey):
    """The share of the volume within a distance is uniform; so are coordinates."""
    n, d = 400, 4
    x, y = jnp.zeros((n, d)), jnp.ones((n, 1))

    def flat(_, points):
        return 1 - 1e-9 * jnp.sum(jnp.abs(points), axis=1, keepdims=True)

    for norm in ("l2", "linf"):
        method = PGD(2.0, norm, steps=1, step_size=1e-9, random_start=True)
        points = attack(method, flat, (), x, y, key=getkey()).points / 2
        if norm == "l2":
            sample = np.linalg.norm(points, axis=1) ** d
            directions = points / np.linalg.norm(points, axis=1, keepdims=True)
            error = np.sqrt(1 / d / n)
            assert np.abs(directions.mean(axis=0)).max() < 5 * error
        else:
            sample = (points.ravel() + 1) / 2
        assert scipy.stats.kstest(sample, "uniform").pvalue > 1e-4


def test_it_says_when_more_steps_would_help(data):
    x, w, y = data
    slow = attack(PGD(R, steps=20, step_size=R / 100), linear, w, x, y)
    assert slow.rising.all() and (np.abs(slow.distance - R / 5) < 1e-9).all()
    kept = slow.correct_before & slow.correct_after
    assert kept.any() and any("take more steps" in text for text in slow.warnings)
    assert "under attack" in str(slow)
    assert not attack(PGD(R, steps=20), linear, w, x, y).rising.any()


def test_a_saturated_loss_hides_what_the_margin_shows(data):
    x, w, _ = data
    w, x = w.astype(jnp.float32), x.astype(jnp.float32)
    y = jnp.sign(linear(w, x))
    sure = 2000 * w / jnp.abs(linear(w, x)).min()
    hidden = attack(PGD(9.0, steps=9), linear, sure, x, y, loss="logistic")
    assert hidden.vanishing_gradient.all() and hidden.robust_accuracy.value == 1
    seen = attack(PGD(9.0, steps=9), linear, sure, x, y)
    assert not seen.vanishing_gradient.any() and seen.robust_accuracy.value == 0


@pytest.mark.parametrize("value", [jnp.nan, -jnp.inf])
def test_losses_that_are_not_finite(value):
    """NaN is never chosen, and told; an infinite loss is a success."""
    x, y = jnp.full((3, 2), 0.5), jnp.ones((3, 1))

    def pole(_, points):
        return jnp.where(points[:, :1] < 0.3, value, points[:, :1])

    found = attack(PGD(0.4, steps=40), pole, (), x, y)
    if np.isnan(value):
        assert np.isfinite(found.loss_after).all() and (found.loss_after > -0.4).all()
        assert found.undefined.all() and not found.success.any()
        assert any("was NaN" in text for text in found.warnings)
    else:
        assert (found.loss_after == np.inf).all() and found.success.all()
        assert not found.undefined.any()
