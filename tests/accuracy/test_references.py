"""References in mpmath against brute force: double integrals, pairings, differences."""

import mpmath
import numpy as np
import pytest
import scipy.special

from oracles import gaussian_pair_mean, rectifier_duals
from widelimit.accuracy import fourier_integral, hermite_series, means
from widelimit.accuracy.cases import QUANTITIES, cases
from widelimit.accuracy.logistic_duals import CORES, EVEN, ODD
from widelimit.accuracy.real import DIGITS

CASES = {case.name: case for case in cases()}
MOMENTS = [(-0.2, 0.3, 0.4), (1.4, 1.4, 1.4), (-2.0, 30.0, 0.2)]
ORDERS = set(QUANTITIES.values())


def logistic(z):
    return 1 / (1 + np.exp(-z))


# The functions again, in long doubles.
FUNCTIONS = {
    "Identity()": lambda z: z,
    "Polynomial(coefficients=(0.0, 0.0, 1.0))": np.square,
    "Polynomial(coefficients=(0.4, -0.7, 0.2, 0.1))": lambda z: np.polyval(
        np.longdouble([0.1, 0.2, -0.7, 0.4]), z
    ),
    "Erf()": lambda z: scipy.special.erf(np.float64(z)),
    "GELU()": lambda z: z * scipy.special.ndtr(np.float64(z)),
    "Sine(frequency=1.3)": lambda z: np.sin(np.longdouble(1.3) * z),
    "Cosine(frequency=0.7)": lambda z: np.cos(np.longdouble(0.7) * z),
    "Tanh()": np.tanh,
    "Sigmoid()": logistic,
    "Softplus()": lambda z: np.logaddexp(np.longdouble(0), z),
    "SiLU()": lambda z: z * logistic(z),
}


def reals(moments):
    return tuple(map(mpmath.mpf, moments))


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        (name, moments)
        for name in FUNCTIONS
        for moments in MOMENTS
        # Another test has parallel inputs of functions with slow references.
        if not (CASES[name].slow and moments == MOMENTS[1])
    ],
)
def test_smooth_duals_are_double_integrals(name, moments):
    f = FUNCTIONS[name]
    expected = gaussian_pair_mean(f, f, *moments)
    with mpmath.workdps(DIGITS):
        dual = CASES[name].partials(*reals(moments), [(0, 0, 0)])[0, 0, 0]
    np.testing.assert_allclose(float(dual), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in CASES if "LU(" in n and n[0] in "RL"])
def test_rectifiers_are_integrals_over_the_angle(name):
    slope = CASES[name].activation.slope
    for moments in [*MOMENTS, (0.9999, 1.0, 1.0), (-0.999, 1.0, 1.0)]:
        expected = rectifier_duals(slope, *moments)
        with mpmath.workdps(DIGITS):
            found = CASES[name].partials(*reals(moments), ORDERS)
        actual = [float(found[order]) for order in ((0, 0, 0), (1, 0, 0))]
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["LeakyReLU(slope=0.3)", "SiLU()", "Tanh()"])
def test_partial_derivatives_are_those_of_the_dual(name):
    """Central differences, without Price's theorem or the chain rule."""
    with mpmath.workdps(DIGITS):
        at, step = reals((0.02, 0.06, 0.04)), mpmath.mpf(10) ** -12
        found = CASES[name].partials(*at, ORDERS)
        below = {(0, 0, 0): (0, 1, 2), (1, 0, 0): (0, 1, 2)}
        for order, axes in below.items():
            for k in axes:
                ends = []
                for sign in (1, -1):
                    moved = [x + sign * step * (i == k) for i, x in enumerate(at)]
                    ends.append(CASES[name].partials(*moved, [order])[order])
                difference = (ends[0] - ends[1]) / (2 * step)
                higher = tuple(n + (i == k) for i, n in enumerate(order))
                assert abs(difference / found[higher] - 1) < 1e-18, higher


@pytest.mark.parametrize("core", CORES)
def test_series_and_integrals_agree_to_45_digits(core):
    function, transform = CORES[core]
    with mpmath.workdps(DIGITS):
        at = reals((-0.2, 0.5, 0.3))
        series = hermite_series.pair_means(function, EVEN + ODD, *at)
        integral = fourier_integral.pair_means(transform, EVEN + ODD, *at)
        for orders, value in series.items():
            assert abs(integral[orders] / value - 1) < 1e-45, orders


def test_integrals_for_parallel_inputs_of_any_size():
    r"""E tanh(v/2)^2 = 1 - E 1/cosh(v/2)^2, one integral; W = a quarter of it."""
    with mpmath.workdps(DIGITS):
        for q in (3, 1e6):
            q = mpmath.mpf(q)
            transform = fourier_integral.softplus_transform
            found = fourier_integral.pair_means(transform, [(1, 1)], q, q, q)[1, 1]
            with mpmath.workdps(30):
                rest = 2 * mpmath.quad(
                    lambda v, q=q: (
                        mpmath.sech(v / 2) ** 2 * mpmath.npdf(v, 0, mpmath.sqrt(q))
                    ),
                    [0, 2, 8, 32, 128],
                )
            assert abs(4 * found - (1 - rest)) < 1e-25


def test_means_are_integrals():
    with mpmath.workdps(DIGITS):
        q = mpmath.mpf(1.7)
        root = mpmath.sqrt(q / (2 * mpmath.pi))
        expected = {
            "relu": (lambda z: max(z, 0), root, root / (2 * q)),
            "square": (lambda z: z * z, q, 1),
            "gelu": (
                lambda z: z * mpmath.ncdf(z),
                q / mpmath.sqrt(2 * mpmath.pi * (1 + q)),
                None,
            ),
            "odd": (mpmath.tanh, 0, 0),
        }
        for name, (phi, value, slope) in expected.items():
            found = means.mean(phi, q)
            assert abs(found[0] - value) < 1e-40, name
            assert slope is None or abs(found[1] - slope) < 1e-40, name
