"""Norms at initialisation, Theorem D.1, Lemma D.1 and Proposition D.1."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.integrate import quad

from oracles import unchecked
from widelimit.bounds import du2019

MEAN_SIZE = math.sqrt(2 / math.pi)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def gaussian(f, lower=-12.0):
    value, _ = quad(lambda z: f(z) * math.exp(-z * z / 2), lower, 12, epsabs=1e-13)
    return value / math.sqrt(math.tau)


def softplus(z):
    return np.logaddexp(0, z)


SQUARE = gaussian(lambda z: softplus(z) ** 2)
SOFTPLUS = du2019.ActivationConstants(1.0, 0.25, 1 / SQUARE, math.log(2))
LINEAR = du2019.ActivationConstants(1.0, 0.0, 1.0, 0.0)


# Norms.


def a1_constant(sigma, reach):
    """C of Lemma A.1 with `reach` in the place of the paper's 2."""
    L, zero = sigma.lipschitz, sigma.at_zero
    return sigma.c_sigma * L * (2 * zero * MEAN_SIZE + reach * L)


def test_the_constant_of_lemma_a1_as_printed_is_too_small():
    for alpha in np.linspace(0.5, 1.5, 11):
        change = (
            abs(gaussian(lambda z, a=alpha: softplus(a * z) ** 2) - SQUARE) / SQUARE
        )
        assert change <= a1_constant(SOFTPLUS, 2.5) * abs(alpha - 1) + 1e-12
    # For the identity the mean square is alpha^2.
    assert 1.5**2 - 1 > a1_constant(LINEAR, 2.0) * 0.5
    assert 1.5**2 - 1 <= a1_constant(LINEAR, 2.5) * 0.5


def test_the_widths_for_the_norms_at_initialisation():
    def fourth(r):
        return gaussian(lambda z: (SOFTPLUS.at_zero + r * abs(z)) ** 4)

    growth = sum(a1_constant(SOFTPLUS, 2.5) ** i for i in range(3))
    first = du2019.lemma_a1_width(SOFTPLUS, samples=5, depth=3, delta=0.2)
    expected = 4 * fourth(1.5) / SQUARE**2 * 5 * 3 * growth**2 / 0.2
    np.testing.assert_allclose(first, expected, rtol=1e-8)
    second = du2019.lemma_b1_width(SOFTPLUS, samples=5, delta=0.2)
    np.testing.assert_allclose(
        second, fourth(1.0) / SQUARE**2 * 5 / 0.2 / 0.75**2, rtol=1e-8
    )


def test_the_norm_of_gaussian_weights():
    m, H, delta = 40, 3, 0.1
    c = du2019.weight_norm_constant(width=m, depth=H, delta=delta, patch=3)
    np.testing.assert_allclose(c, 1 + 3**0.5 + (2 * math.log(30) / 40) ** 0.5)
    random = np.random.default_rng(0)
    draws = random.normal(size=(100, H, m, 3 * m))
    norms = np.linalg.norm(draws, 2, axis=(-2, -1)).max(1)
    assert (norms <= c * m**0.5).mean() >= 1 - delta
    assert norms.min() > 0.9 * (1 + 3**0.5) * m**0.5  # and it is nearly attained


@pytest.mark.parametrize("p, q", [(1, 1), (6, 3)])
def test_features_of_residual_networks_stay_below_the_constant(p, q):
    random, m, H, branch = np.random.default_rng(1), 50, 8, 0.8
    x = np.full((3, p), (3 * p) ** -0.5)
    patches = lambda x: np.concatenate([np.roll(x, s, 1) for s in range(q)])  # noqa: E731
    weights = [random.normal(size=(m, q * k)) for k in [3] + [m] * (H - 1)]
    c_w0 = float(max(np.linalg.norm(w, 2) for w in weights) / m**0.5)
    bound = du2019.feature_norm_constant(
        SOFTPLUS, branch=branch, c_w0=c_w0, pixels=p, patch=q
    )
    for h, w in enumerate(weights):
        new = softplus(w @ patches(x)) / m**0.5
        x = x + branch / H * new if h else SQUARE**-0.5 * new
        assert np.linalg.norm(x) <= bound
    growth = math.exp(branch * c_w0 * q**0.5)
    offset = p**0.5 * math.log(2)
    first = 2 if p == 1 else (offset + q**0.5 * c_w0) / SQUARE**0.5
    np.testing.assert_allclose(bound, (first + branch * offset) * growth)


# Theorem D.1.

