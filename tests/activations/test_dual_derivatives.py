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


def directional(f, axes):
    """Nested forward-mode derivatives along coordinate axes, for many moments."""
    for axis in axes:
        f = along(f, axis)
    return jax.jit(jax.vmap(f))


def along(f, axis):
    def slope(*moments):
        tangents = [jnp.full_like(m, k == axis) for k, m in enumerate(moments)]
        return jax.jvp(f, moments, tuple(tangents))[1]

    return slope


@pytest.mark.parametrize("phi", DERIVATIVES, ids=repr)
@pytest.mark.parametrize("start", [0, 1])
def test_price(phi, start):
    f = (phi.dual, phi.dual_derivative)[start]
    columns = jnp.asarray(np.array(MOMENTS).T)
    for axes, (i, j, factor) in (FIRST | SECOND).items():
        if max(i, j) + start > 4:
            continue
        expected = [factor * pair_mean(phi, i + start, j + start, m) for m in MOMENTS]
        actual = directional(f, axes)(*columns)
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_dual_derivative_is_d_dual_by_dc(phi):
    moments = [*MOMENTS, *cases.SIZES]
    columns = jnp.asarray(np.array(moments).T)
    expected = jax.jit(phi.dual_derivative)(*columns)
    for actual in (
        directional(phi.dual, (0,))(*columns),
        jax.vmap(jax.grad(phi.dual))(*columns),  # reverse mode
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_derivatives_along_the_diagonal(phi):
    """d E phi(v)^2 / dq = E phi'^2 + E phi'' phi, against differences."""
    q, step = jnp.array([0.6, 1.0, 3.0]), 1e-4
    for f in (phi.second_moment, phi.derivative_second_moment, phi.mean):
        values = [np.asarray(f(q + k * step)) for k in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12 / step
        actual = jax.vmap(jax.grad(f))(q)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("phi", DERIVATIVES, ids=repr)
@pytest.mark.parametrize("q", [1e-6, 0.3, 1.7, 400.0])
def test_means(phi, q):
    actual = [f(jnp.asarray(q)) for f in (phi.mean, phi.mean_derivative)]
    expected = [gaussian_mean(partial(DERIVATIVES[phi], k), q) for k in (0, 1)]
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
    columns = jnp.asarray(np.array(moments).T)
    for axes in [*FIRST, *SECOND]:
        order = tuple(sum(a == k for a in axes) for k in range(3))
        with mpmath.workdps(60):
            expected = [float(mpmath.diff(kernel, m, order)) for m in moments]
        actual = directional(phi.dual, axes)(*columns)
        np.testing.assert_allclose(actual, expected, rtol=1e-11)


@pytest.mark.parametrize("phi", [ReLU(), LeakyReLU(0.3), Abs()], ids=repr)
@pytest.mark.parametrize("q", [0.0, 0.3, 2.0])
def test_rectifiers_have_finite_derivatives_on_the_diagonal(phi, q):
    q = jnp.asarray(q)
    for f in (phi.dual, phi.dual_derivative):
        for sign in (1, -1):
            slopes = jax.grad(f, argnums=(0, 1, 2))(sign * q, q, q)
            forward = [along(f, k)(sign * q, q, q) for k in range(3)]
            assert np.isfinite(slopes).all() and np.isfinite(forward).all()


def test_quadrature_is_not_differentiated_through_its_nodes():
    """At x = x' that would give about half of the second derivative."""
    c = jnp.asarray(1.0)
    for f in (Tanh(), Custom(jnp.tanh)):
        curvature = jax.grad(jax.grad(f.dual))(c, c, c)
        expected = pair_mean(Tanh(), 2, 2, (1.0, 1.0, 1.0))
        np.testing.assert_allclose(curvature, expected, rtol=1e-12)


def test_a_known_height_leaves_derivatives_alone():
    c, p, q = (jnp.asarray(m) for m in cases.MODERATE[0])
    height = jnp.sqrt(p * q - c * c)
    for phi in (ReLU(), Erf(), GELU(), Softplus(), SiLU()):
        for f in (phi.dual, phi.dual_derivative):
            plain = jax.grad(f, argnums=(0, 1, 2))(c, p, q)
            known = jax.grad(f, argnums=(0, 1, 2))(c, p, q, height)
            np.testing.assert_allclose(known, plain, rtol=1e-12, atol=1e-15)
            unused = jax.grad(f, argnums=3)(c, p, q, height)
            assert unused == 0


@pytest.mark.parametrize(
    "phi", [ReLU(), GELU(), Softplus(), Custom(jnp.tanh)], ids=cases.shown
)
def test_derivatives_broadcast(phi):
    p, q = jnp.array([[0.4], [1.0], [2.0]]), jnp.array([[0.7, 1.5]])
    c = jnp.array([[0.5, -0.2], [0.1, -1.1], [1.0, 1.4]])
    full = [jnp.broadcast_to(m, (3, 2)) for m in (c, p, q)]
    for k in range(3):
        actual = along(phi.dual_derivative, k)(c, p, q)
        expected = along(phi.dual_derivative, k)(*full)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    grads = jax.grad(lambda *m: phi.dual(*m).sum(), (0, 1, 2))(c, p, q)
    assert [g.shape for g in grads] == [c.shape, p.shape, q.shape]
