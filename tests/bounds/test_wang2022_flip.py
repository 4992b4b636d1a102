"""Theorem 3.1 and Corollary 3.2 of wang2022."""

import math
from typing import Any

import numpy as np
import pytest

from widelimit.bounds import wang2022


def theorem(d, *, repaired=False, c_0=1.0, width=None):
    m = math.ceil(float(d) ** 2.4) if width is None else width
    return wang2022.theorem31(
        width=m, features=int(d), c_0=c_0, gamma=0.1, repaired=repaired
    )


@pytest.mark.parametrize(
    "repaired, infinite, finite, c_0",
    [
        (False, 8.3e23, 8.4e23, 1.0),
        (True, 1.07e8, 1.08e8, 1.0),
        (False, 1.5e25, 1.52e25, 10.0),
        (True, 2.0e9, 2.1e9, 10.0),
    ],
)
def test_from_which_dimension_on_the_explicit_size_exists(
    repaired, infinite, finite, c_0
):
    none = theorem(infinite, repaired=repaired, c_0=c_0)
    assert none.value == math.inf and none.vacuous and not none.applies
    some = theorem(finite, repaired=repaired, c_0=c_0)
    assert some.value < 0.01 and some.applies and not some.vacuous
    # It solves its equation, with the lemmas at a third of gamma each.
    m, d = math.ceil(float(finite) ** 2.4), int(finite)
    known: Any = dict(c_0=c_0, gamma=0.1 / 3, width=m)
    lemmas = [
        wang2022.lemma_b5(**known),
        wang2022.lemma_b7(**known, features=d),
        wang2022.lemma_b9(**known, features=d, delta=some.value),
    ]
    f, g, D = (b.repaired if repaired else b.value for b in lemmas)
    np.testing.assert_allclose(some.value, 2 * f / (g - D), rtol=1e-9)
    np.testing.assert_allclose(some.eta_tilde, 2 * f / (1 - D / g), rtol=1e-9)
    np.testing.assert_allclose(some.step_size, some.eta_tilde / g**2, rtol=1e-9)
    assert some.probability == 0.9


def test_mnist_is_outside_of_the_theorem():
    bound = theorem(784, width=10**7)
    assert bound.vacuous and bound.value == math.inf and bound.rate == 1 / 28
    assert "[FAILS] m <= C_4 exp(d^0.24)" in str(bound)
    assert "[holds] m >= max(d^2.4" in str(bound)
    # Between 2 and 2.97e6 no width is allowed, with the constants at 1.
    for d, fits in [(2, False), (784, False), (2.96e6, False), (2.98e6, True)]:
        window = theorem(d).assumptions[1:3]
        assert [a.holds for a in window] == [True, fits]


def test_the_certificate_flips_a_network():
    # In the plane the largest change of the gradient is found over all angles.
    m, random = 400, np.random.default_rng(0)
    w, signs = random.normal(size=(2, m)), random.choice([-1.0, 1.0], size=m)

    def f(x):
        return signs @ np.maximum(w.T @ x, 0) / math.sqrt(m)

    def gradient(x):
        return w @ (signs * (w.T @ x > 0)) / math.sqrt(m)

    flipped = 0
    for turn in np.linspace(0, 2 * np.pi, 200):
        x, R = np.array([np.cos(turn), np.sin(turn)]), 0.1
        near = turn + np.linspace(-np.arcsin(R), np.arcsin(R), 401)
        g = gradient(x)
        changes = [gradient(np.array([np.cos(t), np.sin(t)])) - g for t in near]
        bound = wang2022.flip_certificate(
            features=2,
            function_value=float(abs(f(x))),
            gradient_norm=float(np.linalg.norm(g)),
            gradient_difference=float(np.linalg.norm(changes, axis=1).max()),
            delta=R,
            inputs=x[None],
        )
        if bound.applies:
            flipped += 1
            step = -np.sign(f(x)) * bound.step_size * g
            np.testing.assert_allclose(np.linalg.norm(step), bound.value)
            assert f(x) * f(x + step) < 0
            assert abs(f(x + step)) >= abs(f(x)) * (1 - 1e-9)
    assert flipped > 2


def test_the_certificate_by_hand():
    bound = wang2022.flip_certificate(
        features=4,
        function_value=0.5,
        gradient_norm=4.0,
        gradient_difference=1.5,
        delta=0.3,
    )
    assert bound.value == 0.4 and bound.eta_tilde == 1.6 and bound.step_size == 0.1
    assert not bound.applies  # beyond the radius of the search
    assert math.isnan(bound.probability) and not bound.vacuous
    none = wang2022.flip_certificate(
        features=4,
        function_value=0.5,
        gradient_norm=1.0,
        gradient_difference=1.5,
        delta=0.3,
    )
    assert none.value == math.inf and none.vacuous and not none.applies


def test_corollary_32():
    d = 10**9
    known: Any = dict(
        width=math.ceil(float(d) ** 2.4), features=d, c_0=1.0, repaired=True
    )
    bound = wang2022.corollary32(**known, gamma=0.01)
    assert bound.value == 0.9 and bound.applies and not bound.vacuous
    np.testing.assert_allclose(bound.probability, 0.9)
    size = wang2022.theorem31(**known, gamma=0.01).value
    assert bound.delta == bound.flip == size
    half = wang2022.corollary32(**known, gamma=0.01, level=0.5, delta=2 * size)
    assert half.value == 0.5 and half.delta == 2 * size
    np.testing.assert_allclose(half.probability, 0.98)
    short = wang2022.corollary32(**known, gamma=0.01, delta=size / 2)
    assert short.value == 0 and short.vacuous and not short.applies
    assert wang2022.corollary32(**known, gamma=0.1).vacuous  # probability 0
    assert wang2022.corollary32(**known, gamma=0.01, delta=1.0).vacuous
    mnist = wang2022.corollary32(width=10**7, features=784, c_0=1.0, gamma=0.01)
    assert mnist.vacuous and mnist.value == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: theorem(0, width=5),
            "`theorem31` needs `features >= 1`. Got `features=0`",
        ),
        (
            lambda: wang2022.corollary32(
                width=5, features=5, c_0=1.0, gamma=0.1, level=1.0
            ),
            "`corollary32` needs `0 < level < 1`",
        ),
        (
            lambda: wang2022.corollary32(
                width=5, features=5, c_0=1.0, gamma=0.1, delta=0.0
            ),
            "`corollary32` needs a finite `delta > 0`",
        ),
        (
            lambda: wang2022.flip_certificate(
                features=4,
                function_value=-0.5,
                gradient_norm=1.0,
                gradient_difference=1.5,
                delta=0.3,
            ),
            "`flip_certificate` needs `function_value >= 0`",
        ),
        (
            lambda: wang2022.flip_certificate(
                features=4,
                function_value=0.5,
                gradient_norm=math.inf,
                gradient_difference=1.5,
                delta=0.3,
            ),
            "`flip_certificate` needs a finite `1 \\+ gradient_norm",
        ),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
