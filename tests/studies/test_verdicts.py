"""Verdicts: the intervals, and how often they are wrong where the truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from widelimit.studies.verdicts import (
    Claim,
    Interval,
    every,
    explained,
    interval,
    judge,
    log2,
    rises_then_falls,
    share_interval,
    slopes,
)

NAN = math.nan


def rng():
    return np.random.default_rng(20260101)


def judge_every(**groups):
    return every({name: np.array(values) for name, values in groups.items()})


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("tests", [1, 4])
def test_interval_is_students(n, tests):
    values = 0.3 + 1.7 * rng().normal(size=n)
    found = interval(values, tests=tests)
    low, high = stats.t.interval(
        1 - 0.05 / tests, n - 1, loc=values.mean(), scale=stats.sem(values)
    )
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-12)
    assert found.mean == pytest.approx(values.mean())


def test_interval_leaves_out_seeds_without_a_number():
    kept = [0.4, -0.2, 1.1]
    assert interval([NAN, *kept, math.inf]) == interval(kept)


@pytest.mark.parametrize("values", [[], [NAN, NAN], [0.7], [NAN, 0.7]])
def test_fewer_than_two_seeds_decide_nothing(values):
    found = interval(values)
    assert found.half_width == math.inf
    assert judge(found) is None
    assert math.isnan(found.mean) or found.mean == 0.7


@pytest.mark.parametrize(
    ("mean", "half_width", "answer"),
    [
        (0.5, 0.4, True),
        (-0.5, 0.4, False),
        (0.5, 0.6, None),
        (-0.5, 0.6, None),
        (0.5, 0.5, None),
        (0.5, 0.0, True),
        (0.0, 0.0, None),
        (0.5, NAN, None),
        (0.5, math.inf, None),
        (NAN, math.inf, None),
    ],
)
def test_judge(mean, half_width, answer):
    assert judge(Interval(mean, half_width)) is answer


def test_the_interval_covers_the_mean_in_95_percent():
    draws = rng().normal(loc=0.3, size=(4000, 5))
    hits = [i.low < 0.3 < i.high for i in map(interval, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=4 * (0.05 * 0.95 / 4000) ** 0.5)


# every: the claim is the intersection of the groups' claims.

HIGH, MIDDLE = [2.0, 2.1, 2.2], [0.8, 0.9, 1.0]
MIXED, LOW, LOST = [-0.8, 0.9, 1.0], [-2.2, -2.1, -2.0], [NAN, NAN, NAN]


def test_every_names_the_group_that_decides():
    found, holds, weakest = judge_every(a=HIGH, b=MIDDLE, c=HIGH)
    assert holds is True and weakest == "b" and found == interval(MIDDLE)


@pytest.mark.parametrize("weak", [MIXED, LOST], ids=["mixed", "lost"])
def test_every_is_undecided_where_one_group_is(weak):
    found, holds, weakest = judge_every(a=HIGH, b=weak)
    assert holds is None and weakest == "b"
    np.testing.assert_equal(vars(found), vars(interval(weak)))


def test_every_reports_the_group_that_refutes():
    # The last one's own interval lies lowest, but not when widened for four groups.
    two_seeds = [-3.2, -3.0, NAN]
    assert judge(interval(two_seeds)) is False
    assert judge(interval(two_seeds, tests=4)) is None
    found, holds, refuting = judge_every(lost=LOST, high=HIGH, low=LOW, two=two_seeds)
    assert holds is False and refuting == "low"
    assert found == interval(LOW, tests=4) and found.high < 0


def test_every_is_not_refuted_by_an_interval_that_was_not_widened():
    barely, high = [-3.2, -3.0], [1.0, 1.1]
    assert judge_every(one=barely)[1] is False
    assert judge_every(one=barely, two=high, three=high)[1] is None


@pytest.mark.parametrize("others", [0.0, 3.0])
def test_every_rarely_holds_where_one_group_does_not(others):
    means = np.array([0.0, others, others, others])
    draws = means[:, None] + rng().normal(size=(800, 4, 5))
    answers = [every(dict(enumerate(groups)))[1] for groups in draws]
    assert np.mean([a is True for a in answers]) <= 0.04  # 0.025, and 3 standard errors
    assert np.mean([a is False for a in answers]) <= 0.04


# slopes


def test_slopes_are_least_squares():
    positions, rows = [1.0, 2.0, 4.0, 9.0], rng().normal(size=(3, 4))
    expected = [np.polyfit(positions, row, 1)[0] for row in rows]
    np.testing.assert_allclose(slopes(rows, positions), expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_a_row_that_is_not_finite_has_no_slope(bad):
    rows = np.array([[1.0, 2.0, 3.0], [1.0, bad, 3.0]])
    np.testing.assert_array_equal(slopes(rows, [0.0, 1.0, 2.0]), [1.0, NAN])


@pytest.mark.parametrize("positions", [[], [3.0]])
def test_fewer_than_two_positions_have_no_slope(positions):
    found = slopes(np.ones((4, len(positions))), positions)
    assert found.shape == (4,) and np.isnan(found).all()


def test_log2_is_quiet_and_leaves_out_what_has_no_logarithm():
    found = log2(np.array([8.0, 0.0, NAN]))
    assert found[0] == 3.0 and not np.isfinite(found[1:]).any()


# rises_then_falls


def curves(shape, noise=0.05, seeds=5):
    return np.asarray(shape) + noise * rng().normal(size=(seeds, len(shape)))


def test_a_peak_inside_is_found():
    found, holds, peak = rises_then_falls(curves([0.0, 0.5, 2.0, 1.5, 1.2]))
    assert holds is True and peak == 2
    assert 0.0 < found.low < 0.8 < found.high  # peak less last is the smaller


@pytest.mark.parametrize(
    "shape",
    [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 1, 0, 1, 2], [2, 1, 0, 1, 0.4]],
    ids=["up", "down", "dip", "dip and down"],
)
def test_other_shapes_do_not_rise_and_fall(shape):
    found, holds, _ = rises_then_falls(curves(shape))
    assert holds is False
    assert found.high < 0  # the interval shown agrees with the verdict


def test_the_interval_shown_agrees_with_a_refutation_on_one_side():
    # Every inner column lies clearly below the first; the last is all noise.
    values = curves([3.0, 2.0, 1.0, 0.5])
    values[:, -1] += [30, -30, 30, -30, 0]
    found, holds, _ = rises_then_falls(values)
    assert holds is False and found.high < 0


def test_flat_noise_is_undecided():
    answers = [rises_then_falls(values)[1] for values in rng().normal(size=(400, 5, 6))]
    assert np.mean([a is None for a in answers]) > 0.95
    assert np.mean([a is True for a in answers]) < 0.025


@pytest.mark.parametrize("shape", [[0, 0, 0, 0, 4], [0, 0, 4, 4, 4]], ids=str)
def test_a_curve_on_the_edge_of_a_peak_rarely_has_one(shape):
    draws = np.array(shape) + rng().normal(size=(400, 5, 5))
    assert np.mean([rises_then_falls(v)[1] is True for v in draws]) < 0.05


def test_a_peak_is_rarely_denied():
    draws = np.array([0, 1, 0, -1, 0]) * 1e-3 + rng().normal(size=(400, 5, 5))
    assert np.mean([rises_then_falls(v)[1] is False for v in draws]) < 0.05


@pytest.mark.parametrize("columns", [1, 2])
def test_without_an_inner_column_there_is_no_answer(columns):
    found, holds, peak = rises_then_falls(np.ones((5, columns)))
    assert holds is None and peak is None and math.isnan(found.mean)


def test_missing_columns_leave_it_open_or_are_passed_over():
    values = curves([0, 2, 3, 0.5, 0])
    values[:, 2] = NAN
    found, holds, peak = rises_then_falls(values)
    assert holds is True and peak == 1 and found.low > 0
    values[:, 0] = NAN
    assert rises_then_falls(values)[1] is None
    rising = curves([0, 1, 2, 3, 4])
    rising[:, 2] = NAN
    assert rises_then_falls(rising)[1] is None


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [(True, "holds"), (False, "does not hold"), (None, "undecided")],
)
def test_a_claim_as_json_data(holds, verdict):
    claim = Claim("name", "words", NAN, math.inf, holds, scope={"depth": 2})
    data = claim.to_dict()
    assert data["statistic"] is None and data["uncertainty"] is None
    assert data["holds"] is holds and data["verdict"] == claim.verdict == verdict
    assert data["scope"] == {"depth": 2}


def test_explained_is_the_squared_correlation():
    rng = np.random.default_rng(3)
    x, rows = rng.normal(size=7), rng.normal(size=(3, 7))
    expected = [np.corrcoef(x, row)[0, 1] ** 2 for row in rows]
    np.testing.assert_allclose(explained(rows, x), expected)
    assert np.isnan(explained(rows[:, :2], x[:2])).all()
    rows[1, 3] = np.nan
    assert np.isnan(explained(rows, x)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "shares",
    [(0.99, 0.98, 1.0), (1.0, 1.0, 0.9), (0.0, 0.0, 0.3), (0.5, 0.6, 0.55, 0.45)],
    ids=repr,
)
def test_the_interval_of_a_share_stays_inside(shares):
    found, plain = share_interval(shares), interval(shares)
    assert found.mean == plain.mean
    assert 0 <= found.low < found.mean < found.high <= 1
    # Both ends solve Wilson's equation, with as many trials as the spread is worth.
    p, k = np.mean(shares), len(shares)
    trials = p * (1 - p) * k / np.var(shares, ddof=1)
    for end in (found.low, found.high):
        root = np.sqrt(end * (1 - end) / trials)
        assert abs(p - end) == pytest.approx(stats.t.ppf(0.975, k - 1) * root)


def test_the_interval_of_a_share_is_students_far_from_the_ends():
    shares = 0.5 + 1e-4 * np.random.default_rng(2).normal(size=8)
    found, plain = share_interval(shares), interval(shares)
    np.testing.assert_allclose(
        (found.low, found.high), (plain.low, plain.high), rtol=1e-7
    )


def test_shares_as_text():
    assert str(share_interval([0.5, 0.5])) == "50.00% (50.00% to 50.00%)"
    assert str(share_interval([1.0, 1.0, math.nan])) == "100.00% (100.00% to 100.00%)"
    assert str(share_interval([0.25])) == "25.00%, no interval"
    assert str(share_interval([])) == "not measured"