D1 = dict(
    samples=6,
    width=1000,
    delta=0.1,
    moment_scale=120.0,
    mean_scale=70.0,
    separation=0.4,
    branch_constants=[1.5, 0.3, 0.2, 0.4],
    skip_norms=[0.0, 1.0, 1.0, 0.5],
    patch_norm=3.0,
    pixels=2,
)


def d1_recursion(noise):
    """The proof's two inequalities, layer by layer, in the unit sqrt(log / m)."""
    M, B, low, W = (
        mpf(D1[k]) for k in ("moment_scale", "mean_scale", "separation", "patch_norm")
    )
    C1 = mpf(D1["branch_constants"][0])
    fresh_gram = mpmath.sqrt(16 * (1 + 2 * C1**2 / mpmath.sqrt(mpmath.pi)) * M**2)
    fresh_mean = mpmath.sqrt(2 * C1**2 * M)
    gram, mean, factors = fresh_gram, fresh_mean, []
    for C, A in zip(D1["branch_constants"][1:], D1["skip_norms"][1:], strict=True):
        C, A = mpf(C), mpf(A)
        before = max(W * gram, mpmath.sqrt(M) * mean)
        slope = A**2 + W * (2 * A * B * C * M / low**1.5 + C**2 * mpmath.sqrt(M / low))
        gram, mean = (
            slope * gram + 2 * C * mpmath.sqrt(M) * A * mean,
            C * M * W / low**1.5 * gram + A * mean,
        )
        worst = slope + 2 * C * A * W  # both errors as large as they can be
        factors.append(max(worst, C * M**1.5 / low**1.5 + A))
        assert max(W * gram, mpmath.sqrt(M) * mean) <= factors[-1] * before
        if noise:
            gram, mean = gram + fresh_gram, mean + fresh_mean
    start = max(W * fresh_gram, mpmath.sqrt(M) * fresh_mean)
    return gram, mean, start, factors


def test_theorem_d1_at_high_precision():
    gram, mean, start, factors = d1_recursion(noise=False)
    bound = du2019.theorem_d1(**D1)
    np.testing.assert_allclose(bound.first_factor, float(start), rtol=1e-12)
    np.testing.assert_allclose(
        bound.layer_factors, np.array(factors, float), rtol=1e-12
    )
    product = start * mpmath.fprod(factors)
    np.testing.assert_allclose(bound.gram_error, float(product / 3), rtol=1e-12)
    np.testing.assert_allclose(
        bound.mean_error, float(product / mpmath.sqrt(120)), rtol=1e-12
    )
    rate = float(mpmath.sqrt(mpmath.log(4 * 36 * 4 / mpf("0.1")) / 1000))
    np.testing.assert_allclose(bound.value, bound.gram_error * rate, rtol=1e-12)
    np.testing.assert_allclose(bound.mean_value, bound.mean_error * rate, rtol=1e-12)
    assert gram <= bound.gram_error and mean <= bound.mean_error
    assert bound.applies and bound.probability == 0.9


def test_theorem_d1_with_the_noise_of_every_layer():
    gram, mean, start, factors = d1_recursion(noise=True)
    bound = du2019.theorem_d1(**D1)
    total = start
    for factor in factors:
        total = factor * total + start
    np.testing.assert_allclose(bound.accumulated_gram_error, float(total / 3))
    np.testing.assert_allclose(bound.accumulated_mean_error, float(total / 120**0.5))
    assert gram <= bound.accumulated_gram_error
    assert mean <= bound.accumulated_mean_error
    assert bound.accumulated_gram_error > bound.gram_error


def test_theorem_d1_by_hand_without_skips():
    # C = 2, M / lambda = 400: C^2 sqrt(400) = 80, C 400^1.5 = 16000.
    bound = du2019.theorem_d1(
        samples=2,
        width=10,
        delta=0.5,
        moment_scale=100.0,
        mean_scale=1e6,
        separation=0.25,
        branch_constants=[2.0, 2.0, 2.0],
        skip_norms=[0.0, 0.0, 0.0],
    )
    np.testing.assert_allclose(bound.layer_factors, [16000, 16000])
    first = 400 * math.sqrt(1 + 8 / math.sqrt(math.pi))
    np.testing.assert_allclose(bound.gram_error, first * 16000**2)
    assert bound.vacuous and "M / 100 = 1" in bound.reason


