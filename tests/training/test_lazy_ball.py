"""The ball of the lazy regime, by brute force over its units."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.activations import ReLU
from widelimit.layers import Activation, Dense, Sequential
from widelimit.networks import wang2022_network
from widelimit.training import (
    LazyBall,
    cone,
    lazy_projection,
    lazy_radius,
    projected_sgd,
)

D, M = 5, 12


def moved(params, getkey, size, dtype=None):
    def shift(array):
        noise = jax.random.normal(getkey(), array.shape, array.dtype)
        return array + jnp.asarray(size, array.dtype) * noise

    return jax.tree.map(shift, params)


def largest(params, initial):
    """In float64, unit by unit; the bias belongs to its unit."""
    found = 0.0
    for now, then in zip(params, initial, strict=True):
        for unit in range(next(iter(now.values())).shape[-1] if now else 0):
            gaps = [
                np.ravel(np.float64(now[k][..., unit]) - np.float64(then[k][..., unit]))
                for k in now
            ]
            found = max(found, np.sqrt(np.sum(np.concatenate(gaps) ** 2)))
    return found


@pytest.fixture
def network():
    layers = (Dense(M, bias_std=0.4), Activation(ReLU()), Dense(3, bias_std=0.1))
    return Sequential(layers)


@pytest.fixture
def params(network, getkey):
    return network.init(getkey(), (D,))


def test_the_distance_is_that_of_the_unit_that_moved_most(params, getkey):
    now = moved(params, getkey, 0.3)
    found = LazyBall(params, 1.0).distance(now)
    np.testing.assert_allclose(found, largest(now, params), rtol=1e-12)
    assert not LazyBall(params, 0.99 * float(found)).contains(now)
    assert LazyBall(params, 1.01 * float(found)).contains(now)


@pytest.mark.slow
def test_wide_networks_are_summed_row_after_row(getkey):
    params = ({"weight": jax.random.normal(getkey(), (260, 4200))},)
    now = moved(params, getkey, 0.3)
    gaps = np.asarray(now[0]["weight"] - params[0]["weight"])
    expected = np.linalg.norm(gaps, axis=0)
    found = LazyBall(params, 1.0).distance(now)
    np.testing.assert_allclose(found, expected.max(), rtol=1e-12)
    kept = LazyBall(params, float(np.median(expected))).project(now)
    assert largest(kept, params) <= np.median(expected)


@pytest.mark.parametrize(
    "radius", [pytest.param(0.5, marks=pytest.mark.slow), 1e-4, 1e-7]
)
def test_projections_are_inside_to_the_last_bit(params, radius, getkey):
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    now = moved(params, getkey, 0.3)
    ball = LazyBall(params, radius)
    kept = ball.project(now)
    assert ball.contains(kept) and largest(kept, params) <= radius
    assert largest(kept, params) > 0.99 * radius or radius < 1e-6
    again = ball.project(kept)
    assert jax.tree.all(jax.tree.map(lambda a, b: jnp.all(a == b), kept, again))


def test_projection_moves_units_straight_back_and_only_those_outside(params, getkey):
    now = moved(params, getkey, 0.1)
    gaps = now[0]["weight"] - params[0]["weight"], now[0]["bias"] - params[0]["bias"]
    sizes = jnp.sqrt(jnp.sum(gaps[0] ** 2, axis=0) + gaps[1] ** 2)
    radius = float(jnp.median(sizes))
    kept = LazyBall(params, radius).project(now)
    factor = jnp.minimum(1.0, radius / sizes)
    weight = params[0]["weight"] + factor * gaps[0]
    np.testing.assert_allclose(kept[0]["weight"], weight, rtol=1e-12)
    stay = np.asarray(sizes < 0.999 * radius)
    assert 0 < stay.sum() < M
    assert jnp.all(kept[0]["weight"][:, stay] == now[0]["weight"][:, stay])


@pytest.mark.parametrize("radius", [0.05, 1e-4])
def test_training_with_the_projection_stays_in_the_ball(radius, getkey):
    network = wang2022_network(width=M)
    params = network.init(getkey(), (D,))
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    optimizer = optax.chain(optax.sgd(1.0), lazy_projection(radius))
    state, now = optimizer.init(params), params
    for _ in range(5):
        gradient = jax.tree.map(
            lambda a: jax.random.normal(getkey(), a.shape, a.dtype), now
        )
        gradient[-1]["signs"] *= 0
        updates, state = optimizer.update(gradient, state, now)
        now = optax.apply_updates(now, updates)
        assert largest(now, params) <= radius
    assert largest(now, params) > 0.9 * radius


def test_the_projection_can_wait_for_the_end_of_an_epoch(params, getkey):
    optimizer = optax.chain(optax.sgd(1.0), lazy_projection(0.01, every=3))
    state, now, inside = optimizer.init(params), params, []
    for _ in range(6):
        updates, state = optimizer.update(moved(params, getkey, 1.0), state, now)
        now = optax.apply_updates(now, updates)
        inside.append(bool(LazyBall(params, 0.01).contains(now)))
    assert inside == [False, False, True] * 2


@pytest.mark.parametrize("radius", [0.01, None])
def test_projected_sgd_is_sgd_and_the_projection(params, getkey, radius):
    chain = [optax.sgd(0.3)]
    chain += [] if radius is None else [lazy_projection(radius, every=2)]
    both = optax.chain(*chain), projected_sgd(0.3, radius, every=2)
    states, now = [one.init(params) for one in both], [params] * 2
    for _ in range(4):
        gradient = moved(params, getkey, 1.0)
        for i, one in enumerate(both):
            updates, states[i] = one.update(gradient, states[i], now[i])
            now[i] = optax.apply_updates(now[i], updates)
        for a, b in zip(*map(jax.tree.leaves, now), strict=True):
            np.testing.assert_array_equal(a, b)
    assert bool(LazyBall(params, 0.01).contains(now[1])) == (radius is not None)


def test_the_cone_holds_every_multiple_of_the_ball(getkey):
    network = wang2022_network(width=M)
    params = network.init(getkey(), (D,))
    ball = LazyBall(params, 0.02)
    now = (moved(params[0], getkey, 1.0), *params[1:])
    now = LazyBall(params, 0.019).project(now)
    far = ({"weight": 3.5 * now[0]["weight"]}, *params[1:])
    found = cone(ball, far)
    assert not ball.contains(far) and found.contains
    scales = np.exp(np.linspace(-3, 1, 4001))
    weights = scales[:, None, None] * np.asarray(far[0]["weight"])
    gaps = np.linalg.norm(weights - np.asarray(params[0]["weight"]), axis=1).max(axis=1)
    assert found.distance <= gaps.min() + 1e-12
    refined = 1 / 3.5 + np.linspace(-1e-4, 1e-4, 4001)
    weights = refined[:, None, None] * np.asarray(far[0]["weight"])
    gaps = np.linalg.norm(weights - np.asarray(params[0]["weight"]), axis=1).max(axis=1)
    assert found.distance <= gaps.min() + 1e-12
    np.testing.assert_allclose(found.scale, 1 / 3.5, rtol=0.02)
    away = (moved(params[0], getkey, 1.0), *params[1:])
    assert not cone(ball, away).contains
    assert cone(ball, params) == (1.0, 0.0, True)
    turned = cone(ball, ({"weight": -params[0]["weight"]}, *params[1:]))
    assert turned.scale == 0 and not turned.contains


def test_the_radius_of_the_paper():
    assert lazy_radius(10.0, 400) == 0.5
    for constant, width in [(0.0, 4), (-1.0, 4), (float("inf"), 4), (1.0, 0)]:
        with pytest.raises(ValueError, match="lazy_radius"):
            lazy_radius(constant, width)


def test_bad_input_is_refused(params):
    for wrong in (-1.0, np.float32(0), jnp.asarray(jnp.nan), jnp.inf, "a", None):
        with unchecked(), pytest.raises(ValueError, match="`radius"):
            LazyBall(params, wrong)
        with unchecked(), pytest.raises(ValueError, match="`radius"):
            lazy_projection(wrong)
    with pytest.raises(ValueError, match="finite `radius > 0`"):
        lazy_projection(0.0)
    with pytest.raises(ValueError, match="finite `learning_rate > 0`"):
        projected_sgd(0.0, None)
    with pytest.raises(ValueError, match="of one network, of the shapes at its start"):
        LazyBall(params, 1.0).distance(params[:1])
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer = lazy_projection(1.0)
        optimizer.update(params, optimizer.init(params))
    assert not LazyBall(params, 1.0).contains(
        jax.tree.map(lambda a: a + jnp.nan, params)
    )
