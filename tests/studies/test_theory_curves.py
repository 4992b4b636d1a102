"""Curves of theory along the grids, against the formulas written out by hand."""

from math import exp, sqrt

import numpy as np
import pytest

from widelimit.studies.theory import (
    root_mean_square,
    theorem1_value,
    theory_over_depth,
    theory_over_width,
)

FEATURES, OUTPUTS = 64, 10
SIZES = {"features": FEATURES, "outputs": OUTPUTS}
LABELS = ["he", "lecun", "ntk", "non-lazy:1.5"]
POINTS = [(1, 7), (2, 40), (5, 9)]


def betas(label, m):
    """zhu2022, Table 1 and Sec. 5.1: first, inner and last standard deviation."""
    return {
        "he": (sqrt(2 / FEATURES), sqrt(2 / m), sqrt(2 / m)),
        "lecun": (sqrt(1 / FEATURES), sqrt(1 / m), sqrt(1 / m)),
        "ntk": (sqrt(2 / m), sqrt(2 / m), sqrt(1 / OUTPUTS)),
        "non-lazy:1.5": (m**-1.5, m**-1.5, m**-1.5),
    }[label]


def theorem1(label, depth, m):
    """zhu2022, Eq. (3), with the constants set to 1."""
    first, inner, last = betas(label, m)
    layers, gamma = depth + 1, inner * sqrt(m / 2)
    training = sqrt(layers**3 * m**2 * first**2 * last**2) * exp(-m / layers**3)
    start = sqrt(m * OUTPUTS * first**2 * last**2)
    return (training + start) * gamma ** (layers - 2)


def lemma5(label, depth, m):
    """Root of zhu2022, Eq. (12), with the exact mean square of the ball's radius."""
    first, inner, last = betas(label, m)
    gradient = OUTPUTS * last**2 * (m / 2) * FEATURES * first**2
    gradient *= (inner**2 * m / 2) ** (depth - 1)
    return sqrt(gradient / (FEATURES + 2))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(("depth", "width"), POINTS)
@pytest.mark.parametrize(
    ("bound", "formula"), [(theorem1_value, theorem1), (root_mean_square, lemma5)]
)
def test_bounds_are_the_papers_formulas(bound, formula, label, depth, width):
    found = bound(label, depth=depth, width=width, **SIZES)
    assert found == pytest.approx(formula(label, depth, width), rel=1e-12)


def test_a_curve_over_width_fills_the_measured_range():
    widths = np.array([4, 300, 16])
    curve = theory_over_width(theorem1_value, "ntk", "L = 4", widths, depth=3, **SIZES)
    assert curve.theory and curve.series == "L = 4" and not curve.low
    assert curve.x[0] == 4 and curve.x[-1] == 300 and 30 < len(curve.x) <= 48
    assert all(isinstance(m, int) for m in curve.x)
    assert list(curve.x) == sorted(set(curve.x))
    np.testing.assert_allclose(curve.y, [theorem1("ntk", 3, m) for m in curve.x])


def test_a_curve_over_one_width_is_one_point():
    widths = np.array([16])
    curve = theory_over_width(root_mean_square, "he", "all", widths, depth=1, **SIZES)
    assert curve.x == [16]
    np.testing.assert_allclose(curve.y, lemma5("he", 1, 16))


def test_a_curve_over_depth_stands_at_the_papers_number_of_layers():
    depths = np.array([5, 1, 3])
    curve = theory_over_depth(theorem1_value, "he", "8", depths, width=8, **SIZES)
    assert curve.theory and list(curve.x) == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(curve.y, [theorem1("he", n - 1, 8) for n in curve.x])
