"""Lemmas B.4 to B.9 of wang2022, against their statements and random networks."""

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy.stats import binomtest

from widelimit.bounds import wang2022

SIZES = [(10**5, 784, 10.0, 0.1, 1 / 28), (300, 7, 0.4, 0.03, 0.2)]  # m, d, C_0, ...
CASES = pytest.mark.parametrize("case", SIZES, ids=str)


def close(found, expected):
    np.testing.assert_allclose(found, float(expected), rtol=1e-12)


def failures_are_rare(failed, gamma):
    """Whether so many failures are plausible if each has probability `gamma`."""
    test = binomtest(int(np.sum(failed)), len(failed), gamma, "greater")
    return test.pvalue > 1e-4


def draw(random, m, d, x=None):
    """Weights with a unit in each column, signs, and an input of unit norm."""
    x = random.normal(size=d) if x is None else x
    signs = random.choice([-1.0, 1.0], size=m)
    return random.normal(size=(d, m)), signs, x / np.linalg.norm(x)


@CASES
def test_the_printed_values_are_the_statements(case):
    m, d, C_0, gamma, R = map(mp.mpf, case)
    V, log, sqrt = C_0 / mp.sqrt(m), mp.log, mp.sqrt
    counts: Any = {"width": case[0], "features": case[1]}
    known: Any = dict(c_0=case[2], gamma=case[3])
    units = V * m + sqrt(m * log(1 / gamma) / 2)
    b4 = wang2022.lemma_b4(**counts, radius=float(V), gamma=case[3], delta=case[4])
    close(b4.value, units)
    close(b4.perturbed, units * (1 + R))
    b5 = wang2022.lemma_b5(width=case[0], **known)
    close(b5.value, sqrt(2 * log(2 / gamma)) + 2 * log(2 / gamma) / sqrt(m) + C_0)
    close(b5.simplified, 2 * sqrt(log(2 / gamma)) + C_0)
    eps = mp.mpf("0.001")
    b6 = wang2022.lemma_b6(
        features=case[1], radius=float(V), delta=case[4], net_radius=0.001
    )
    close(b6.flip, R * sqrt(2 * log(d)) + 1 / d)
    inner = sqrt(d) + 2 * sqrt(d * log(2 / eps))
    close(b6.value, 2 * eps * inner + (1 + R + eps) * V)
    third = sqrt((C_0 + sqrt(log(4 / gamma) / 2)) / sqrt(m))
    third *= sqrt(d + 4 * sqrt(d * log(8 * m / gamma)))
    b7 = wang2022.lemma_b7(**counts, **known)
    on = 0.5 - (sqrt(2 * log(4 / gamma) / m) + log(4 / gamma) / m)
    rest = max(d - 5 * sqrt(d * log(8 / gamma)), 0)
    close(b7.value, sqrt(on) * sqrt(rest) - C_0 - third)
    fourth = (4 * R * sqrt(log(d))) ** 0.25
    first = 2 * sqrt(log(4 / gamma)) * (fourth + sqrt(log(4 / gamma) / m)) + C_0
    last = 5 * (C_0 + sqrt(log(4 / gamma)))
    root = sqrt(log(4 * m / gamma))
    b8 = wang2022.lemma_b8(**counts, **known, delta=case[4])
    close(b8.value, first + 3 * third + last * root)
    close(b8.proof, first + 3 * third + last * (root + 3))
    bar, C_1 = max(1, C_0), R * sqrt(d)
    b9 = wang2022.lemma_b9(**counts, **known, delta=case[4])
    power = (C_1 * d**2 * log(m * d) ** 2 * sqrt(log(d) / d)) ** 0.25
    close(
        b9.value,
        9 * power
        + 15 * d * log(m * d) / sqrt(m)
        + 327 * bar * C_0 * d ** mp.mpf("0.25"),
    )
    eps = (m * d) ** (-mp.mpf(4) / 7)
    net = 2 * d * log(10 / eps) + log(4 / gamma)
    close(
        b9.unrolled,
        2 * sqrt(net) * (fourth + sqrt(net / m))
        + C_0
        + 3 * third
        + last * (root + 3)
        + eps * (sqrt(m * d + 4 * m * sqrt(d * log(m / gamma))) + C_0)
        + 226 * bar * C_0 * sqrt(log(m) + 2 / sqrt(m) * log(8 / gamma)),
    )


