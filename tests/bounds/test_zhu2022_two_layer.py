import json
import math

import jaxtyping
import mpmath
import numpy as np
import pytest
from chains import direct, unit_rows
from mpmath import mpf

from widelimit.bounds.zhu2022 import (
    limit_gram,
    theorem3,
    theorem3_rate,
)
from widelimit.networks import zhu2022_network

RNG = np.random.default_rng(3)
X, Y = unit_rows(RNG, 4, 5), np.array([1.0, -0.4, 0.7, 0.3])


def failing(bound):
    return [a.statement for a in bound.assumptions if a.holds is False]


def gram_draws(rng, x, m, beta_1, beta_2, alpha, k):
    """H(0) of `k` networks, `(k, n, n)`, from its definition."""
    on = (beta_1 * rng.normal(size=(k, m, x.shape[1])) @ x.T >= 0).astype(float)
    a = beta_2 * rng.normal(size=(k, m))
    return np.einsum("kr,kri,krj->kij", a**2, on, on) * (x @ x.T) / alpha**2


def test_limit_gram_is_the_mean_over_networks():
    x = X * np.array([1.0, 0.5, 2.0, 1.3])[:, None]
    draws = gram_draws(RNG, x, 3, 0.7, 1.3, 1.6, 20_000)
    expected = limit_gram(direct(5, 3, 1, (0.7, 1.3), 1.6), x)
    error = draws.std(0, ddof=1) / len(draws) ** 0.5
    assert (np.abs(draws.mean(0) - expected) < 5 * error).all()
    assert (np.diag(error) < 0.02 * np.diag(expected)).all()


def test_limit_gram_of_special_angles():
    angles = np.array([0, np.pi / 3, np.pi])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    gram = limit_gram(direct(2, 7, 1, (0.7, 1.3), 1.6), x)
    unit = 7 * 1.3**2 / 1.6**2
    np.testing.assert_allclose(
        gram / unit,
        [[1 / 2, 1 / 6, 0], [1 / 6, 1 / 2, -1 / 12], [0, -1 / 12, 1 / 2]],
        atol=1e-12,
    )


def test_the_condition_of_the_mended_lemma7_has_the_variance_of_the_gram():
    network = direct(5, 3, 1, (0.7, 1.3), 1.6)
    draws = gram_draws(RNG, X, 3, 0.7, 1.3, 1.6, 20_000)
    squares = np.sum((draws - limit_gram(network, X)) ** 2, axis=(1, 2))
    (lemma,) = [
        a
        for a in theorem3(network, X, Y, time=0.0, repaired=True).assumptions
        if a.statement.startswith("Lemma 7")
    ]
    left, right = map(float, lemma.detail.split(" against "))
    assert abs(squares.mean() - right / 4) < 5 * squares.std() / len(squares) ** 0.5
    own = np.linalg.eigvalsh(limit_gram(network, X))[0]
    np.testing.assert_allclose(left, (own / 4) ** 2, rtol=1e-5)
    assert lemma.holds is False
    wide = theorem3(direct(5, 10**6, 1, (0.7, 1.3)), X, Y, time=0.0, repaired=True)
    assert wide.applies


def by_hand(n, m, b1, b2, alpha, eigenvalue, residual, t, repaired):
    """App. D in the order of the paper, in high precision."""
    n, m, b1, b2, alpha, lam, residual, t = map(
        mpf, (n, m, b1, b2, alpha, eigenvalue, residual, t)
    )
    pi, sqrt, log, exp = mpmath.pi, mpmath.sqrt, mpmath.log, mpmath.exp
    R_a = alpha / n * sqrt(lam / (8 * n * m)) - sqrt(2 / pi) * b2
    if repaired:
        target = alpha**2 * lam / (8 * n**3 * m)
        R_a = mpmath.findroot(
            lambda r: (r * (r + 2 * sqrt(2 / pi) * b2)) / target - 1,
            (0, sqrt(target)),
            solver="anderson",
        )
    R_w = (alpha**2 * lam * sqrt(2 * pi) * b1) / (
        32 * n**3 * m * (R_a * (R_a + sqrt(8 / pi) * b2) + b2**2)
    )
    inside = 1 - R_w * lam * alpha / (2 * sqrt(n) * (sqrt(n) * b2 + R_a) * residual)
    t_1 = -2 / lam * log(inside) if inside > 0 else mpmath.inf
    tail = 3 * b1 * sqrt(log(m * n**2)) + R_w
    inside = 1 - R_a * lam * alpha / (2 * sqrt(n) * tail * residual)
    t_2 = -2 / lam * log(inside) if inside > 0 else mpmath.inf
    grown = 2 * sqrt(n) / (lam * alpha) * residual * (1 - exp(-lam * t / 2))
    R_a_star, R_w_star = grown * tail, grown * (sqrt(n) * b2 + R_a)
    value = (
        m
        / alpha
        * (R_a_star + sqrt(2 / pi) * n * b2)
        * (R_w_star + 4 * b1 * sqrt(m) + 2 * b1 * sqrt(log(n)))
    )
    return dict(
        R_a=R_a,
        R_w=R_w,
        t_1=t_1,
        t_2=t_2,
        R_a_star=R_a_star,
        R_w_star=R_w_star,
        value=value,
    )


