"""`drop_near_parallel` against a double loop, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widelimit.datasets import drop_near_parallel, near_parallel


def by_loops(x, max_cosine):
    """Kept rows, and for each other row its index, its cause and their cosine."""
    kept, dropped = [], []
    for i, row in enumerate(x):
        for j in kept:
            cosine = float(sum(row * x[j])) / math.dist(row, 0 * row)
            cosine /= math.dist(x[j], 0 * row)
            if abs(cosine) > max_cosine:
                dropped.append((i, j, cosine))
                break
        else:
            kept.append(i)
    return kept, dropped


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0.05, 0.98))
@settings(max_examples=15, deadline=None)
def test_it_is_the_greedy_rule(seed, block, max_cosine):
    rng = np.random.default_rng(seed)
    n, d = rng.integers(1, 30), rng.integers(2, 5)
    x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, (n, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_parallel, "_BLOCK", block)
        found = drop_near_parallel(x, max_cosine)
    kept, dropped = by_loops(x, max_cosine)
    assert found.kept.tolist() == kept
    rows, causes, cosines = zip(*dropped, strict=True) if dropped else ((), (), ())
    assert found.dropped.tolist() == list(rows)
    assert found.parallel_to.tolist() == list(causes)
    np.testing.assert_allclose(found.cosines, cosines, rtol=1e-12)


def test_a_row_near_a_dropped_one_only_is_kept():
    angles = np.array([0.0, 0.2, 0.4, 0.6])  # each near its neighbours only
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = drop_near_parallel(x, math.cos(0.3))
    assert found.kept.tolist() == [0, 2] and found.parallel_to.tolist() == [0, 2]


def test_one_as_threshold_drops_what_is_parallel_to_rounding():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 60))
    angle = 1e-6  # still told apart: 1 - cos is 5e-13
    near = x[2] + angle * np.linalg.norm(x[2]) * np.eye(60)[0]
    x = np.concatenate([x, 1e-200 * x[[7]], -1e200 * x[[9]], x[[7]], [near]])
    found = drop_near_parallel(x, 1.0)
    assert found.dropped.tolist() == [300, 301, 302]
    assert found.parallel_to.tolist() == [7, 9, 7]
    np.testing.assert_allclose(found.cosines, [1, -1, 1], rtol=1e-14)


@pytest.mark.parametrize(
    ("x", "max_cosine", "message"),
    [
        (np.eye(3), 1.1, "`max_cosine` from 0 to 1. Got `max_cosine=1.1`"),
        (np.eye(3), float("nan"), "Got `max_cosine=nan`"),
        (np.diag([1.0, 0.0, 0.0]), 0.5, r"zero row at index 1 \(2 such rows\)"),
        (np.array([[1.0, np.nan]]), 0.5, "finite numbers in `x`"),
        (np.ones((0, 3)), 0.5, r"matrix with one input per row.*\(0, 3\)"),
    ],
)
def test_bad_rows_and_thresholds_are_refused(x, max_cosine, message):
    with pytest.raises(ValueError, match=f"`drop_near_parallel` needs .*{message}"):
        drop_near_parallel(x, max_cosine)