@CASES
def test_the_repaired_values_are_what_their_docstrings_say(case):
    m, d, C_0, gamma, R = map(mp.mpf, case)
    V, log, sqrt = C_0 / mp.sqrt(m), mp.log, mp.sqrt

    def count(p, t):
        mean = m * p
        return min(m, mean + sqrt(2 * mean * t + t**2 / 9) + t / 3)

    near, flip = mp.erf(V / sqrt(2)), mp.asin(R) / mp.pi
    known: Any = dict(c_0=case[2], gamma=case[3], width=case[0], features=case[1])
    t = log(2 / gamma)
    b5 = wang2022.lemma_b5(width=case[0], c_0=case[2], gamma=case[3])
    close(b5.repaired, sqrt(t) + t / sqrt(m) + C_0)
    t, n = log(6 / gamma), d - 1
    h, k = sqrt(t / (2 * m)), count(near, t)
    start = sqrt((0.5 - h) * max(n - 2 * sqrt(n * t), 0))
    any_set = sqrt(k / m) * (sqrt(n) + sqrt(2 * t) + sqrt(k) / 2)
    close(
        wang2022.lemma_b7(**known).repaired,
        start - C_0 * min(1, 0.5 + h + k / m) - any_set,
    )
    t = log(5 / gamma)
    n, k = count(flip, t), 2 * count(near, t)
    worst = 2 * sqrt(k / 2 / m) * (sqrt(k) + sqrt(2 * k * log(mp.e * m / k) + 2 * t))
    close(
        wang2022.lemma_b8(**known, delta=case[4]).repaired,
        sqrt(4 * n * t / m) + C_0 * min(1, (n + k) / m) + worst,
    )
    eps, t = C_0 / sqrt(m * d), log(4 / gamma)
    tau = d * log(1 + 2 * R / eps) + log(14 / gamma)
    sine = eps / (1 - R)
    moved = mp.erf((V + sqrt(d - 1) * sine) / sqrt(2 * (1 - sine**2)))
    n, k_0, k_1 = count(flip, tau), count(near, t), count(moved, tau)
    k = min(m, k_0 + k_1)
    norm = sqrt(k) + sqrt(d) + sqrt(2 * k * log(mp.e * m / k) + 2 * t)
    b9 = wang2022.lemma_b9(**known, delta=case[4])
    close(b9.sign_changes, k_1)
    close(b9.main, sqrt(n / m) * sqrt((sqrt(d) + sqrt(2 * tau)) ** 2 + 8 * tau))
    close(b9.changed, (sqrt(k_0) + sqrt(k_1)) / sqrt(m) * norm)
    moved = C_0 * min(1, (n + k_0 + k_1) / m)
    close(b9.repaired, b9.main + moved + b9.changed)


@pytest.mark.parametrize("d", [2, 5, 400])
def test_the_number_of_units_that_can_change_is_binomial(d):
    m, V, R, gamma, draws = 500, 0.1, 0.05, 0.2, 400
    random = np.random.default_rng(d)
    bound = wang2022.lemma_b4(width=m, features=d, radius=V, gamma=gamma, delta=R)
    # Along x and across it, by rotation.
    p = random.normal(size=(draws, m))
    q = np.sqrt(random.chisquare(d - 1, size=(draws, m)))
    near = (np.abs(p) <= V).sum(1)
    # The nearest direction within the angle is turned by all of it, or perpendicular.
    angle = np.arctan2(q, np.abs(p)) + np.arcsin(R)
    far = (np.hypot(p, q) * np.cos(np.minimum(angle, np.pi / 2)) <= V).sum(1)
    for counts, mean, quantile in [
        (near, bound.mean, bound.repaired),
        (far, bound.perturbed_mean, bound.perturbed_repaired),
    ]:
        error = 5 * counts.std() / draws**0.5
        np.testing.assert_allclose(counts.mean(), mean, atol=error, rtol=0)
        assert failures_are_rare(counts > quantile, gamma)
        assert not failures_are_rare(counts > quantile - 4, gamma)  # and no looser
    assert failures_are_rare(near > bound.value, gamma)
    assert bound.repaired <= bound.value


def test_the_printed_bound_on_perturbed_sign_changes_is_false():
    # At R = 1 / sqrt(d) two thirds of all units are in the union over perturbations.
    bound = wang2022.lemma_b4(
        width=10**4, features=784, radius=0.1, gamma=0.1, delta=1 / 28
    )
    assert not bound.perturbed_holds and bound.applies
    assert bound.perturbed_mean > 6 * bound.perturbed
    one = wang2022.lemma_b4(width=10**4, features=784, radius=0.1, gamma=0.1)
    assert one.perturbed_holds and one.perturbed_repaired == one.repaired


