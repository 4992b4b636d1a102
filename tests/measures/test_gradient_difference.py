"""The search for the largest change of a gradient, where the largest is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.activations import Polynomial
from widelimit.layers import Activation, Dense, Parameterization, Readout, Sequential
from widelimit.measures import largest_gradient_difference
from widelimit.networks import wang2022_network, zhu2022_network


def test_in_the_plane_it_is_the_largest_over_all_angles(getkey):
    m, R = 40, 0.4
    network = wang2022_network(width=m)
    params = network.init(getkey(), (2,))
    turns = np.array([0.3, 1.7, 4.0, 5.5])
    x = np.stack([np.cos(turns), np.sin(turns)], 1)
    found = largest_gradient_difference(network, params, x, R, getkey(), draws=24)
    w, a = np.asarray(params[0]["weight"]), np.asarray(params[-1]["signs"])[:, 0]

    def gradients(rows):
        return (a * (rows @ w > 0)) @ w.T / m**0.5

    for row, turn, value, delta in zip(x, turns, *_rows(found), strict=True):
        near = turn + np.linspace(-np.arcsin(R), np.arcsin(R), 20001)[1:-1]
        near = np.stack([np.cos(near), np.sin(near)], 1)
        changes = np.linalg.norm(gradients(near) - gradients(row[None]), axis=1)
        np.testing.assert_allclose(value, changes.max(), rtol=1e-12)
        assert np.linalg.norm(delta) <= R * (1 + 1e-12)
        own = gradients(np.stack([row, row + delta]))
        np.testing.assert_allclose(np.linalg.norm(own[1] - own[0]), value, rtol=1e-12)


def test_of_a_quadratic_function_it_is_the_hessians_norm(getkey):
    # f = sum a (w.x)^2 / sqrt(m): the gradient changes by H delta.
    square = Activation(Polynomial((0, 0, 1)))
    m, d, R = 5, 4, 0.25
    direct = Parameterization.DIRECT
    network = Sequential((Dense(m, parameterization=direct), square, Readout()))
    params = network.init(getkey(), (d,))
    x = jax.random.normal(getkey(), (2, d))
    found = largest_gradient_difference(
        network, params, x, R, getkey(), draws=3, iterations=200, steps=1
    )
    w, a = np.asarray(params[0]["weight"]), np.asarray(params[-1]["signs"])[:, 0]
    norm = np.linalg.norm(2 * (a * w) @ w.T / m**0.5, 2)
    np.testing.assert_allclose(found.value, R * norm, rtol=1e-9)


@pytest.mark.slow
def test_more_draws_or_steps_never_find_less(getkey):
    network = wang2022_network(width=50)
    params, x = network.init(getkey(), (6,)), jax.random.normal(getkey(), (4, 6))
    key = getkey()

    def found(draws, steps):
        return largest_gradient_difference(
            network, params, x, 2.0, key, draws=draws, steps=steps, iterations=0
        ).value

    base, draws, steps = found(2, 2), found(6, 2), found(2, 4)
    assert (base <= draws * (1 + 1e-12)).all() and (base < draws).any()
    assert (base <= steps * (1 + 1e-12)).all()


def test_both_ways_of_a_direction_are_tried(getkey):
    # On a line one way leaves the only unit on, the other one turns it off.
    network = wang2022_network(width=1)
    params = network.init(getkey(), (1,))
    params = (*params[:2], {"signs": jnp.ones((1, 1))})  # the gradient is w
    w = params[0]["weight"]
    x = jnp.tile(0.1 * jnp.sign(w), (8, 1))
    found = largest_gradient_difference(
        network, params, x, 0.5, getkey(), draws=1, iterations=0, steps=1
    )
    np.testing.assert_allclose(found.value, abs(w[0, 0]), rtol=1e-12)


@pytest.mark.slow
def test_a_linear_function_has_no_change(getkey):
    network = Sequential((Dense(3), Readout()))
    params = network.init(getkey(), (2,))
    found = largest_gradient_difference(
        network, params, jnp.ones((3, 2)), 0.5, getkey(), batch_size=2
    )
    assert (found.value < 1e-15).all()  # rounding


def test_bad_input_is_named(getkey):
    network, x = wang2022_network(width=4), np.ones((2, 3))
    params = network.init(getkey(), (3,))
    with pytest.raises(ValueError, match="`radius > 0`. Got `radius=0.0`"):
        largest_gradient_difference(network, params, x, 0.0, getkey())
    with pytest.raises(ValueError, match="`draws >= 1`"):
        largest_gradient_difference(network, params, x, 1.0, getkey(), draws=0)
    with pytest.raises(ValueError, match="one output. Got `output_shape=\\(2,\\)`"):
        two = zhu2022_network(depth=1, width=4, outputs=2, initialization="he")
        largest_gradient_difference(two, two.init(getkey(), (3,)), x, 1.0, getkey())


def _rows(found):
    return np.asarray(found.value), np.asarray(found.delta)
