"""Stability in the limit, against sampling of networks and of perturbations."""

import jax
import mpmath
import numpy as np
import pytest
import scipy.special

from oracles import assert_mean_matches, unchecked
from widelimit.activations import Erf
from widelimit.networks import kim2023_network, mlp
from widelimit.prediction import (
    Prediction,
    initial_stability,
    prior,
    robust_flow,
    trained_stability,
)
from widelimit.prediction.stability import mean_norm

N, D, EPS = 5, 2, 0.3
NET = kim2023_network(depth=2, width=3, activation=Erf(), kappa=0.7)
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(2, N, D))
Y = RNG.normal(size=N)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def in_ball(rng, shape, d, radius):
    """Uniform points of the ball, by rejection from the cube."""
    points = rng.uniform(-1, 1, size=(*shape, 40, d))
    inside = (points**2).sum(-1) <= 1
    first = inside.argmax(-1)[..., None, None]
    assert inside.any(-1).all()
    return radius * np.take_along_axis(points, first, axis=-2)[..., 0, :]


def test_wide_networks_at_initialisation_have_it():
    width, draws, outputs = 96, 1500, 2
    x = np.array([[0.6, -0.8], [1.5, 0.2]])
    unit = np.sqrt(2 / np.pi * np.arcsin(2 / 3))  # of erf under N(0, 1)
    rng = np.random.default_rng(1)
    moves = in_ball(rng, (draws, len(x)), D, EPS)
    changes = []
    for move in moves:
        h, slope = x, move  # values at both inputs, and derivatives by their moves
        fan_in = 1
        for _ in range(2):
            w = rng.normal(size=(h.shape[1], width)) / fan_in**0.5
            u, fan_in = h @ w, width
            h = scipy.special.erf(u) / unit
            slope = 2 / np.pi**0.5 * np.exp(-(u**2)) / unit * (slope @ w)
        changes.append(slope @ rng.normal(size=(width, outputs)) / width**0.5)
    net = kim2023_network(depth=2, width=width, activation=Erf(), outputs=outputs)
    found = initial_stability(net, x, radius=EPS)
    norms = np.linalg.norm(changes, axis=-1)
    assert_mean_matches(norms, found, bias=0.5 / width * found)


@pytest.mark.parametrize(("d", "outputs"), [(1, 1), (3, 2)])
def test_of_a_linear_network_it_is_a_mean_of_norms(d, outputs):
    net = mlp(depth=0, width=1, outputs=outputs, weight_std=1.3)
    found = initial_stability(net, np.ones((2, d)), radius=EPS)
    half = mpmath.mpf(1) / 2
    mean = mpmath.sqrt(2) * mpmath.gamma(outputs * half + half)
    mean = float(mean / mpmath.gamma(outputs * half))
    np.testing.assert_allclose(found, EPS * d / (d + 1) * mean * 1.3 / d**0.5)


def test_after_training_it_is_that_of_the_gradient():
    y = np.stack([Y, -Y[::-1]], axis=1)
    flow = robust_flow(NET, X, y, regularization=0.3)
    gradients = flow.at(NEW).gradients
    moves = in_ball(np.random.default_rng(1), (20_000, 1), D, EPS)
    changes = np.einsum("nod,knd->kno", gradients, moves)
    found = trained_stability(flow, NEW, radius=EPS)
    assert_mean_matches(np.linalg.norm(changes, axis=-1), found)
    one = robust_flow(NET, X, Y, regularization=0.3)
    found = trained_stability(one, NEW, radius=EPS)
    assert_mean_matches(np.abs(changes[..., 0]), found)


@pytest.mark.parametrize("regularization", [0.0, 0.3])
def test_after_a_random_start_it_is_a_mean_over_starts(regularization, getkey):
    draws, time, test = 3000, 20.0, N
    both = prior(NET, np.concatenate([X, NEW[:test]])).samples(getkey(), draws)
    start, there = (
        Prediction(both.values[:, k].T, both.gradients[:, k].transpose(1, 0, 2))
        for k in (slice(N), slice(N, None))
    )
    # As many outputs as draws, which train without seeing each other.
    y = np.repeat(Y[:, None], draws, axis=1)
    many = robust_flow(NET, X, y, regularization=regularization, initial=start)
    gradients = many.at(NEW[:test], time, initial=there).gradients
    moves = in_ball(np.random.default_rng(1), (test, draws), D, EPS)
    changes = np.abs(np.sum(gradients * moves, axis=-1)).T
    flow = robust_flow(NET, X, Y, regularization=regularization)
    found = trained_stability(flow, NEW[:test], time, radius=EPS, random_start=True)
    assert_mean_matches(changes, found)


@pytest.mark.parametrize(("m", "s"), [(0.0, 2.0), (3.0, 0.5), (1.0, 0.0), (1e3, 1.0)])
def test_mean_norms_of_gaussians(m, s):
    folded = abs(m)
    if s:
        z = mpmath.mpf(m) / s
        folded = s * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-z * z / 2)
        folded += m * mpmath.erf(z / mpmath.sqrt(2))
    found = mean_norm(np.array([m]), np.array([[s * s]]))
    assert found == pytest.approx(float(folded), rel=1e-12)
    # In three dimensions |g| has a closed form too.
    if m and s:
        z = mpmath.mpf(m) / s
        three = mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-z * z / 2)
        three += (z + 1 / z) * mpmath.erf(z / mpmath.sqrt(2))
        found = mean_norm(np.array([0.6 * m, 0.0, 0.8 * m]), s * s * np.eye(3))
        assert found == pytest.approx(float(s * three), rel=1e-12)


def test_it_refuses():
    with pytest.raises(ValueError, match="`initial_stability` needs a finite `radius"):
        initial_stability(NET, X, radius=-1.0)
    flow = robust_flow(NET, X, np.stack([Y, Y], axis=1))
    with pytest.raises(ValueError, match="one output that starts from zero"):
        trained_stability(flow, NEW, random_start=True)


def test_one_time_only():
    training = robust_flow(NET, X, Y)
    with unchecked(), pytest.raises(ValueError, match="needs a number as `time`"):
        trained_stability(training, NEW, np.array([0.5, 1.0]))
    with unchecked(), pytest.raises(ValueError, match="`predictor` needs a number"):
        training.predictor(np.array([0.5, 1.0]))