def test_one_unit_flips_with_its_exact_probability():
    # In the plane all weights and inputs can be tried.
    V, R, eps, draws = 0.15, 0.4, 0.1, 4000
    bound = wang2022.lemma_b6(features=2, radius=V, delta=R, net_radius=eps)
    random = np.random.default_rng(0)
    w = random.normal(size=(draws, 2))
    u = np.array([1 - R, 0.0])  # the delta that shortens the input most
    turns = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], 1)
    near = u + eps * circle
    changed = np.zeros(draws, bool)
    for v in np.concatenate([V * circle, [[0.0, 0.0]]]):
        changed |= (((w + v) @ u > 0)[:, None] != ((w + v) @ near.T > 0)).any(1)
    spread = 4 * math.sqrt(bound.exact * (1 - bound.exact) / draws)
    assert abs(changed.mean() - bound.exact) < spread + 2e-3  # and the grid
    assert bound.exact <= bound.value
    x, turned = np.array([1.0, 0.0]), np.array([1 - R**2, R * math.sqrt(1 - R**2)])
    np.testing.assert_allclose(np.linalg.norm(turned - x), R)  # a tangent to the ball
    flips = ((w @ x > 0) != (w @ turned > 0)).mean()
    spread = 4 * math.sqrt(bound.flip_exact / draws)
    assert abs(flips - bound.flip_exact) < spread
    assert bound.flip_exact <= bound.flip
    line = wang2022.lemma_b6(features=1, radius=V, delta=R, net_radius=eps)
    assert line.exact == line.flip_exact == 0  # nothing turns on a line


@pytest.mark.parametrize("d", [1, 2, 10, 1000])
def test_equation_4_holds_in_spite_of_its_proof(d):
    for R in (0.0, 0.5):
        for eps in (1e-6, 0.03, 0.9):
            for V in (1e-4, 0.1, 0.7):
                b = wang2022.lemma_b6(features=d, radius=V, delta=R, net_radius=eps)
                assert b.exact <= min(b.value, 1) and b.flip_exact <= b.flip
                assert b.vacuous == (b.value >= 1)


def masks_against(gradient, w, signs, x, V):
    """Weights in the ball that lower a gradient along itself: shifts and sign changes.

    The unit's part along `u` is `a (w u - V sqrt(1 - c^2))` or so if it is on; it is
    switched to what lowers the sum where it can be.
    """
    u = gradient / np.linalg.norm(gradient)
    p = w.T @ x
    moved = w - V * signs * u[:, None]  # lowers a w.u by V
    on = w.T @ x > 0
    wanted = np.where(np.abs(p) < V, signs * (u @ w) < 0, on)
    reach = np.where(wanted, V, -V) * x[:, None]  # sets the sign, keeps w.u nearly
    flips = wanted != on
    return np.where(flips, w + reach, moved)


def gradient_at(w, signs, x):
    return w @ (signs * (w.T @ x > 0)) / math.sqrt(len(signs))


def test_function_and_gradient_obey_their_lemmas_in_the_whole_ball():
    m, d, C_0, gamma = 3000, 120, 2.0, 0.2
    V, random = C_0 / math.sqrt(m), np.random.default_rng(1)
    b5 = wang2022.lemma_b5(width=m, c_0=C_0, gamma=gamma)
    b7 = wang2022.lemma_b7(width=m, features=d, c_0=C_0, gamma=gamma)
    assert b7.repaired > b7.value and b7.repaired > 0
    largest, least, start = [], [], []
    for _ in range(60):
        w, signs, x = draw(random, m, d)
        p = w.T @ x
        f = [
            signs @ np.maximum(p + s * V * signs, 0) / math.sqrt(m) for s in (1.0, -1.0)
        ]
        largest.append(np.abs(f).max())  # the exact extremes over the ball
        g = gradient_at(w, signs, x)
        start.append(np.linalg.norm(g))
        against = masks_against(g, w, signs, x, V)
        assert np.linalg.norm(against - w, axis=0).max() <= V * (1 + 1e-12)
        least.append(np.linalg.norm(gradient_at(against, signs, x)))
    largest, least = np.array(largest), np.array(least)
    assert np.mean(start) - np.mean(least) > 0.4 * C_0  # the attack does something
    for bound in (b5.value, b5.repaired):
        assert failures_are_rare(largest > bound, gamma)
    for bound in (b7.value, b7.repaired):
        assert failures_are_rare(least < bound, gamma)


def test_the_second_form_of_lemma_b7_fails_at_low_dimension():
    m, gamma = 2000, 0.1
    random = np.random.default_rng(2)
    norms = []
    for _ in range(200):
        w, signs, x = draw(random, m, 1)
        norms.append(abs(gradient_at(w, signs, x)[0]))
    bound = wang2022.lemma_b7(width=m, features=1, c_0=0.01, gamma=gamma)
    assert not failures_are_rare(np.array(norms) < bound.simplified, gamma)
    assert bound.value <= 0 and bound.vacuous and not bound.applies


