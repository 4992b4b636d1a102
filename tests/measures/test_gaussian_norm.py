"""The mean norm of a Gaussian vector, against integrals in many digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from widelimit.measures import mean_gaussian_norm, mean_gaussian_radius

UNEQUAL = [
    [2.3],
    [0.7, 1.9],
    [1e-9, 3.1],
    [0.0, 0.4, 2.7],
    [0.3, 0.31, 5.0, 12.0],
    [1e-6, 1e-3, 0.7, 40.0, 900.0],
    [10.0 ** (-k / 3) for k in range(20)],
]


compiled = jax.jit(mean_gaussian_norm)
slope = jax.jit(jax.grad(mean_gaussian_norm))


def norm(variances):
    return compiled(jnp.asarray(variances))


@pytest.mark.parametrize("variances", UNEQUAL, ids=len)
def test_unequal_variances(variances):
    expected = oracles.mean_gaussian_norm(variances)
    np.testing.assert_allclose(norm(variances), expected, rtol=1e-12)


@pytest.mark.parametrize("a", [1e-8, 0.3, 7.0])
def test_two_variances_are_an_elliptic_integral(a):
    expected = oracles.mean_gaussian_norm_of_two(2.1, a)
    np.testing.assert_allclose(norm([a, 2.1]), expected, rtol=1e-13)
    np.testing.assert_allclose(  # and the two oracles agree
        oracles.mean_gaussian_norm([a, 2.1]), expected, rtol=1e-13
    )


@pytest.mark.parametrize("k", [1, 3, 100, 3072])
def test_equal_variances_are_a_chi_mean(k):
    expected = 2.3**0.5 * oracles.mean_chi(k)
    np.testing.assert_allclose(norm([2.3] * k), expected, rtol=1e-12)
    # Zeros beside them change nothing.
    np.testing.assert_allclose(norm([0.0] * 5 + [2.3] * k), expected, rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-280, 1e-9, 1e9, 1e280])
def test_scales_as_the_square_root(factor):
    variances = np.array([0.7, 1.9, 0.01])
    expected = factor**0.5 * norm(variances)
    np.testing.assert_allclose(norm(factor * variances), expected, rtol=1e-13)


def test_no_variance_is_no_norm():
    assert norm([0.0, 0.0]) == 0
    assert norm([-1e-18, 0.0]) == 0  # as eigenvalue routines give for zero
    np.testing.assert_allclose(norm([-1e-18, 2.3]), norm([2.3]), rtol=1e-14)


def test_order_does_not_matter_and_leading_axes_are_a_batch():
    variances = np.random.default_rng(3).exponential(size=(2, 3, 4))
    expected = [[norm(v[::-1]) for v in rows] for rows in variances]
    np.testing.assert_allclose(norm(variances), expected, rtol=1e-14)


@pytest.mark.parametrize("factor", [1e-280, 1.0, 1e280])
def test_gradients_are_those_of_the_integral(factor):
    variances = np.array([0.7, 1.9, 0.01])
    slopes = slope(jnp.asarray(factor * variances))
    expected = oracles.central_differences(
        lambda v: oracles.mean_gaussian_norm(v), variances, step=1e-5
    )[0]
    np.testing.assert_allclose(slopes * factor**0.5, expected, rtol=1e-6)


def test_gradients_at_zero():
    # One variance of three: the derivative exists from the right.
    slopes = slope(jnp.array([0.0, 0.7, 1.9]))
    near = slope(jnp.array([1e-9, 0.7, 1.9]))
    np.testing.assert_allclose(slopes, near, rtol=1e-3)
    # All of them: infinite; zero stands in for it.
    assert jnp.all(slope(jnp.zeros(3)) == 0)


def test_float32():
    for variances in UNEQUAL[2:6:3]:
        actual = compiled(jnp.asarray(variances, jnp.float32))
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, norm(variances), rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 5, 784, 100_000])
def test_mean_gaussian_radius(d):
    radius = mean_gaussian_radius(d)
    assert radius == pytest.approx(oracles.mean_chi(d), rel=1e-14 * max(d, 10))
    assert radius < d**0.5 and (d > 784 or (d - 0.5) ** 0.5 < radius)
