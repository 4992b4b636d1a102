"""Duals by Hermite series and by mixture: convergence, estimates, refusals."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import cases
from oracles import unchecked
from widelimit.accuracy import closed_forms
from widelimit.activations import (
    GELU,
    AbstractActivation,
    Custom,
    Erf,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    check_quadrature,
)
from widelimit.activations.arctangent import arctan2
from widelimit.activations.hermite import grid
from widelimit.activations.logistic_mixture import rule
from widelimit.activations.moments import gap, height

NARROW = [*cases.MODERATE, *cases.PARALLEL[:2], *cases.NEARLY_PARALLEL]
PAIRS = [
    (Custom(jnp.tanh), Tanh()),
    (Custom(jax.nn.softplus), Softplus()),
    (Custom(GELU()), GELU()),
    (Custom(jnp.square, terms=8), Polynomial((0, 0, 1))),
]


def columns(moments):
    return jnp.asarray(np.array(moments).T)


@pytest.mark.parametrize(("custom", "named"), PAIRS, ids=cases.shown)
def test_the_series_agrees_with_closed_forms(custom, named):
    pairs = "dual", "dual_derivative"
    ones = "mean", "mean_derivative", "second_moment", "derivative_second_moment"

    @jax.jit
    def both(c, p, q):
        return [
            [getattr(phi, f)(c, p, q) for f in pairs]
            + [getattr(phi, f)(p) for f in ones]
            for phi in (custom, named)
        ]

    for actual, expected in zip(*both(*columns(NARROW)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


def test_derivatives_of_the_series_on_the_diagonal():
    one = jnp.asarray(1.0)
    for custom, named in PAIRS[:1]:
        for f, g in (
            (custom.dual, named.dual),
            (custom.dual_derivative, named.dual_derivative),
        ):
            actual = jax.jacfwd(jax.jacrev(lambda m, f=f: f(*m)))
            expected = jax.jacfwd(jax.jacfwd(lambda m, g=g: g(*m)))
            actual, expected = (jax.jit(h)(jnp.ones(3)) for h in (actual, expected))
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)
    for pair in PAIRS[1:3]:
        actual, expected = (jax.jit(jax.grad(a.mean))(one) for a in pair)
        np.testing.assert_allclose(actual, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("variance", [0.5, 2.0, 6.0, 20.0])
def test_the_estimate_covers_the_error(variance):
    custom, p = Custom(jnp.tanh, terms=48), jnp.asarray(variance)
    for rho in (1.0, 0.8, -1.0):
        c = rho * p
        error = abs(float(custom.dual(c, p, p) - Tanh().dual(c, p, p)))
        assert error <= float(custom.quadrature_error(c, p, p)) + 1e-14


@pytest.mark.parametrize("phi", [Tanh(), Sigmoid(), Softplus(), SiLU()], ids=repr)
def test_mixtures_have_converged_at_all_variances(phi):
    check_quadrature(phi, *columns(cases.MOMENTS), tolerance=1e-12)
    error = phi.quadrature_error(*columns(cases.MOMENTS))
    assert (np.asarray(error) > 0).any()


def test_closed_forms_have_no_quadrature_error():
    for phi in (ReLU(), GELU(), Erf().normalized()):
        assert not np.any(phi.quadrature_error(*columns(cases.MODERATE)))


def test_a_wide_variance_is_reported():
    p = jnp.array([1.0, 400.0])
    check_quadrature(Custom(jnp.tanh), p[0], p[0], p[0])
    message = r"Got an estimated relative error of .* at \(c, p, q\) = \(400.0, 400.0, "
    with pytest.raises(ValueError, match=message):
        check_quadrature(Custom(jnp.tanh), p, p, p)


@pytest.mark.parametrize("f", [jax.nn.relu, jnp.abs, lambda z: jnp.log(z - 50)])
def test_a_kink_is_reported(f):
    one = jnp.asarray(1.0)
    with pytest.raises(ValueError, match="no number of terms suits a function with a"):
        check_quadrature(Custom(f), one, one, one)


@dataclass(frozen=True)
class AbstractBump(AbstractActivation):
    width: float
    smooth: ClassVar[bool] = True

    def __call__(self, z):
        return jnp.exp(-jnp.square(z / self.width))


@dataclass(frozen=True)
class AbstractHinge(AbstractActivation):
    smooth: ClassVar[bool] = False

    def __call__(self, z):
        return jnp.maximum(z, 0.3)


def test_a_subclass_needs_no_more_than_its_values():
    bump = AbstractBump(width=2.0)
    c, p, q = columns(NARROW)
    # A Gaussian integral: 1 / sqrt(det(1 + 2 covariance / width^2)).
    expected = 1 / jnp.sqrt((1 + p / 2) * (1 + q / 2) - c * c / 4)
    np.testing.assert_allclose(bump.dual(c, p, q), expected, rtol=1e-12)
    np.testing.assert_allclose(bump.mean(q), 1 / jnp.sqrt(1 + q / 2), rtol=1e-12)
    assert bump.lipschitz() is None


def test_a_kinked_subclass_must_bring_its_duals():
    one = jnp.asarray(1.0)
    with pytest.raises(ValueError, match=r"`dual` needs a smooth activation .*Hinge"):
        AbstractHinge().dual(one, one, one)


def test_custom_is_checked_and_has_no_json():
    with unchecked():
        with pytest.raises(ValueError, match="needs a function of an array. Got .*3.0"):
            Custom(3.0)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="`terms >= 4`. Got `terms=3`"):
            Custom(jnp.tanh, terms=3)
    with pytest.raises(ValueError, match="made of numbers and names. Got `Custom"):
        Custom(jnp.tanh).to_json()


def test_a_matrix_of_pairs_evaluates_the_function_once_a_row():
    calls = []

    def f(z):
        calls.append(z.shape)
        return jnp.tanh(z)

    phi, p = Custom(f), jnp.linspace(0.5, 1.5, 40)
    calls.clear()  # of the check that it is a function of an array
    phi.dual(0.4 * jnp.ones((40, 30)), p[:, None], p[None, :30])
    nodes = len(grid(256)[0])
    assert sorted(calls) == [(1, 30, nodes), (40, 1, nodes)]


@pytest.mark.parametrize("nodes", [8, 14])
def test_the_mixture_is_the_logistic_function(nodes):
    k2, weights = rule(nodes)
    assert (weights > 0).all() and abs(weights.sum() - 1) < 1e-14
    # The variance of the logistic distribution is pi^2 / 3 = E (2 K)^2.
    rtol = {8: 2e-9, 14: 2e-14}[nodes]
    np.testing.assert_allclose(weights @ k2, np.pi**2 / 12, rtol=rtol)
    for z in (-3.0, 0.2, 1.7):
        blurred = [mpmath.ncdf(z / (2 * mpmath.sqrt(k))) for k in k2]
        actual = float(mpmath.fdot(weights, blurred))
        np.testing.assert_allclose(actual, 1 / (1 + np.exp(-z)), rtol=1e3 * rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arctan2(dtype):
    rng = np.random.default_rng(5)
    y, x = rng.normal(size=(2, 4000)) * 10.0 ** rng.uniform(-12, 12, size=(2, 4000))
    y, x = np.append(y, [0, 0, 1, -1, 2]), np.append(x, [1, -1, 0, 0, 2])
    y, x = y.astype(dtype), x.astype(dtype)
    angle = np.asarray(jax.jit(arctan2)(jnp.asarray(y), jnp.asarray(x)))
    expected = np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble))
    assert angle.dtype == dtype
    np.testing.assert_allclose(angle, expected, rtol=5 * np.finfo(dtype).eps)
    slopes = jax.jit(jax.vmap(jax.grad(arctan2, (0, 1))))(
        jnp.asarray(y), jnp.asarray(x)
    )
    for k, actual in enumerate(slopes):
        square = x.astype(float) ** 2 + y.astype(float) ** 2
        rtol = 10 * np.finfo(dtype).eps
        np.testing.assert_allclose(actual, (x, -y)[k] / square, rtol=rtol)
    zero = jnp.asarray(0.0, dtype=dtype)
    assert arctan2(zero, zero) == 0 and jax.grad(arctan2)(zero, zero) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_gap_is_exact_to_rounding(dtype, compiled):
    rng, eps = np.random.default_rng(6), np.finfo(dtype).eps
    p, q = np.exp(rng.normal(size=(2, 2000)) * 3).astype(dtype)
    closeness = 10 ** rng.uniform(np.log10(eps), 0, size=2000)
    c = np.sqrt(p.astype(float) * q) * (1 - closeness) * rng.choice([-1, 1], size=2000)
    c = c.astype(dtype)
    p[:99], c[:99] = q[:99], q[:99] * (1 - rng.integers(0, 3, 99) * eps).astype(dtype)
    f = jax.jit(gap) if compiled else gap
    actual = f(jnp.asarray(c), jnp.asarray(p), jnp.asarray(q))
    with mpmath.workdps(80):
        pairs = [[mpmath.mpf(float(m)) for m in row] for row in zip(c, p, q)]  # noqa: B905
        expected = [float(max(b * d - a * a, 0)) for a, b, d in pairs]
    np.testing.assert_allclose(actual, expected, rtol=4 * eps)
    top = 1e150 if dtype == np.float64 else 1e15
    for scale in (2.0 ** round(np.log2(top)), 2.0 ** -round(np.log2(top))):
        moments = (jnp.asarray((m * scale).astype(dtype)) for m in (c, p, q))
        actual = np.asarray(height(*moments)).astype(float) / scale
        np.testing.assert_allclose(actual, np.sqrt(expected), rtol=4 * eps)


@pytest.mark.parametrize("p", [3.0, 1e5, 1e8])
def test_covariances_just_above_the_diagonal(p):
    """Rounding puts them there. The dual goes on smoothly, whatever the variance."""
    c, phi = p * (1 + 2**-51), GELU()
    with mpmath.workdps(50):
        at = (mpmath.mpf(c), mpmath.mpf(p), mpmath.mpf(p))
        # Written with an arc sine, by Stein's lemma, and differentiated numerically.
        dual, slope = (
            closed_forms.gelu(*at),
            mpmath.diff(closed_forms.gelu, at, (1, 0, 0)),
        )
    found = phi.dual(jnp.float64(c), jnp.float64(p), jnp.float64(p))
    assert float(abs(found.item() / dual - 1)) < 1e-15
    found = phi.dual_derivative(jnp.float64(c), jnp.float64(p), jnp.float64(p))
    assert float(abs(found.item() / slope - 1)) < 1e-15


@pytest.mark.parametrize(
    ("function", "message"),
    [(np.tanh, "written with `jax.numpy`"), (jnp.sum, "works entry by entry")],
)
def test_custom_functions_must_be_elementwise_and_traceable(function, message):
    with pytest.raises(ValueError, match=message):
        Custom(function)


def test_a_dual_without_second_moments_does_not_converge():
    """E exp(0.3 z^2) has a mean with c = 0.3, but no mean square."""
    phi, one = Custom(lambda z: jnp.exp(0.3 * z**2)), jnp.float64(1.0)
    with pytest.raises(ValueError, match=r"Got an estimated relative error of .* at "):
        check_quadrature(phi, jnp.float64(0.3), one, one)


@pytest.mark.parametrize("phi", [ReLU(), GELU(), Tanh()], ids=str)
def test_moments_may_be_plain_numbers(phi):
    with unchecked():
        found = phi.dual_derivative(0.3, 1.0, 1.2), phi.quadrature_error(0.3, 1.0, 1.2)
    moments = map(jnp.float64, (0.3, 1.0, 1.2))
    np.testing.assert_allclose(found[0], phi.dual_derivative(*moments), rtol=1e-6)
    assert np.all(np.isfinite(found[1]))