CASES = [  # width, beta_1, beta_2, alpha, eigenvalue, time, repaired
    (50, 2e-3, 3e-3, 1.3, 0.8, 1e-3, False),
    (50, 2e-3, 3e-3, 1.3, 20.0, 0.4, False),
    (300, 0.2, 1.3, 1.7, None, 1e-4, True),
    (50, 1e-4, 3e-4, 0.6, 0.2, 2.0, True),
]


@pytest.mark.parametrize("m, b1, b2, alpha, eigenvalue, t, repaired", CASES)
def test_theorem3_at_high_precision(m, b1, b2, alpha, eigenvalue, t, repaired):
    network = direct(5, m, 1, (b1, b2), alpha)
    f0 = np.array([0.1, 0.2, -0.1, 0.05])
    bound = theorem3(
        network,
        X,
        Y,
        time=t,
        outputs_at_init=f0[:, None],
        smallest_eigenvalue=eigenvalue,
        repaired=repaired,
    )
    own = np.linalg.eigvalsh(limit_gram(network, X))[0]
    np.testing.assert_allclose(bound.data_eigenvalue, own, rtol=1e-10)
    np.testing.assert_allclose(bound.smallest_eigenvalue, eigenvalue or own)
    np.testing.assert_allclose(bound.residual, np.linalg.norm(Y - f0))
    expected = by_hand(
        4, m, b1, b2, alpha, bound.smallest_eigenvalue, bound.residual, t, repaired
    )
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(bound, name), float(value), rtol=1e-9)
    norm_w = b1 * (m**0.5 + 5**0.5) + m**0.5 * bound.R_w_star
    norm_a = b2 * (m**0.5 + 1) + m**0.5 * bound.R_a_star
    np.testing.assert_allclose(bound.trivial, norm_w * norm_a / alpha * 5 / 6)


def test_times_are_when_the_radii_are_reached():
    network = direct(5, 300, 1, (0.2, 1.3), 1.7)
    first = theorem3(network, X, Y, time=0.0, repaired=True)
    assert first.R_a_star == first.R_w_star == 0
    assert math.isfinite(first.t_1) and math.isfinite(first.t_2)
    at_1 = theorem3(network, X, Y, time=first.t_1, repaired=True)
    np.testing.assert_allclose(at_1.R_w_star, first.R_w)
    at_2 = theorem3(network, X, Y, time=first.t_2, repaired=True)
    np.testing.assert_allclose(at_2.R_a_star, first.R_a)
    late = theorem3(network, X, Y, time=1.01 * min(first.t_1, first.t_2), repaired=True)
    statement = "the time is at most min(t_1*, t_2*)"
    assert statement in failing(late) and statement not in failing(first)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("m, beta, alpha", [(30, 1.0, 0.3), (10**6, 1e-9, 20.0)])
def test_as_printed_it_applies_to_no_data(n, m, beta, alpha):
    # Orthogonal inputs have the largest smallest eigenvalue, half of a unit's.
    x, y = np.eye(6)[:n], np.ones(n)
    bound = theorem3(direct(6, m, 1, (beta, beta), alpha), x, y, time=0.0)
    np.testing.assert_allclose(bound.data_eigenvalue, m * beta**2 / alpha**2 / 2)
    expected = (0.25 / n**1.5 - (2 / math.pi) ** 0.5) * beta
    np.testing.assert_allclose(bound.R_a, expected)
    assert not bound.applies and bound.vacuous and bound.value == math.inf
    assert "R_a > 0" in failing(bound) and "R_a is not positive" in bound.reason
    record = bound.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False))["value"] == "inf"
    # Repaired, the same data have a radius.
    mended = theorem3(
        direct(6, m, 1, (beta, beta), alpha), x, y, time=0.0, repaired=True
    )
    assert mended.R_a > 0 and math.isfinite(mended.value)


def test_lemma7_fails_in_the_regime_of_the_theorem():
    for exponent in (1.5, 2.0):
        net = zhu2022_network(
            depth=1, width=400, outputs=1, initialization="non-lazy", exponent=exponent
        )
        bound = theorem3(net, X, Y, time=0.0)
        assert any(s.startswith("Lemma 7: alpha") for s in failing(bound))


