"""Means and their standard errors, against loops and by simulation."""

import math

import numpy as np
import pytest

import oracles
from widelimit.measures import Estimate, mean_over_inputs, mean_over_seeds


def table(rng, k, n, seeds, inputs, noise):
    """The two-way random-effects model, with mean 3."""
    return (
        3.0
        + seeds * rng.normal(size=(k, 1))
        + inputs * rng.exponential(size=(1, n))
        - inputs
        + noise * rng.normal(size=(k, n))
    )


def test_mean_over_inputs():
    estimate = mean_over_inputs(np.array([1.0, 2.5, 7.0]))
    assert estimate.mean == pytest.approx(3.5)
    assert estimate.standard_error == pytest.approx(math.sqrt(9.75 / 3))


def test_one_input_has_no_standard_error():
    estimate = mean_over_inputs(np.array([2.5]))
    assert estimate.mean == 2.5 and math.isnan(estimate.standard_error)


def test_mean_over_inputs_is_calibrated():
    rng = np.random.default_rng(1)
    estimates = [mean_over_inputs(rng.exponential(2.0, size=6)) for _ in range(4000)]
    gaps = [(e.mean - 2.0) ** 2 - e.standard_error**2 for e in estimates]
    oracles.assert_mean_matches(gaps, 0.0)


@pytest.mark.parametrize(("k", "n"), [(2, 2), (3, 7), (7, 3)])
def test_mean_over_seeds_against_mean_squares(k, n):
    values = table(np.random.default_rng(1), k, n, seeds=1.3, inputs=0.7, noise=0.2)
    estimate = mean_over_seeds(values)
    assert estimate.mean == pytest.approx(values.mean(), rel=1e-14)
    expected = oracles.crossed_variance(values.tolist())
    assert estimate.standard_error == pytest.approx(math.sqrt(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "seeds", "inputs", "noise"),
    [(9, 6, 1.3, 0.7, 0.4), (5, 12, 0.6, 1.1, 0.8), (6, 30, 0.9, 0.8, 0.5)],
)
def test_mean_over_seeds_is_calibrated(k, n, seeds, inputs, noise):
    rng = np.random.default_rng(1)
    estimates = [
        mean_over_seeds(table(rng, k, n, seeds, inputs, noise)) for _ in range(4000)
    ]
    squares = np.array([(e.mean - 3) ** 2 for e in estimates])
    estimated = np.array([e.standard_error**2 for e in estimates])
    truth = seeds**2 / k + inputs**2 / n + noise**2 / (k * n)
    oracles.assert_mean_matches(squares, truth)
    oracles.assert_mean_matches(estimated, truth, bias=0.01 * truth)
    # Errors over the inputs or over the seeds alone would be too small.
    assert seeds**2 / k < 0.95 * truth and inputs**2 / n < 0.95 * truth


def test_mean_over_seeds_never_falls_below_either_error_alone():
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = table(rng, 3, 4, seeds=0.0, inputs=0.0, noise=1.0)
        least = max(
            mean_over_inputs(values.mean(0)).standard_error,
            mean_over_inputs(values.mean(1)).standard_error,
        )
        assert mean_over_seeds(values).standard_error >= least * (1 - 1e-12)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)], ids=str)
def test_one_seed_or_input_has_no_standard_error(shape):
    values = np.random.default_rng(1).normal(size=shape)
    estimate = mean_over_seeds(values)
    assert estimate.mean == pytest.approx(values.mean())
    assert math.isnan(estimate.standard_error)


def test_equal_values_have_no_error():
    assert mean_over_seeds(np.full((3, 4), 2.5)) == Estimate(2.5, 0.0)
