"""Batch normalisation, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.activations import ReLU
from widelimit.kernels import limit_kernels
from widelimit.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Pool,
    Residual,
    Sequential,
    is_statistic,
    with_statistics,
)

SHAPE = (4, 3, 2)  # height, width, channels
LAYER = BatchNorm(momentum=0.3, epsilon=1e-3)


def drawn(getkey, layer=LAYER, shape=SHAPE):
    params = layer.init(getkey(), shape)
    return jax.tree.map(
        lambda a: jnp.abs(a + jax.random.normal(getkey(), a.shape)), params
    )


def written(params, x, mean, variance):
    x, scale, shift = (np.asarray(a) for a in (x, params["scale"], params["shift"]))
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        root = np.sqrt(variance[c] + LAYER.epsilon)
        y[..., c] = scale[c] * (x[..., c] - mean[c]) / root + shift[c]
    return y


def test_evaluation_takes_the_running_statistics(getkey):
    x, params = 2 + jax.random.normal(getkey(), (5, *SHAPE)), drawn(getkey)
    kept = params["statistics"]
    expected = written(params, x, kept["mean"], kept["variance"])
    np.testing.assert_allclose(LAYER.apply(params, x), expected, rtol=1e-12)
    np.testing.assert_allclose(LAYER.apply(params, x[1:2]), expected[1:2], rtol=1e-12)
    fresh = LAYER.init(getkey(), SHAPE)
    np.testing.assert_allclose(LAYER.apply(fresh, x), x / np.sqrt(1.001), rtol=1e-12)


def test_training_takes_those_of_the_batch_and_updates_the_running_ones(getkey):
    x, params = 2 + 3 * jax.random.normal(getkey(), (5, *SHAPE)), drawn(getkey)
    y, new = LAYER.apply_training(params, x)
    rows = np.asarray(x).reshape(-1, 2)
    expected = written(params, x, rows.mean(axis=0), rows.var(axis=0))
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    old, kept = params["statistics"], new["statistics"]
    mean = 0.7 * np.asarray(old["mean"]) + 0.3 * rows.mean(axis=0)
    variance = 0.7 * np.asarray(old["variance"]) + 0.3 * rows.var(axis=0, ddof=1)
    np.testing.assert_allclose(kept["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(kept["variance"], variance, rtol=1e-12)
    assert new["scale"] is params["scale"] and new["shift"] is params["shift"]


def test_half_precision_has_statistics_of_float32(getkey):
    x = (100 + jax.random.normal(getkey(), (64, *SHAPE))).astype(jnp.bfloat16)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), LAYER.init(getkey(), SHAPE))
    y, new = LAYER.apply_training(params, x)
    rows = np.asarray(x, dtype=float).reshape(-1, 2)
    assert y.dtype == jnp.bfloat16 and new["statistics"]["mean"].dtype == jnp.float32
    np.testing.assert_allclose(
        new["statistics"]["mean"], 0.3 * rows.mean(axis=0), rtol=1e-5
    )


@pytest.fixture
def network():
    block = Sequential((Conv(2, (3, 3)), BatchNorm(), Activation(ReLU())))
    shortcut = Sequential((Conv(2, (1, 1)), BatchNorm()))
    return Sequential((Residual(block, shortcut), Pool(), Dense(3)))


@pytest.mark.slow
def test_networks_hand_on_statistics_and_gradients_leave_them(network, getkey):
    x, params = jax.random.normal(getkey(), (5, *SHAPE)), network.init(getkey(), SHAPE)
    assert network.batched and not Sequential((Pool(), Dense(3))).batched

    def loss(p):
        y, new = network.apply_training(p, x)
        return jnp.sum(y**2), new

    gradient, new = jax.grad(loss, has_aux=True)(params)
    paths = jax.tree.flatten_with_path(gradient)[0]
    found = {is_statistic(path): [] for path, _ in paths}
    for path, leaf in paths:
        found[is_statistic(path)].append(bool(jnp.any(leaf != 0)))
    assert not any(found[True]) and len(found[True]) == 4
    # A shift before the other path's average is not normalised away; weights are.
    assert sum(found[False]) >= 5
    branch = params[0]["branch"]
    inner = network.layers[0].branch.layers[0].apply(branch[0], x)
    mean = 0.1 * np.asarray(inner).reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose(
        new[0]["branch"][1]["statistics"]["mean"], mean, rtol=1e-10
    )
    moved = with_statistics(jax.tree.map(lambda a: a + 1, params), new)
    jax.tree_util.tree_map_with_path(
        lambda path, a, b, c: np.testing.assert_array_equal(
            a, c if is_statistic(path) else b + 1
        ),
        moved, params, new,
    )  # fmt: skip


def test_bad_input_is_named(getkey):
    for wrong in ({"momentum": 0.0}, {"momentum": 1.5}, {"epsilon": -1.0}):
        with pytest.raises(ValueError, match="`BatchNorm` needs"):
            BatchNorm(**wrong)
    params = LAYER.init(getkey(), SHAPE)
    with pytest.raises(ValueError, match="2 channels.*come last"):
        LAYER.apply(params, jnp.ones((5, 2, 3, 4)))
    with pytest.raises(ValueError, match="at least two numbers per channel"):
        LAYER.apply_training(params, jnp.ones((1, 2)))


def test_it_has_no_infinite_width_limit():
    network = Sequential((Dense(4), BatchNorm(), Dense(1)))
    with pytest.raises(ValueError, match="infinite-width limit.*BatchNorm"):
        limit_kernels(network, np.ones((2, 3)))
