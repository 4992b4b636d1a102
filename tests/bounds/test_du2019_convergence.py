import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from oracles import unchecked
from widelimit.bounds.du2019 import (
    guaranteed_decay,
    theorem3_1,
    theorem4_1,
    theorem5_1,
)

PROBLEM = dict(samples=7, depth=3, lambda_0=0.2, separation=0.3, delta=0.05)
DENSE = pytest.mark.parametrize("theorem", [theorem3_1, theorem4_1])


def conv(**changes):
    return theorem5_1(**(PROBLEM | dict(pixels=4) | changes))


@pytest.mark.parametrize("a", [2.0, 3.5])
def test_theorem3_1_at_high_precision(a):
    n, H, low, pair, delta = 7, 3, mpf("0.2"), mpf("0.3"), mpf("0.05")
    log = mpmath.log(H * n**2 / delta)
    terms = [
        n**4 * mpf(a) ** H / low**4,
        n * mpf(a) ** H / delta,
        n**2 * log / (low**2 * pair ** (mpf(3 * H) / 2)),
    ]
    bound = theorem3_1(**PROBLEM, layer_factor=a)
    found = [
        bound.width_for_stability,
        bound.width_for_norms,
        bound.width_for_initial_gram,
    ]
    np.testing.assert_allclose(found, np.array(terms, float), rtol=1e-12)
    np.testing.assert_allclose(bound.required_width, float(max(terms)), rtol=1e-12)
    np.testing.assert_allclose(
        bound.required_step, float(low / (n**2 * mpf(a) ** H)), rtol=1e-12
    )
    assert bound.width_for_radius is None


@pytest.mark.parametrize("repaired", [False, True])
def test_theorems_4_1_and_5_1_at_high_precision(repaired):
    n, H, low, delta = 7, 3, mpf("0.2"), mpf("0.05")
    log, extra = mpmath.log(H * n**2 / delta), H**2 if repaired else 1
    first = n**4 / (low**4 * H**6) * extra
    small = n**2 / (low**2 * H**2) * extra
    second = small if repaired else n**4 / (low**4 * H**2)
    others = [n / delta, n**2 * log / low**2]
    step = low * H**2 / (n**2 * extra)
    for bound, terms, poly in [
        (theorem4_1(**PROBLEM, repaired=repaired), [first, small, *others], 1),
        (conv(repaired=repaired), [first, second, *others], 4),
        (conv(repaired=repaired, pixel_degree=2.5), [first, second, *others], 32),
    ]:
        found = [
            bound.width_for_stability,
            bound.width_for_radius,
            bound.width_for_norms,
            bound.width_for_initial_gram,
        ]
        expected = np.array([t * poly for t in terms], float)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        np.testing.assert_allclose(bound.required_width, expected.max(), rtol=1e-12)
        np.testing.assert_allclose(bound.required_step, float(step / poly), rtol=1e-12)


def test_the_loss_falls_at_the_theorems_rate():
    bound = theorem4_1(**PROBLEM, step_size=0.01, steps=20, width=10**9)
    np.testing.assert_allclose(bound.rate, 1 - 0.01 * 0.2 / 2)
    loss = 1.0
    for _ in range(20):
        loss *= 0.999
    np.testing.assert_allclose(bound.value, loss, rtol=1e-12)
    assert bound.applies and bound.vacuous is False and bound.probability == 0.95
    curve = guaranteed_decay(np.array([0, 20]), step_size=0.01, lambda_0=0.2)
    np.testing.assert_allclose(curve, [1, loss], rtol=1e-12)
    grid = guaranteed_decay(np.arange(3), step_size=np.ones((2, 1)), lambda_0=2.0)
    np.testing.assert_array_equal(grid, [[1, 0, 0]] * 2)


@DENSE
def test_a_width_that_is_too_small_is_told(theorem):
    bound = theorem(**PROBLEM, width=100)
    assert not bound.applies and bound.vacuous is True
    assert "condition is not met: [FAILS] the width" in bound.reason
    assert f"m = 100 against {bound.required_width:.6g}" in bound.reason
    enough = theorem(**PROBLEM, width=math.ceil(bound.required_width))
    assert enough.applies and enough.vacuous is False
    unknown = theorem(**PROBLEM)
    assert unknown.applies and unknown.vacuous is None
    assert f"it needs m >= {bound.required_width:.6g}" in unknown.reason


@DENSE
def test_a_step_that_is_too_large_is_told(theorem):
    small = theorem(**PROBLEM, width=10**12)
    assert small.step_size == small.required_step
    far = theorem(**PROBLEM, width=10**12, step_size=1.01 * small.required_step)
    assert not far.applies and "[FAILS] the step size" in far.reason
    same = theorem(**PROBLEM, width=10**12, step_size=small.required_step)
    assert same.applies
    # Beyond 2 / lambda_0 the factor is negative: no bound at all.
    assert theorem(**PROBLEM, step_size=10.1).value == math.inf


