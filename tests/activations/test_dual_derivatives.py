"""Derivatives of duals are duals of derivatives (Price), on the diagonal too."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from derivatives import DERIVATIVES, pair_mean

import cases
from oracles import exact_gap, gaussian_mean
from widelimit.activations import (
    GELU,
    Abs,
    Custom,
    Erf,
    LeakyReLU,
    ReLU,
    SiLU,
    Softplus,
    Tanh,
)

WIDE = [(30.0, 30.0, 30.0), (49.0, 40.0, 70.0), (-49.0, 40.0, 70.0)]
MOMENTS = [*cases.MODERATE, *cases.PARALLEL, *WIDE]

# Derivatives by (c, p, q), as orders added to each function and a factor.
FIRST = {(0,): (1, 1, 1.0), (1,): (2, 0, 0.5), (2,): (0, 2, 0.5)}
SECOND = {(0, 0): (2, 2, 1.0), (0, 1): (3, 1, 0.5), (1, 2): (2, 2, 0.25)}
SECOND |= {(0, 2): (1, 3, 0.5), (1, 1): (4, 0, 0.25)}


def price(f, moments):
    """All first and second forward-mode derivatives at many moments, in one program."""

    def slope(m):
        return jax.jacfwd(lambda m: f(*m))(m)

    rows = jnp.asarray(np.array(moments))
    first, second = jax.jit(jax.vmap(lambda m: (slope(m), jax.jacfwd(slope)(m))))(rows)
    return {axes: first[:, *axes] for axes in FIRST} | {
        axes: second[:, *axes] for axes in SECOND
    }


@pytest.mark.parametrize("phi", DERIVATIVES, ids=repr)
@pytest.mark.parametrize("start", [0, 1])
def test_price(phi, start):
    actual = price((phi.dual, phi.dual_derivative)[start], MOMENTS)
    for axes, (i, j, factor) in (FIRST | SECOND).items():
        if max(i, j) + start > 4:
            continue
        expected = [factor * pair_mean(phi, i + start, j + start, m) for m in MOMENTS]
        np.testing.assert_allclose(actual[axes], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_dual_derivative_is_d_dual_by_dc(phi):
    columns = jnp.asarray(np.array([*MOMENTS, *cases.SIZES]).T)

    @jax.jit
    def slopes(c, p, q):
        ones = jnp.ones_like(c)
        forward = jax.jvp(lambda c: phi.dual(c, p, q), (c,), (ones,))[1]
        reverse = jax.vjp(lambda c: phi.dual(c, p, q), c)[1](ones)[0]
        return phi.dual_derivative(c, p, q), forward, reverse

    expected, *found = slopes(*columns)
    for actual in found:
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_derivatives_along_the_diagonal(phi):
    """d E phi(v)^2 / dq = E phi'^2 + E phi'' phi, against differences."""
    functions = phi.second_moment, phi.derivative_second_moment, phi.mean
    q, step = jnp.array([0.6, 1.0, 3.0]), 1e-4
    around = q + step * jnp.arange(-2.0, 3.0)[:, None]

    @jax.jit
    def both(q):
        found = [jax.vjp(f, q) for f in functions]
        return [(value, pull(jnp.ones_like(q))[0]) for value, pull in found]

    for values, slopes in both(around):
        values = np.asarray(values)
        expected = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / 12 / step
        np.testing.assert_allclose(slopes[2], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("phi", DERIVATIVES, ids=repr)
def test_means(phi):
    variances = [1e-6, 0.3, 1.7, 400.0]
    for k, f in enumerate((phi.mean, phi.mean_derivative)):
        expected = [gaussian_mean(partial(DERIVATIVES[phi], k), q) for q in variances]
        actual = f(jnp.asarray(variances))
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("phi", [ReLU(), LeakyReLU(0.3), Abs()], ids=repr)
def test_means_of_rectifiers(phi):
    for q in (1e-6, 1.7):
        expected = (1 - phi.slope) * mpmath.quad(
            lambda z, q=q: z * mpmath.npdf(z, 0, mpmath.sqrt(q)),
            [0, mpmath.sqrt(q), 12 * mpmath.sqrt(q)],
        )
        actual = phi.mean(jnp.asarray(q))
        np.testing.assert_allclose(actual, float(expected), rtol=1e-12)
        assert phi.mean_derivative(jnp.asarray(q)) == (1 + phi.slope) / 2


@pytest.mark.parametrize("phi", [ReLU(), LeakyReLU(0.3), Abs()], ids=repr)
def test_rectifiers_by_differences_in_many_digits(phi):
    """Against mpmath's derivative of the arc-cosine kernel."""

    def kernel(c, p, q):
        rho = c / mpmath.sqrt(p * q)
        ramps = mpmath.sqrt(p * q * (1 - rho**2)) + c * (mpmath.pi - mpmath.acos(rho))
        return phi.slope * c + (1 - phi.slope) ** 2 * ramps / (2 * mpmath.pi)

    moments = [m for m in cases.NEARLY_PARALLEL if exact_gap(*m) > 1e-11]
    for axes, actual in price(phi.dual, moments).items():
        order = tuple(sum(a == k for a in axes) for k in range(3))
        with mpmath.workdps(60):
            expected = [float(mpmath.diff(kernel, m, order)) for m in moments]
        np.testing.assert_allclose(actual, expected, rtol=1e-11)


@pytest.mark.parametrize("phi", [ReLU(), LeakyReLU(0.3), Abs()], ids=repr)
def test_rectifiers_have_finite_derivatives_on_the_diagonal(phi):
    diagonal = jnp.array([0.0, 0.3, 2.0])
    moments = jnp.stack([diagonal] * 3, axis=1)
    moments = jnp.concatenate([moments, moments * jnp.array([-1.0, 1.0, 1.0])])

    @jax.jit
    @jax.vmap
    def slopes(m):
        both = lambda m: jnp.stack([phi.dual(*m), phi.dual_derivative(*m)])  # noqa: E731
        return jax.jacrev(both)(m), jax.jacfwd(both)(m)

    for found in slopes(moments):
        assert found.shape == (6, 2, 3) and np.isfinite(found).all()


def test_quadrature_is_not_differentiated_through_its_nodes():
    """At x = x' that would give about half of the second derivative."""
    c = jnp.asarray(1.0)
    for f in (Tanh(), Custom(jnp.tanh)):
        curvature = jax.jit(jax.grad(jax.grad(f.dual)))(c, c, c)
        expected = pair_mean(Tanh(), 2, 2, (1.0, 1.0, 1.0))
        np.testing.assert_allclose(curvature, expected, rtol=1e-12)


@pytest.mark.parametrize("phi", [ReLU(), Erf(), GELU(), Softplus(), SiLU()], ids=repr)
def test_a_known_height_leaves_derivatives_alone(phi):
    c, p, q = (jnp.asarray(m) for m in cases.MODERATE[0])

    @jax.jit
    def slopes(*moments):
        plain, known = moments[:3], moments
        return [
            (jax.grad(f, (0, 1, 2))(*plain), jax.grad(f, (0, 1, 2, 3))(*known))
            for f in (phi.dual, phi.dual_derivative)
        ]

    for plain, (*known, unused) in slopes(c, p, q, jnp.sqrt(p * q - c * c)):
        np.testing.assert_allclose(known, plain, rtol=1e-12, atol=1e-15)
        assert unused == 0


@pytest.mark.parametrize(
    "phi", [ReLU(), GELU(), Softplus(), Custom(jnp.tanh)], ids=cases.shown
)
def test_derivatives_broadcast(phi):
    p, q = jnp.array([[0.4], [1.0], [2.0]]), jnp.array([[0.7, 1.5]])
    c = jnp.array([[0.5, -0.2], [0.1, -1.1], [1.0, 1.4]])
    full = [jnp.broadcast_to(m, (3, 2)) for m in (c, p, q)]

    def slopes(*moments):
        return [
            jax.jvp(
                phi.dual_derivative,
                moments,
                tuple(jnp.full_like(m, a == k) for a, m in enumerate(moments)),
            )[1]
            for k in range(3)
        ]

    for actual, expected in zip(*jax.jit(lambda: (slopes(c, p, q), slopes(*full)))()):  # noqa: B905
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    grads = jax.jit(jax.grad(lambda *m: phi.dual(*m).sum(), (0, 1, 2)))(c, p, q)
    assert [g.shape for g in grads] == [c.shape, p.shape, q.shape]


@pytest.mark.parametrize("scale", [1e-16, 1e-9])
def test_gelu_keeps_the_digits_of_second_derivatives_at_tiny_variances(scale):
    """By Price and Taylor, d/dp E phi'(u) phi'(v) = E phi'''(u) phi'(v) / 2, which
    tends to -4 phi''(0) c / sqrt(2 pi) / 2 = -2 c / pi."""
    c, p, q = (jnp.asarray(scale * k) for k in (1.31, 1.11, 2.22))
    found = jax.grad(lambda p: GELU().dual_derivative(c, p, q, None))(p)
    np.testing.assert_allclose(found, -2 * c / np.pi, rtol=max(1e-12, 20 * scale))
