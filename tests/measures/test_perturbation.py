"""Perturbation stability: closed forms, invariances, and agreement with sampling."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import oracles
from oracles import unchecked
from widelimit.measures import (
    mean_gaussian_norm,
    perturbation_stability,
    sampled_perturbation_stability,
)
from widelimit.networks import mlp

W = np.array([0.3, -1.2, 2.0, 0.7, -0.4])
X = jnp.asarray(np.random.default_rng(5).normal(size=(4, 5)))


def orthonormal(rows, columns, seed=0):
    square = np.random.default_rng(seed).normal(size=(max(rows, columns),) * 2)
    return np.linalg.qr(square)[0][:rows, :columns]


def network(getkey, outputs=3, d=5):
    net = cases.NETWORKS[2]  # smooth, with biases
    net = mlp(
        depth=2,
        width=6,
        outputs=outputs,
        activation=net.layers[1].function,
        bias_std=0.3,
    )
    params = net.init(getkey(), (d,))
    return lambda x: net.apply(params, x[None])[0]


def stability(f, x, **options):
    return jax.jit(lambda x: perturbation_stability(f, x, **options))(x)


# Exactly


def test_scalar_linear_model():
    d, radius = 5, 0.3
    gammas = math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    expected = radius * np.linalg.norm(W) * gammas * d / (d + 1)
    w = jnp.asarray(W)
    for f in (lambda x: w @ x, lambda x: (w @ x)[None], lambda x: (w @ x)[None, None]):
        actual = stability(f, X, radius=radius)
        np.testing.assert_allclose(actual, [expected] * 4, rtol=1e-12)


def test_one_input_feature():
    # The ball is an interval of mean size radius / 2.
    actual = stability(lambda x: -3.0 * x, X[:, :1], radius=0.7)
    np.testing.assert_allclose(actual, [3 * 0.7 / 2] * 4, rtol=1e-12)


@pytest.mark.parametrize(("o", "d"), [(2, 5), (5, 5), (3, 40)])
def test_orthogonal_equal_rows(o, d):
    rows = jnp.asarray(1.7 * orthonormal(o, d))
    actual = stability(lambda x: rows @ x, jnp.ones((2, d)), radius=0.3)
    expected = 1.7 * oracles.mean_ball_shadow(o, d, radius=0.3)
    np.testing.assert_allclose(actual, [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize(("o", "d"), [(30, 3), (7, 1)])
def test_more_outputs_than_inputs(o, d):
    columns = jnp.asarray(1.7 * orthonormal(o, d))  # keeps lengths, up to 1.7
    actual = stability(lambda x: columns @ x, jnp.ones((2, d)), radius=0.3)
    expected = 1.7 * 0.3 * d / (d + 1)
    np.testing.assert_allclose(actual, [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize(("o", "d"), [(3, 5), (6, 4)])
def test_any_linear_model(o, d):
    matrix = np.random.default_rng(7).normal(size=(o, d))
    variances = np.linalg.svd(matrix, compute_uv=False) ** 2
    shares = oracles.mean_gaussian_norm(variances) / oracles.mean_chi(d)
    actual = stability(lambda x: jnp.asarray(matrix) @ x, jnp.ones((1, d)), radius=0.3)
    np.testing.assert_allclose(actual, [0.3 * d / (d + 1) * shares], rtol=1e-12)


def test_every_row_has_its_own_gradient():
    actual = stability(lambda x: jnp.sum(x**3), X, radius=0.3)
    slopes = np.linalg.norm(3 * np.asarray(X) ** 2, axis=1)
    expected = slopes * oracles.mean_ball_shadow(1, 5, radius=0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_constant_functions_do_not_move():
    actual = stability(lambda x: jnp.ones(3), X)
    np.testing.assert_array_equal(actual, np.zeros(4))


@pytest.mark.parametrize("outputs", [1, 9])
def test_linear_in_radius_and_in_the_function(outputs, getkey):
    f = network(getkey, outputs)
    once = stability(f, X)
    scaled = stability(lambda x: -1.7 * f(x) + 4.0, X, radius=0.3)
    np.testing.assert_allclose(scaled, 1.7 * 0.3 * once, rtol=1e-12)


@pytest.mark.parametrize("outputs", [3, 9])
def test_rotations_change_nothing(outputs, getkey):
    f = network(getkey, outputs)
    inner = jnp.asarray(orthonormal(5, 5))
    outer = jnp.asarray(orthonormal(outputs, outputs, seed=1))
    expected = stability(f, X)
    turned = stability(lambda x: outer @ f(inner @ x), X @ inner)
    np.testing.assert_allclose(turned, expected, rtol=1e-11)


def test_batches_change_nothing(getkey):
    f = network(getkey)
    expected = stability(f, X, radius=0.3)
    for batch_size in (1, 3, 100):
        actual = stability(f, X, radius=0.3, batch_size=batch_size)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
def test_float32_is_good_to_five_digits(outputs, getkey):
    net = mlp(depth=2, width=6, outputs=outputs)
    params = net.init(getkey(), (5,))
    single = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    actual = stability(
        lambda x: net.apply(single, x[None])[0], X.astype(jnp.float32), radius=0.3
    )
    expected = stability(lambda x: net.apply(params, x[None])[0], X, radius=0.3)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_dead_network_is_perfectly_stable_and_differentiable():
    def mean(w):
        f = lambda x: jax.nn.relu(w @ x - 100.0)[None]  # noqa: E731
        return jnp.mean(perturbation_stability(f, X))

    value, slope = jax.jit(jax.value_and_grad(mean))(jnp.asarray(W))
    assert value == 0 and np.isfinite(slope).all()


# By sampling


@pytest.mark.parametrize("outputs", [1, 9])
def test_sampling_agrees_with_the_exact_value(outputs, getkey):
    f, x = network(getkey, outputs), jax.random.normal(getkey(), (200, 5))
    exact = stability(f, x, radius=0.3)
    sampled = jax.jit(
        lambda key: sampled_perturbation_stability(f, x, key=key, radius=0.3, draws=300)
    )(getkey())
    z = np.asarray((sampled.mean - exact) / sampled.standard_error)
    assert abs(z).max() < 5
    assert abs(z.mean()) < 5 / 200**0.5  # unbiased,
    assert 0.6 < (z**2).mean() < 1.6  # and its standard error is right


def test_sampling_in_the_cube_of_a_scalar_linear_model(getkey):
    w, d = W[:3], 3
    sampled = sampled_perturbation_stability(
        lambda x: jnp.asarray(w) @ x,
        jnp.ones((40, d)),
        key=getkey(),
        radius=0.3,
        norm="linf",
        draws=500,
    )
    expected = oracles.mean_absolute_in_cube(w, radius=0.3)
    grid = oracles.mean_norm_in_cube(w[None], radius=0.3)
    assert grid == pytest.approx(expected, rel=1e-3)  # the oracles agree
    z = np.asarray((sampled.mean - expected) / sampled.standard_error)
    assert abs(z).max() < 5 and abs(z.mean()) < 5 / 40**0.5
    assert 0.3 < (z**2).mean() < 2.2


def test_sampling_in_the_cube_of_a_linear_model(getkey):
    matrix = np.array([[0.3, -1.2, 2.0], [1.1, 0.4, 0.9]])
    sampled = sampled_perturbation_stability(
        lambda x: jnp.asarray(matrix) @ x,
        jnp.ones((40, 3)),
        key=getkey(),
        radius=0.3,
        norm="linf",
        draws=500,
    )
    expected = oracles.mean_norm_in_cube(matrix, radius=0.3)
    z = np.asarray((sampled.mean - expected) / sampled.standard_error)
    assert abs(z).max() < 5 and abs(z.mean()) < 5 / 40**0.5


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_sampling_depends_on_the_key_alone(norm, getkey):
    f, key = network(getkey), getkey()

    @functools.partial(jax.jit, static_argnames=("radius", "batch_size"))
    def sample(key, radius=1.0, batch_size=None):
        return sampled_perturbation_stability(
            f, X, key=key, norm=norm, draws=20, radius=radius, batch_size=batch_size
        )

    one, again = sample(key), sample(key)
    np.testing.assert_array_equal(one.mean, again.mean)
    assert not np.isclose(one.mean, sample(getkey()).mean).any()
    for other, factor in (
        (sample(key, batch_size=3), 1),
        (sample(key, radius=1.7), 1.7),
    ):
        for name in ("mean", "standard_error"):
            expected = factor * getattr(one, name)
            np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-12)


def test_sampling_in_float32():
    f = lambda x: x[:2] * 2.0  # noqa: E731
    out = sampled_perturbation_stability(
        f, X.astype(jnp.float32), key=jax.random.key(0), draws=8
    )
    assert out.mean.dtype == out.standard_error.dtype == jnp.float32


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": jnp.ones(5)},
            r"`x` as a matrix with one input per row. Got `x.shape=\(5,\)",
        ),
        ({"x": jnp.ones((0, 5))}, r"Got `x.shape=\(0, 5\)`"),
        (
            {"x": np.ma.masked_greater(np.asarray(X), 0)},
            "numbers without a mask in `x`",
        ),
        ({"radius": 0.0}, "finite `radius > 0`. Got `radius=0.0`"),
        ({"radius": math.inf}, "Got `radius=inf`"),
        ({"draws": 1}, "`draws >= 2`. Got `draws=1`"),
        ({"norm": "l1"}, "`norm` to be one of 'l2', 'linf'. Got `norm='l1'`"),
    ],
    ids=repr,
)
def test_bad_arguments_are_named(change, message):
    arguments = {"x": X} | change
    with unchecked(), pytest.raises(ValueError, match=message) as caught:
        sampled_perturbation_stability(
            lambda x: x, arguments.pop("x"), key=jax.random.key(0), **arguments
        )
    assert "`sampled_perturbation_stability` needs" in str(caught.value)
    if "draws" in change or "norm" in change:
        return
    arguments = {"x": X} | change
    with unchecked(), pytest.raises(ValueError, match=message) as caught:
        perturbation_stability(lambda x: x, arguments.pop("x"), **arguments)
    assert "`perturbation_stability` needs" in str(caught.value)


def test_the_mean_norm_is_what_links_jacobians_to_stability(getkey):
    matrix = np.random.default_rng(2).normal(size=(3, 5))
    variances = jnp.asarray(np.linalg.svd(matrix, compute_uv=False) ** 2)
    samples = jax.random.normal(getkey(), (20000, 5)) @ matrix.T
    oracles.assert_mean_matches(
        np.linalg.norm(samples, axis=1), mean_gaussian_norm(variances)
    )


@jax.jit
def both_stabilities(factor, key):
    weights = np.random.default_rng(5).normal(size=(3, 6)).astype(np.float32)
    f = lambda row: (factor * weights) @ row  # noqa: E731
    x = jnp.ones((2, 6), jnp.float32)
    drawn = sampled_perturbation_stability(f, x, key=key, draws=8)
    return perturbation_stability(f, x), drawn.mean


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
def test_float32_functions_of_any_size_keep_their_stability(size, getkey):
    key, size = getkey(), np.float32(size)
    ones = both_stabilities(jnp.float32(1), key)
    for scaled, one in zip(both_stabilities(jnp.float32(size), key), ones, strict=True):
        assert scaled.dtype == jnp.float32
        np.testing.assert_allclose(scaled / size, one, rtol=1e-5)


def test_images_are_measured_as_their_rows(getkey):
    images = jax.random.normal(getkey(), (3, 2, 4, 1))
    weights = jax.random.normal(getkey(), (8, 2))

    def f(image):
        return jnp.tanh(image.ravel() @ weights)

    rows = images.reshape(3, 8)
    for measure in (
        perturbation_stability,
        lambda g, x: sampled_perturbation_stability(g, x, key=jax.random.key(0)).mean,
    ):
        found = measure(f, images)
        np.testing.assert_allclose(found, measure(f, rows), rtol=1e-12)