@DENSE
@pytest.mark.parametrize("name", ["lambda_0", "separation"])
@pytest.mark.parametrize("eigenvalue", [0.0, -1e-17])
def test_eigenvalues_that_are_not_positive_fail_the_assumption(
    theorem, name, eigenvalue
):
    bound = theorem(**(PROBLEM | {name: eigenvalue}), width=10**9)
    assert not bound.applies and bound.vacuous
    if name == "lambda_0":
        assert bound.value == bound.required_width == math.inf
        assert bound.required_step == 0


def test_only_the_fully_connected_width_is_exponential_in_the_depth():
    def widths(theorem, depth):
        # As in Sec. D.1: lambda_0 is of order 1 / H^2 in residual networks.
        low = 0.1 / depth**2
        return theorem(**(PROBLEM | dict(depth=depth, lambda_0=low))).required_width

    ratio = widths(theorem4_1, 4000) / widths(theorem4_1, 2000)
    assert 15 < ratio < 20  # the fourth term: log(H n^2 / delta) H^4
    stable = [
        theorem4_1(**(PROBLEM | dict(depth=H, lambda_0=0.1 / H**2))).width_for_stability
        for H in (50, 100)
    ]
    np.testing.assert_allclose(stable[1] / stable[0], 4)  # n^4 H^2, the introduction's
    assert widths(theorem3_1, 40) > 2**20 * widths(theorem3_1, 20)
    assert widths(theorem3_1, 5000) == math.inf


def test_the_second_term_of_theorem5_1_is_never_the_smaller():
    for depth in (2, 5, 100):
        bound = conv(depth=depth, lambda_0=1e-3 / depth)
        assert bound.width_for_radius >= bound.width_for_stability
        repaired = conv(depth=depth, lambda_0=1e-3 / depth, repaired=True)
        assert repaired.width_for_radius < bound.width_for_radius


def test_data_are_checked_if_given():
    random = np.random.default_rng(0)
    x = random.normal(size=(7, 3, 4))
    x = x / np.linalg.norm(x.reshape(7, -1), axis=1)[:, None, None]
    y = random.uniform(-2, 2, size=7)
    known = conv(inputs=x, labels=y, label_bound=2.0)
    assert [a.status for a in known.assumptions[2:4]] == ["checked"] * 2
    assert (
        known.applies
        and [a.status for a in conv().assumptions[2:4]] == ["declared"] * 2
    )
    assert not conv(inputs=x * 1.001).applies
    assert not conv(labels=y, label_bound=0.5 * float(np.abs(y).max())).applies
    assert conv(labels=y).applies


def test_it_reads_as_text_and_as_json():
    bound = conv(width=10)
    text = str(bound)
    assert "Theorem 5.1 (du2019, Sec. 5)" in text and "poly(p), read as p^1" in text
    record = bound.to_dict()
    assert record["required_width"] == bound.required_width
    assert record["applies"] is False
    assert "2^O(H), read as 2^H" in str(theorem3_1(**PROBLEM))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(samples=0), "`theorem5_1` needs `samples >= 1`. Got `samples=0`"),
        (dict(depth=1), "`theorem5_1` needs `depth >= 2`. Got `depth=1`"),
        (dict(pixels=0), "`pixels >= 1`. Got `pixels=0`"),
        (dict(steps=-1), "`steps >= 0`. Got `steps=-1`"),
        (dict(width=0), "`width >= 1`. Got `width=0`"),
        (dict(delta=1.0), "`theorem5_1` needs `0 < delta < 1`. Got `delta=1.0`"),
        (dict(step_size=0.0), "finite `step_size > 0`. Got `step_size=0.0`"),
        (dict(lambda_0=math.nan), "finite numbers in `lambda_0`"),
        (dict(separation=math.inf), "finite numbers in `separation`"),
        (dict(pixel_degree=-1.0), "`pixel_degree >= 0`"),
        (dict(labels=np.zeros(6)), r"`labels.shape=\(6,\)` and `samples=7`"),
        (dict(inputs=np.full((7, 2), np.nan)), "finite numbers in `inputs`"),
    ],
)
def test_arguments_out_of_range_are_named(changes, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        conv(**changes)


def test_a_decay_needs_a_small_step():
    with pytest.raises(ValueError, match="`step_size \\* lambda_0 <= 2`. Got 2.2"):
        guaranteed_decay(3, step_size=2.2, lambda_0=1.0)
    with pytest.raises(ValueError, match="`lambda_0 > 0` .Assumptions 3.1.*Got 0, for"):
        guaranteed_decay(3, step_size=0.1, lambda_0=np.array([0.2, 0.0]))
    with pytest.raises(ValueError, match="`layer_factor >= 1`"):
        theorem3_1(**PROBLEM, layer_factor=0.5)