def test_theorem_d1_falls_as_the_root_of_the_width():
    one, two = (du2019.theorem_d1(**(D1 | dict(width=m))) for m in (10**3, 10**5))
    np.testing.assert_allclose(one.value / two.value, 10)
    alone = du2019.theorem_d1(
        **(D1 | dict(branch_constants=[1.5], skip_norms=[0.0], width=10**9))
    )
    assert alone.layer_factors == () and alone.gram_error == alone.first_factor / 3
    assert alone.gram_error == alone.accumulated_gram_error
    assert alone.applies and not alone.vacuous
    # The largest entry is 1.2: a bound above it says nothing.
    wide = int(1000 * (one.value / 1.19) ** 2), int(1000 * (one.value / 1.21) ** 2)
    found = [du2019.theorem_d1(**(D1 | dict(width=m))).vacuous for m in wide]
    assert found == [False, True]


def test_residual_branches_of_order_1_over_depth_keep_the_error_bounded():
    def factor(depth):
        constants = [1.5] + [1e-6 / depth] * (depth - 1)
        bound = du2019.theorem_d1(
            **(
                D1
                | dict(
                    branch_constants=constants, skip_norms=[0.0] + [1.0] * (depth - 1)
                )
            )
        )
        return bound.gram_error / bound.first_factor

    assert factor(400) / factor(100) < 1.01 and factor(400) < 1.3


@pytest.mark.parametrize(
    "changes, statement",
    [
        (dict(skip_norms=[1.0, 1.0, 1.0, 0.5]), "A_1 = 0"),
        (dict(moment_scale=30.0), "M >= 100 lambda"),
        (dict(branch_constants=[1.5, 0.0, 0.0, 0.0]), "factor is at least 1"),
    ],
)
def test_conditions_of_theorem_d1_are_checked(changes, statement):
    bound = du2019.theorem_d1(**(D1 | changes))
    failing = [a.statement for a in bound.assumptions if a.holds is False]
    assert len(failing) == 1 and statement in failing[0]


# Lemma D.1 and Proposition D.1.


def limit_gram(k, branch=None, mean=None):
    """One layer of Eq. (4) or (5) for softplus, by a product rule, and its mean."""
    n = len(k)
    out, means = np.empty((n, n)), np.empty(n)
    for i in range(n):
        means[i] = WEIGHTS @ softplus(k[i, i] ** 0.5 * NODES)
        for j in range(n):
            a = k[i, i] ** 0.5
            b = k[i, j] / a
            rest = max(k[j, j] - b * b, 0) ** 0.5
            u, v = a * NODES[:, None], b * NODES[:, None] + rest * NODES[None]
            out[i, j] = WEIGHTS @ (softplus(u) * softplus(v)) @ WEIGHTS
    if branch is None:
        return out / SQUARE, means / SQUARE**0.5
    cross = branch * np.outer(mean, means)
    return k + cross + cross.T + branch**2 * out, mean + branch * means


def least_of_pairs(k):
    """By the formula of 2x2 matrices."""
    found = []
    for i in range(len(k)):
        for j in range(i):
            half = (k[i, i] + k[j, j]) / 2
            gap = math.hypot((k[i, i] - k[j, j]) / 2, k[i, j])
            found.append((half - gap, (j, i)))
    return min(found)


def residual_grams(depth=4, branch=0.6):
    x = np.random.default_rng(3).normal(size=(5, 3))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    k, b = limit_gram(x @ x.T)
    first, grams = b, [k]
    for _ in range(depth - 2):
        k, b = limit_gram(k, branch / depth, b)
        grams.append(k)
    return x @ x.T, grams, first


def test_lemma_d1_as_printed_fails_for_softplus():
    k, _ = limit_gram(np.eye(2))
    bound = du2019.lemma_d1(np.eye(2), [k])
    assert bound.value == bound.printed == 1 and not bound.holds and not bound.applies
    np.testing.assert_allclose(bound.layer_eigenvalues, 0.2945, atol=1e-3)


def test_lemma_d1_repaired_holds():
    initial, grams, means = residual_grams()
    bound = du2019.lemma_d1(initial, grams, means=means)
    assert bound.holds and bound.applies and not bound.vacuous
    expected = [least_of_pairs(k) for k in grams]
    np.testing.assert_allclose(bound.layer_eigenvalues, [e for e, _ in expected])
    assert bound.pair == min(expected)[1]
    np.testing.assert_allclose(bound.printed, least_of_pairs(initial)[0])
    centred = grams[0] - np.outer(means, means)
    np.testing.assert_allclose(bound.value, least_of_pairs(centred)[0])
    # The last inequality of the docstring, and that it is not empty.
    mean_square = gaussian(softplus) ** 2 / SQUARE
    assert bound.value >= (1 - mean_square) * bound.printed > 0
    assert not du2019.lemma_d1(initial, grams).holds