def test_the_change_of_the_gradient_obeys_its_lemmas():
    # In the plane the supremum over perturbations is over angles, at any weights.
    m, C_0, gamma, R = 2500, 1.0, 0.2, 0.1
    V, random = C_0 / math.sqrt(m), np.random.default_rng(3)
    known: Any = dict(width=m, features=2, c_0=C_0, gamma=gamma, delta=R)
    b8, b9 = wang2022.lemma_b8(**known), wang2022.lemma_b9(**known)
    turns = np.linspace(-np.arcsin(R), np.arcsin(R), 101)
    us = np.stack([np.cos(turns), np.sin(turns)], 1)
    far, fixed, counts = [], [], []
    for _ in range(40):
        w, signs, x = draw(random, m, 2, np.array([1.0, 0.0]))
        p = us @ w
        counts.append((np.abs(p) <= V).sum(1).max())
        g = gradient_at(w, signs, x)
        difference = (w @ (signs * (p > 0)).T).T / math.sqrt(m) - g
        u = us[np.linalg.norm(difference, axis=1).argmax()]
        # Against x - u: raise the gradient at u and lower it at x where signs can turn.
        r = gradient_at(w, signs, u) - g
        r /= np.linalg.norm(r)
        best = 0.0
        for v in ([0.0, V], [0.0, -V], [V, 0.0], [-V, 0.0]):  # one shift per unit
            shifted = w + np.array(v)[:, None]
            gain = (shifted.T @ u > 0).astype(float) - (shifted.T @ x > 0)
            gain = signs * (r @ shifted) * gain
            best = np.maximum(best, gain) if np.ndim(best) else gain
        far.append(best.sum() / math.sqrt(m))
        fixed.append(np.abs(difference[-1] @ [0.6, 0.8]))
    far = np.array(far)
    assert np.mean(far) > 0.2
    assert failures_are_rare(far > b9.repaired, gamma)
    assert failures_are_rare(far > b9.value, gamma)
    assert failures_are_rare(np.array(fixed) > b8.repaired, gamma)
    assert failures_are_rare(np.array(counts) > b9.sign_changes, gamma)
    assert np.mean(counts) > 0.2 * b9.sign_changes  # of the right order


def test_what_applies_and_what_is_vacuous():
    known: Any = dict(c_0=1.0, gamma=0.1)
    b9 = wang2022.lemma_b9(width=10**5, features=784, delta=1 / 28, **known)
    assert "[FAILS] m >= d^2.4" in str(b9)
    assert b9.repaired < b9.unrolled < b9.value
    wide = wang2022.lemma_b9(width=10**7, features=784, delta=1 / 28, **known)
    assert wide.applies and not wide.vacuous
    assert "below the gradient, of norm about 19.799" in wide.reason
    assert wide.repaired > 19.8  # no use yet
    small = wang2022.lemma_b5(width=3, **known)
    assert small.vacuous and math.isnan(small.simplified)
    x = np.eye(784)[:3]
    assert wang2022.lemma_b5(width=100, inputs=x, **known).applies
    assert not wang2022.lemma_b5(width=100, inputs=1.01 * x, **known).applies
    b8 = wang2022.lemma_b8(width=100, features=784, delta=0.6, **known)
    assert "[FAILS] R <= 1/2" in str(b8)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: wang2022.lemma_b5(width=0, c_0=1.0, gamma=0.1),
            "`lemma_b5` needs `width >= 1`. Got `width=0`",
        ),
        (
            lambda: wang2022.lemma_b5(width=5, c_0=0.0, gamma=0.1),
            "`lemma_b5` needs a finite `c_0 > 0`",
        ),
        (
            lambda: wang2022.lemma_b7(width=5, features=3, c_0=1.0, gamma=1.0),
            "`lemma_b7` needs `0 < gamma < 1`. Got `gamma=1.0`",
        ),
        (
            lambda: wang2022.lemma_b4(width=5, features=3, radius=-1.0, gamma=0.1),
            "`lemma_b4` needs a finite `radius > 0`",
        ),
        (
            lambda: wang2022.lemma_b9(
                width=5, features=3, c_0=1.0, gamma=0.1, delta=1.0
            ),
            "`lemma_b9` needs `0 <= delta < 1`. Got `delta=1.0`",
        ),
        (
            lambda: wang2022.lemma_b6(
                features=3, radius=1.0, delta=0.1, net_radius=2.0
            ),
            "`lemma_b6` needs `0 < net_radius < 1`",
        ),
        (
            lambda: wang2022.lemma_b7(
                width=5, features=3, c_0=1.0, gamma=0.1, inputs=np.ones((2, 4))
            ),
            r"`inputs.shape=\(2, 4\)` and `features=3`",
        ),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
