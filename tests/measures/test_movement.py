"""How far parameters have moved, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.measures import lazy_ratio, matrix_movement, relative_movement
from widelimit.networks import mlp


@pytest.fixture
def pair(getkey):
    net = mlp(depth=2, width=6, outputs=3, bias_std=0.4)
    initial = net.init(getkey(), (5,))
    keys = iter(jax.random.split(getkey(), 99))
    params = jax.tree.map(
        lambda p: p + 0.3 * jax.random.normal(next(keys), p.shape), initial
    )
    return params, initial


def norm(array):
    return np.sqrt((np.asarray(array) ** 2).sum())


def test_lazy_ratio_sums_before_it_divides(pair):
    now, start = map(jax.tree.leaves, pair)
    assert len(now) == 6  # three weights and three biases
    moved = sum(norm(a - b) for a, b in zip(now, start, strict=True))
    expected = moved / sum(norm(b) for b in start)
    np.testing.assert_allclose(lazy_ratio(*pair), expected, rtol=1e-13)


def test_relative_movement_names_every_array(pair):
    params, initial = pair
    expected = {
        f"[{i}]['{name}']": norm(params[i][name] - start) / norm(start)
        for i in (0, 2, 4)
        for name, start in initial[i].items()
    }
    actual = relative_movement(params, initial)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-13)


def test_scaling_everything_changes_nothing(pair):
    scaled = [jax.tree.map(lambda p: -7.0 * p, tree) for tree in pair]
    np.testing.assert_allclose(lazy_ratio(*scaled), lazy_ratio(*pair), rtol=1e-13)


def test_arrays_of_any_rank_count_by_their_entries():
    start = {"a": jnp.full((2, 3, 4), 0.5), "b": jnp.full((5,), 2.0)}
    now = {"a": start["a"] + 0.1, "b": start["b"] - 0.3}
    expected = (0.1 * 24**0.5 + 0.3 * 5**0.5) / (0.5 * 24**0.5 + 2 * 5**0.5)
    np.testing.assert_allclose(lazy_ratio(now, start), expected, rtol=1e-13)
    movement = relative_movement(now, start)
    np.testing.assert_allclose(movement["['a']"], 0.2, rtol=1e-13)
    np.testing.assert_allclose(movement["['b']"], 0.15, rtol=1e-13)


def test_nothing_moved_and_nothing_to_begin_with(pair):
    _, initial = pair
    assert lazy_ratio(initial, initial) == 0
    start = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    now = {"w": jnp.ones((2, 3)), "b": jnp.full(3, 0.1)}
    assert relative_movement(now, start)["['b']"] == np.inf
    assert np.isfinite(lazy_ratio(now, start))


def test_tiny_float32_weights_have_a_lazy_ratio():
    start = {"w": jnp.full((3, 2), 3e-25, jnp.float32)}
    now = {"w": jnp.full((3, 2), 4.5e-25, jnp.float32)}
    np.testing.assert_allclose(lazy_ratio(now, start), 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrices_move_in_three_norms(getkey, dtype):
    rng = np.random.default_rng(5)
    moved = [rng.normal(size=shape).astype(dtype) for shape in [(5, 90), (90, 80)]]
    net = mlp(depth=1, width=90, outputs=80, bias_std=0.4)
    start = jax.tree.map(
        lambda p: jnp.zeros(p.shape, dtype), net.init(getkey(), (5,))
    )  # so that the sum does not round
    now = [{**start[0], "weight": moved[0]}, start[1], {**start[2], "weight": moved[1]}]
    found = matrix_movement(type(start)(now), start)
    assert list(found) == ["[0]['weight']", "[2]['weight']"]  # no biases
    for matrix, norms in zip(moved, found.values(), strict=True):
        there = matrix.T.astype(float)  # takes an input h to W h
        for order, value in ((1, norms.one), (2, norms.two), (np.inf, norms.inf)):
            expected = np.linalg.norm(there, order)
            np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_matrices_that_stay_move_by_nothing(getkey):
    start = mlp(depth=1, width=70, outputs=80).init(getkey(), (66,))
    for norms in matrix_movement(start, start).values():
        assert (norms.one, norms.two, norms.inf) == (0, 0, 0)


@pytest.mark.parametrize(
    "params, message",
    [
        ("text", "one structure|real numbers"),
        ({"w": "text"}, "real numbers"),
        ([np.ones((2, 3))], "one structure"),
        ({"w": np.ones((2, 3)), "b": np.ones(3)}, "one structure"),
        ({"w": None}, "one structure"),
        ({"w": np.full((2, 3), 1j)}, "real numbers"),
        ({"w": np.full((2, 3), np.nan)}, "finite numbers in `params`"),
        ({"w": np.ones((3, 2))}, "equal shapes"),
    ],
)
def test_matrices_that_cannot_be_compared_are_named(params, message):
    with unchecked(), pytest.raises(ValueError, match=f"matrix_movement.*({message})"):
        matrix_movement(params, {"w": np.zeros((2, 3))})


def test_a_start_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="finite numbers in `initial`"):
        matrix_movement({"w": np.ones((2, 3))}, {"w": np.full((2, 3), np.inf)})


def test_seeds_are_measured_one_by_one():
    now = {"w": np.random.default_rng(0).normal(size=(3, 4, 2))}
    start = {"w": np.zeros((3, 4, 2))}
    with pytest.raises(ValueError, match="weight matrices.*one seed at a time"):
        matrix_movement(now, start)
    every = [
        matrix_movement(*jax.tree.map(lambda a, s=s: a[s], (now, start)))
        for s in range(3)
    ]
    found = [norms["['w']"].two for norms in every]
    expected = np.linalg.norm(now["w"], 2, axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