def test_lemma_d1_with_pixels():
    random = np.random.default_rng(4)
    n, p = 3, 2
    z = random.normal(size=(n, p, 9))
    blocks = np.einsum("isk,jtk->ijst", z, z)
    more = blocks + np.einsum("ij,st->ijst", np.eye(n), np.eye(p))
    means = random.normal(size=(n, p)) * 0.1
    bound = du2019.lemma_d1(blocks, [more, blocks], means=means)

    def least(gram):
        return min(
            np.linalg.eigvalsh(
                np.block([[gram[i, i], gram[i, j]], [gram[j, i], gram[j, j]]])
            )[0]
            for i in range(n)
            for j in range(i)
        )

    np.testing.assert_allclose(bound.printed, least(blocks))
    np.testing.assert_allclose(bound.layer_eigenvalues, [least(more), least(blocks)])
    centred = more - np.einsum("is,jt->ijst", means, means)
    np.testing.assert_allclose(bound.value, least(centred))


def test_the_scale_of_the_last_gram_is_a_square():
    # Width 1 and the identity: df/dw at the last layer is kappa / H times x^(H-1).
    depth, low, c = 3, 0.4, 0.7
    kappa = c * low**1.5

    def f(w):
        x = 1.3
        return x + kappa / depth * w * x

    slope = (f(1.0) - f(0.0)) / 1.3
    scale = du2019.residual_gram_scale(depth=depth, separation=low, c_lambda=c)
    np.testing.assert_allclose(scale, slope**2)
    printed = kappa / depth**2
    assert scale < 0.2 * printed
    deep = du2019.residual_gram_scale(depth=2 * depth, separation=low, c_lambda=c)
    np.testing.assert_allclose(scale / deep, 4)


EYE = np.eye(3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: du2019.theorem_d1(**(D1 | dict(delta=0.0))), "`0 < delta < 1`"),
        (
            lambda: du2019.theorem_d1(**(D1 | dict(separation=0.0))),
            "`theorem_d1` needs a finite `separation > 0`",
        ),
        (
            lambda: du2019.theorem_d1(**(D1 | dict(skip_norms=[0.0]))),
            r"`len\(branch_constants\)=4` and `len\(skip_norms\)=1`",
        ),
        (
            lambda: du2019.theorem_d1(**(D1 | dict(branch_constants=[]))),
            r"one number per layer in `branch_constants`. Got shape \(0,\)",
        ),
        (
            lambda: du2019.theorem_d1(**(D1 | dict(skip_norms=[0.0, 1.0, -1.0, 1.0]))),
            r"`min\(skip_norms\) >= 0`. Got `min\(skip_norms\)=-1.0`",
        ),
        (lambda: du2019.lemma_d1(EYE, []), "`layers` with the matrix of the first"),
        (
            lambda: du2019.lemma_d1(EYE, [np.eye(4)]),
            r"all alike. Got `layers\[0\].shape=\(4, 4\)`",
        ),
        (
            lambda: du2019.lemma_d1(np.ones((1, 1)), [np.ones((1, 1))]),
            r"n >= 2, all alike. Got `initial.shape=\(1, 1\)`",
        ),
        (
            lambda: du2019.lemma_d1(np.triu(np.ones((3, 3))), [EYE]),
            "needs a symmetric `initial`",
        ),
        (
            lambda: du2019.lemma_d1(EYE, [EYE], means=np.ones(2)),
            r"`means.shape=\(2,\)` and `initial.shape=\(3, 3\)`",
        ),
        (
            lambda: du2019.lemma_d1(EYE, [EYE * np.nan]),
            r"finite numbers in `layers\[0\]`",
        ),
        (
            lambda: du2019.residual_gram_scale(depth=1, separation=0.1, c_lambda=0.1),
            "`depth >= 2`",
        ),
        (
            lambda: du2019.weight_norm_constant(width=0, depth=1, delta=0.1),
            "`weight_norm_constant` needs `width >= 1`",
        ),
        (
            lambda: du2019.feature_norm_constant(LINEAR, branch=-1.0, c_w0=2.0),
            "`feature_norm_constant` needs a finite `branch > 0`",
        ),
        (
            lambda: du2019.lemma_a1_width(LINEAR, samples=0, depth=1, delta=0.1),
            "`lemma_a1_width` needs `samples >= 1`",
        ),
        (
            lambda: du2019.lemma_b1_width(LINEAR, samples=1, delta=2.0),
            "`lemma_b1_width` needs `0 < delta < 1`",
        ),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()
