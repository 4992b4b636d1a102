"""Duals against integrals at the same float moments, hard places included."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from derivatives import DERIVATIVES, pair_mean

import cases
from oracles import (
    conditional_mean,
    normal_derivative,
    rectifier_duals,
    wick,
)
from widelimit.activations import (
    GELU,
    Abs,
    Cosine,
    Erf,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
)

RTOL = 1e-12


ROWS = 32  # to which lists of moments are filled up, so that they share a program


@functools.partial(jax.jit, static_argnums=0)
def both(phi, c, p, q):
    return jnp.stack([phi.dual(c, p, q), phi.dual_derivative(c, p, q)], axis=-1)


def duals(phi, moments, dtype=float):
    """Both duals at a list of moments, one row each."""
    given = np.array(moments)
    full = np.concatenate([given, np.repeat(given[-1:], ROWS - len(given), axis=0)])
    return np.asarray(both(phi, *jnp.asarray(full, dtype=dtype).T))[: len(given)]


def assert_close(actual, expected, *, rtol, floor=0.0):
    """Relative agreement, down to `floor`; names the worst row."""
    actual, expected = np.float64(actual), np.float64(expected)
    allowed = rtol * np.abs(expected) + floor
    worst = np.abs(actual - expected) / np.where(allowed > 0, allowed, 1e-300)
    where = np.unravel_index(np.argmax(worst), worst.shape)
    assert worst.max() <= 1, (where, actual[where], expected[where], worst.max())


RECTIFIERS = [
    (ReLU(), 0.0),
    (LeakyReLU(), 0.01),
    (LeakyReLU(0.3), 0.3),
    (LeakyReLU(-1.2), -1.2),
    (Abs(), -1.0),
]
TINY_AND_HUGE = [
    (0.3e-190, 1e-180, 2e-200),
    (-0.9e250, 1e250, 1e250),
    (1e-9, 1.0, 1e-6),
]
VERY_WIDE = [(-1e8, 1e8, 1e8), (4e7, 1e8, 1e8), (1e6, 1e6, 1e6), (-2e3, 1e7, 1e0)]


@pytest.mark.parametrize(("phi", "slope"), RECTIFIERS, ids=repr)
def test_rectifiers(phi, slope):
    moments = [*cases.MOMENTS, *TINY_AND_HUGE]
    expected = [rectifier_duals(slope, *m) for m in moments]
    # A sum of both signs is as accurate as its parts; the ReLU has no such sum.
    sizes = [(np.sqrt(p) * np.sqrt(q), 1) for _, p, q in moments]
    floor = 1e-15 * abs(slope) * np.array(sizes)
    assert_close(duals(phi, moments), expected, rtol=RTOL, floor=floor)


def mp_normal(z):
    return mpmath.ncdf(z)


# A function, its derivative, and their means over v ~ N(m, s2).
CONDITIONAL = {
    Erf(): [
        (mpmath.erf, lambda m, s2: mpmath.erf(m / mpmath.sqrt(1 + 2 * s2))),
        (
            lambda z: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z),
            lambda m, s2: (
                2
                / mpmath.sqrt(mpmath.pi * (1 + 2 * s2))
                * mpmath.exp(-m * m / (1 + 2 * s2))
            ),
        ),
    ],
    GELU(): [
        (
            lambda z: z * mp_normal(z),
            lambda m, s2: (
                m * mp_normal(m / mpmath.sqrt(1 + s2))
                + s2 * mpmath.npdf(m, 0, mpmath.sqrt(1 + s2))
            ),
        ),
        (
            lambda z: mp_normal(z) + z * mpmath.npdf(z),
            lambda m, s2: (
                mp_normal(m / mpmath.sqrt(1 + s2))
                + m / (1 + s2) * mpmath.npdf(m, 0, mpmath.sqrt(1 + s2))
            ),
        ),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("phi", CONDITIONAL, ids=repr)
def test_functions_of_the_normal_distribution(phi):
    means = CONDITIONAL[phi]
    moments = [*cases.MOMENTS, *VERY_WIDE[:2]]
    expected = [[conditional_mean(f, g, *m) for f, g in means] for m in moments]
    assert_close(duals(phi, moments), expected, rtol=RTOL)


LOGISTIC = [Tanh(), Sigmoid(), Softplus(), SiLU()]


@pytest.mark.parametrize("phi", LOGISTIC, ids=repr)
def test_functions_of_the_logistic_function(phi):
    moments = [*cases.MOMENTS, *VERY_WIDE]
    expected = [[pair_mean(phi, k, k, m) for k in (0, 1)] for m in moments]
    assert_close(duals(phi, moments), expected, rtol=RTOL)


@pytest.mark.parametrize("phi", DERIVATIVES, ids=repr)
def test_duals_are_double_integrals(phi):
    moments = [*cases.MODERATE, *cases.PARALLEL]
    expected = [[pair_mean(phi, k, k, m) for k in (0, 1)] for m in moments]
    assert_close(duals(phi, moments), expected, rtol=RTOL)


@pytest.mark.parametrize("a", [1.0, 1.3])
def test_waves(a):
    expected = []
    for moments in cases.MOMENTS:
        with mpmath.workdps(50):
            c, p, q, a2 = (mpmath.mpf(float(m)) for m in (*moments, a * a))
            damping = mpmath.exp(-a2 * (p + q) / 2)
            sines = float(damping * mpmath.sinh(a2 * c))
            cosines = float(damping * mpmath.cosh(a2 * c))
        expected.append((sines, cosines))
    expected = np.array(expected)
    # Only the exponent loses digits, as many as it has before the point.
    rtol = RTOL + 1e-15 * a**2 * np.max(cases.MOMENTS, axis=1, keepdims=True)
    scales = [1, a * a]
    sine, cosine = (duals(f(a), cases.MOMENTS) for f in (Sine, Cosine))
    assert_close(sine, expected * scales, rtol=rtol, floor=1e-300)
    assert_close(cosine, expected[:, ::-1] * scales, rtol=rtol, floor=1e-300)


POLYNOMIALS = [(0, 0, 1), (0.4, -0.7, 0.2, 0.1), (1, 0, 0, 0, 0, 2, 0), (3,), (0, 2)]


@pytest.mark.parametrize("coefficients", POLYNOMIALS, ids=str)
def test_polynomials(coefficients):
    values = [Fraction(a) for a in coefficients]
    slopes = [j * a for j, a in enumerate(values)][1:]
    expected, sizes = [], []
    for moments in cases.MOMENTS:
        c, p, q = map(Fraction, moments)
        for powers in (values, slopes):
            terms = [
                x * y * wick(i, j, c, p, q)
                for i, x in enumerate(powers)
                for j, y in enumerate(powers)
            ]
            expected.append(float(sum(terms)))
            sizes.append(float(max(map(abs, terms), default=0)))
    # Powers of mixed signs can cancel: the sum is as accurate as the largest.
    actual = duals(Polynomial(coefficients), cases.MOMENTS).ravel()
    assert_close(actual, expected, rtol=0, floor=RTOL * np.array(sizes))


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_single_precision(phi):
    """Against float64 at the same moments, after rounding them to float32."""
    c, p, q = np.float32(cases.MOMENTS).astype(float).T
    edge = np.nextafter(np.float32(np.sqrt(p * q)), np.float32(0)).astype(float)
    c = np.where(np.abs(c) > np.sqrt(p * q), np.sign(c) * edge, c)
    moments = np.stack([c, p, q], axis=1)
    squares = [duals(phi, np.stack([m] * 3, axis=1)) for m in (p, q)]
    sizes = np.sqrt(squares[0] * squares[1])
    rtol = 1e-5
    if isinstance(phi, Sine | Cosine):
        rtol = rtol + 1e-6 * moments.max(1, keepdims=True)
    actual, expected = duals(phi, moments, np.float32), duals(phi, moments)
    floor = 1e-7 * sizes + 1e-37
    assert_close(actual, expected, rtol=rtol, floor=floor)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_duals_broadcast_and_vmap(phi):
    p, q = jnp.array([0.4, 1.0, 2.0]), jnp.array([0.7, 1.5])
    c = jnp.array([[0.5, -0.2], [0.1, -1.1], [1.0, 1.6]])

    @jax.jit
    def tables():
        pair = functools.partial(both, phi)
        rows = jax.vmap(jax.vmap(pair, (0, None, 0)), (0, 0, None))(c, p, q)
        return pair(c, p[:, None], q[None, :]), rows

    alone = [[both(phi, c[i, j], p[i], q[j]) for j in range(2)] for i in range(3)]
    for table in tables():
        np.testing.assert_allclose(table, alone, rtol=1e-13, atol=1e-15)
        assert table.dtype == c.dtype and table.shape == (3, 2, 2)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_duals_of_no_variance_are_values_at_zero(phi):
    zero, q = jnp.asarray(0.0), jnp.asarray(1.7)

    @jax.jit
    def found():
        actual = [
            phi.dual(zero, zero, q),
            phi.dual_derivative(zero, zero, q),
            phi.second_moment(zero),
            phi.derivative_second_moment(zero),
        ]
        return (
            actual,
            phi(zero),
            jax.grad(phi)(zero),
            phi.mean(q),
            phi.mean_derivative(q),
        )

    actual, value, slope, mean, mean_slope = found()
    expected = [value * mean, slope * mean_slope, value**2, slope**2]
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("phi", "slope"), RECTIFIERS, ids=repr)
@pytest.mark.parametrize("closeness", [1e-4, 1e-8])
def test_a_known_height_keeps_the_digits_of_nearby_inputs(phi, slope, closeness):
    x = np.array([0.7, -0.4, 1.1])
    shift = closeness * np.array([0.3, 0.9, -0.5])
    with mpmath.workdps(60):
        one = [mpmath.mpf(a) for a in x]
        two = [a + mpmath.mpf(b) for a, b in zip(one, shift, strict=True)]
        c, p, q = (mpmath.fdot(a, b) for a, b in ((one, two), (one, one), (two, two)))
        height = mpmath.sqrt(p * q - c * c)
        floats = [float(m) for m in (c, p, q, height)]
        cosine = c / mpmath.sqrt(p * q)
        theta = mpmath.acos(cosine)
        truth = ((1 + slope**2) * (mpmath.pi - theta) + 2 * slope * theta) / (
            2 * mpmath.pi
        )
    sharp = phi.dual_derivative(*map(jnp.asarray, floats))
    np.testing.assert_allclose(float(sharp), float(truth), rtol=2e-15)


def test_normal_distribution_oracle():
    z = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(
        np.float64(normal_derivative(0, z)), 0.5 * scipy.special.erfc(-z / 2**0.5)
    )


@pytest.mark.parametrize(
    ("phi", "c", "expected"),
    [
        (Abs(), 1e-9, 2 / np.pi * 1e-9 / np.sqrt(1.3)),
        (Abs(), -1e-9, -2 / np.pi * 1e-9 / np.sqrt(1.3)),
        (Sine(1.3), 0.0, 1.69 * np.exp(-0.845 * 2.3)),
        (Cosine(1.3), 1e-12, 1.69**2 * 1e-12 * np.exp(-0.845 * 2.3)),
    ],
    ids=repr,
)
def test_derivatives_of_nearly_independent_pairs(phi, c, expected):
    """To first order in c, where even functions have a small slope."""
    p, q = jnp.asarray(1.0), jnp.asarray(1.3)
    slope = jax.grad(phi.dual)(jnp.asarray(c), p, q)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)
