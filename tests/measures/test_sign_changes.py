"""Units that change sign, against every weight and perturbation tried in turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.measures import possible_sign_changes, sign_changes
from widelimit.networks import wang2022_network

KEY = jax.random.key


def params_of(weight):
    m = weight.shape[1]
    return ({"weight": jnp.asarray(weight)}, {}, {"signs": jnp.ones((m, 1))})


def points(random, d, size, count):
    """Points of a ball, most of them on its sphere."""
    u = random.normal(size=(count, d))
    u *= size / np.linalg.norm(u, axis=1, keepdims=True)
    u[::4] *= random.uniform(size=(len(u[::4]), 1))
    return np.concatenate([u, np.zeros((1, d))])


def tried(weight, x, V, R, random):
    """How many units some pair of a change and a perturbation turns, of those tried."""
    d, m = weight.shape
    found = np.zeros(m, bool)
    deltas = points(random, d, R, 400 if R else 0)
    vs = points(random, d, V, 400)
    for u in x + deltas:
        # Along u and against it is the best that a change can do: included.
        own = V * np.stack([u, -u]) / np.linalg.norm(u)
        changes = np.concatenate([vs, own]) @ u
        start = weight.T @ u
        found |= ((start[:, None] + changes > 0) != (start > 0)[:, None]).any(1)
    return found.sum()


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("R", [0.0, 0.3])
def test_all_weights_and_perturbations_in_turn(d, R):
    random, m, V = np.random.default_rng(d), 300, 0.2
    weight = random.normal(size=(d, m))
    x = random.normal(size=(2, d))
    x *= np.array([[1.0], [0.7]]) / np.linalg.norm(x, axis=1, keepdims=True)
    params = params_of(weight)
    most = possible_sign_changes(params, x, V, R)
    least = possible_sign_changes(params, x, 0.97 * V, 0.97 * R)  # the grid is coarse
    counts = np.array([tried(weight, row, V, R, random) for row in x])
    assert (np.asarray(least) <= counts).all() and (counts <= np.asarray(most)).all()
    assert (counts > 20).all() and (np.asarray(most) < m - 20).all()
    scaled = possible_sign_changes(params_of(5 * weight), 3 * x, 5 * V, 3 * R)
    np.testing.assert_array_equal(scaled, most)


def test_the_boundary_belongs_to_units_that_are_on():
    # Units at 1/4 and -1/4 with V = 1/4: the first reaches 0, which is off; the second
    # reaches 0, which is off as well. A unit at 0 can go on.
    weight = np.array([[0.25, -0.25, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]])
    counts = [
        possible_sign_changes(params_of(weight[:, i : i + 1]), np.eye(2)[:1], 0.25)
        for i in range(4)
    ]
    np.testing.assert_array_equal(np.concatenate(counts), [1, 0, 1, 0])


def test_changes_that_happened_are_among_the_possible_ones(getkey):
    network = wang2022_network(width=400)
    initial = network.init(getkey(), (6,))
    x = jax.random.normal(getkey(), (9, 6))
    moved = 0.1 * jax.random.normal(getkey(), (6, 400))
    params = ({"weight": initial[0]["weight"] + moved}, *initial[1:])
    counts = sign_changes(params, initial, x, batch_size=4)
    a, b = (np.asarray(p[0]["weight"]) for p in (params, initial))
    rows = np.asarray(x)
    np.testing.assert_array_equal(counts, ((rows @ a > 0) != (rows @ b > 0)).sum(1))
    V = float(jnp.linalg.norm(moved, axis=0).max())
    possible = possible_sign_changes(initial, x, V)
    assert (counts <= possible).all() and (counts > 5).all()
    wider = possible_sign_changes(initial, x, V, 0.1)
    assert (wider >= possible).all() and (wider > possible).any()
    blocks = possible_sign_changes(initial, x, V, 0.1, batch_size=2)
    np.testing.assert_array_equal(blocks, wider)
    assert not sign_changes(initial, initial, x).any()


def test_two_inputs_at_an_angle_differ_in_that_share_of_units(getkey):
    m, angle = 40_000, 0.4
    initial = wang2022_network(width=m).init(getkey(), (5,))
    x = np.eye(5)[:2]
    turned = np.cos(angle) * x + np.sin(angle) * np.eye(5)[[3, 4]]
    share = np.asarray(sign_changes(initial, initial, turned, initial_x=x)) / m
    p = angle / np.pi  # the error is Gaussian, 4 of its deviations are allowed
    assert (np.abs(share - p) < 4 * np.sqrt(p * (1 - p) / m)).all()


def test_bad_input_is_named(getkey):
    two, x = wang2022_network(width=4).init(getkey(), (3,)), np.ones((2, 3))
    deep = wang2022_network(width=4, depth=2).init(getkey(), (3,))
    for bad in (deep, two[0], ({"weight": two[0]["weight"]}, {}, {})):
        with pytest.raises(ValueError, match="`initial` of a two-layer network"):
            possible_sign_changes(bad, x, 0.1)
    with pytest.raises(ValueError, match="`params` of a two-layer network"):
        sign_changes(deep, two, x)
    with pytest.raises(ValueError, match="weights of shapes"):
        sign_changes(two, wang2022_network(width=5).init(getkey(), (3,)), x)
    several = pytest.raises(ValueError, match="one row of `initial_x` for each of `x`")
    with unchecked(), several:
        sign_changes(two, two, x, initial_x=x[:1])
    with pytest.raises(ValueError, match="needs one sign per unit in `initial`"):
        possible_sign_changes((two[0], {"signs": jnp.ones((3, 1))}), x, 0.1)
    with pytest.raises(ValueError, match=r"3 features. Got `x.shape=\(2, 4\)`"):
        possible_sign_changes(two, np.ones((2, 4)), 0.1)
    with pytest.raises(ValueError, match="`radius > 0`. Got `radius=0.0`"):
        possible_sign_changes(two, x, 0.0)
    with pytest.raises(ValueError, match="`delta >= 0`"):
        possible_sign_changes(two, x, 0.1, -1.0)
    with pytest.raises(ValueError, match="inputs longer than `delta`"):
        possible_sign_changes(two, np.concatenate([x, 0 * x]), 0.1)