@pytest.mark.parametrize("m", [5, 400])
@pytest.mark.parametrize("t", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("repaired", [True, False])
def test_it_is_never_below_the_lipschitz_bound(m, t, repaired):
    b = 1e-3 * m**-1.5
    bound = theorem3(
        direct(5, m, 1, (b, b)),
        X,
        Y,
        time=t,
        smallest_eigenvalue=0.3,
        repaired=repaired,
    )
    assert bound.value > bound.trivial and bound.vacuous


def test_a_declared_eigenvalue_lets_the_theorem_apply():
    m = 400
    network = direct(5, m, 1, (m**-2.0, m**-2.0))
    x, y = unit_rows(RNG, 7, 5), np.ones(7)
    bound = theorem3(network, x, y, time=1e-4, smallest_eigenvalue=0.3)
    assert bound.applies and bound.R_a > 0
    declared = [a.statement for a in bound.assumptions if a.holds is None]
    assert "lambda_0 is the smallest eigenvalue of H_inf" in declared
    rate = theorem3_rate(width=m, samples=7, exponent=2.0)
    np.testing.assert_allclose(bound.rate, rate)
    np.testing.assert_allclose(bound.probability, 1 - 7 * math.exp(-3.5) - 3 / 7)


def test_probability_of_the_mended_proof():
    x = unit_rows(RNG, 9, 5)
    bound = theorem3(
        direct(5, 12, 1, (0.1, 0.1)), x, np.ones(9), time=0.0, repaired=True
    )
    expected = 1 - 12 * math.exp(-4.5) - 5 / 9 - math.exp(-24) / 81
    np.testing.assert_allclose(bound.probability, expected)


def test_residual_without_outputs_is_its_root_mean_square():
    m, b1, b2, alpha, k = 6, 0.7, 1.3, 1.6, 40_000
    w = b1 * RNG.normal(size=(k, m, 5))
    a = b2 * RNG.normal(size=(k, 1, m))
    f = (a @ np.maximum(w @ X.T, 0))[:, 0] / alpha
    squares = np.sum((Y - f) ** 2, axis=1)
    bound = theorem3(direct(5, m, 1, (b1, b2), alpha), X, Y, time=0.0)
    error = squares.std() / k**0.5
    assert abs(squares.mean() - bound.residual**2) < 5 * error


def test_each_assumption_is_checked():
    def check(network, x=X, y=Y, **options):
        fails = failing(
            theorem3(network, x, y, time=0.0, smallest_eigenvalue=1.0, **options)
        )
        return fails

    b = 400**-1.5
    assert check(direct(5, 400, 1, (b, b))) == []
    assert check(direct(5, 400, 2, (b, b))) == ["one output"]
    assert check(direct(5, 400, 1, (b, b)), 1.1 * X) == [
        "every input has unit norm (Assumption 1)"
    ]
    assert check(direct(5, 400, 1, (b, 1.01 * b))) == [
        "beta_1 and beta_2 are at most m^-1.5"
    ]
    b = 16**-1.5 / 1000
    assert check(direct(5, 16, 1, (b, b))) == ["m > n^2"]
    b = 4**-1.5 / 1000
    assert check(direct(5, 4, 1, (b, b))) == ["m >= d", "m > n^2"]
    # Two equal inputs: the Gram matrix is singular.
    bound = theorem3(
        direct(5, 400, 1, (b, b)), X[[0, 1, 1, 2]], Y, time=0.0, repaired=True
    )
    assert bound.data_eigenvalue == 0 and bound.value == math.inf
    assert failing(bound)[:2] == ["lambda_0 > 0", "R_a > 0"]


def test_two_layer_functions_name_what_is_wrong():
    network = direct(5, 8, 1, (0.1, 0.2))
    deep = direct(5, 8, 1, (0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="`limit_gram` needs.*Got 2 of them"):
        limit_gram(deep, X)
    with pytest.raises(ValueError, match="`theorem3` needs.*one hidden layer. Got 2"):
        theorem3(deep, X, Y, time=0.0)
    with pytest.raises(ValueError, match="not zero. Got zeros in row 2"):
        limit_gram(network, X * np.array([1.0, 1.0, 0.0, 1.0])[:, None])
    with pytest.raises(ValueError, match="needs `time >= 0`. Got `time=-1.0`"):
        theorem3(network, X, Y, time=-1.0)
    with pytest.raises(ValueError, match="finite `smallest_eigenvalue > 0`"):
        theorem3(network, X, Y, time=0.0, smallest_eigenvalue=0.0)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"`outputs_at_init.shape=\(3,\)` and"):
            theorem3(network, X, Y, time=0.0, outputs_at_init=Y[:3])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
