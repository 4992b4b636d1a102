import math

import numpy as np
import pytest
from chains import direct, unit_rows
from scipy.stats import chi2

from widelimit.bounds.zhu2022 import theorem2
from widelimit.layers import Parameterization
from widelimit.networks import mlp, zhu2022_network

RNG = np.random.default_rng(5)
X, Y = unit_rows(RNG, 6, 5), np.array([1.0, -1, 0.2, 0.7, -0.3, 1.2])


def failing(bound):
    return [a.statement for a in bound.assumptions if a.holds is False]


@pytest.mark.parametrize("betas", [(0.02, 0.03), (1e-3, 2e-3, 3e-3, 1.5e-3)])
def test_theorem2_in_numbers(betas):
    m, L, alpha = 40, len(betas), 2.5
    bound = theorem2(direct(5, m, 1, betas, alpha), X, Y)
    total = sum(betas)
    # Step by step as in the proof: what W_l(T) is at least, then the two ratios.
    last_norm = (alpha / 4) ** (1 / L) - math.sqrt(3 * m**3 / (2 * L**2)) * total
    expected = last_norm / (math.sqrt(3 * m**3 / 2) * total) - 1
    np.testing.assert_allclose(bound.value, expected)
    np.testing.assert_allclose(bound.condition_ratio, alpha / (m**1.5 * total) ** L)
    assert bound.vacuous is (expected <= 0)
    assert bound.kind == "lower" and failing(bound) == [] and bound.constants == ()


def test_scaling_all_weights_changes_nothing():
    betas, s = np.array([0.01, 0.02, 0.03]), 1.7
    one = theorem2(direct(5, 40, 1, tuple(betas.tolist()), 2.5), X, Y)
    scaled = theorem2(direct(5, 40, 1, tuple((s * betas).tolist()), 2.5 * s**3), X, Y)
    np.testing.assert_allclose(one.value, scaled.value)
    np.testing.assert_allclose(one.condition_ratio, scaled.condition_ratio)


def test_the_parameters_of_the_ntk_form_are_what_moves():
    options = dict(depth=2, width=9, weight_std=1.3)
    ntk = theorem2(mlp(**options, parameterization=Parameterization.NTK), X, Y)
    alpha = math.sqrt(5 * 9 * 9) / 1.3**3
    same = theorem2(direct(5, 9, 1, (1.0, 1.0, 1.0), alpha), X, Y)
    np.testing.assert_allclose(ntk.value, same.value)


def test_the_papers_examples_are_on_either_side():
    # alpha = 1 and beta = m^-2 with m >> L^2; He weights are lazy.
    net = zhu2022_network(depth=1, width=60, outputs=1, initialization="non-lazy")
    assert not theorem2(net, X, Y).vacuous
    for name in ("he", "lecun", "ntk"):
        net = zhu2022_network(depth=1, width=60, outputs=1, initialization=name)
        bound = theorem2(net, X, Y)
        assert bound.vacuous and bound.condition_ratio < 1e-2


def test_deep_networks_do_not_overflow():
    deep = direct(5, 40, 1, (1e-9,) * 80)
    bound = theorem2(deep, X, Y)
    assert bound.condition_ratio == math.inf and math.isfinite(bound.value)
    assert bound.to_dict()["condition_ratio"] == "inf"


@pytest.mark.parametrize("m, L", [(7, 3), (7, 4), (20, 2)])
def test_probability_is_below_the_exact_one(m, L):
    bound = theorem2(direct(5, m, 1, (1e-5,) * L), X, Y)
    rate = (1 / 2 - math.log(3 / 2)) / 2
    sizes = [m * 5, m] + [m * m] * (L - 2)
    expected = 1 - sum(math.exp(-rate * k) for k in sizes)
    np.testing.assert_allclose(bound.probability, expected)
    # P(|W|_F^2 > 1.5 k beta^2) for k Gaussians; Chernoff is above it.
    exact = 1 - sum(chi2.sf(1.5 * k, k) for k in sizes)
    assert bound.probability < exact < 1
    # Where nothing is certain, the bound says nothing, however large its value.
    assert bound.value > 0 and bound.vacuous is (expected <= 0)


def test_each_assumption_is_checked():
    network = direct(5, 40, 1, (1e-3, 1e-3))
    assert failing(theorem2(direct(5, 40, 2, (1e-3, 1e-3)), X, Y)) == ["one output"]
    assert failing(theorem2(network, 2 * X, Y)) == [
        "every input has unit norm (Assumption 1)"
    ]
    assert failing(theorem2(network, X, 0.4 * Y)) == [
        "the largest target is at least 1/2 (Assumption 2)"
    ]
    assert failing(theorem2(direct(5, 4, 1, (1e-3, 1e-3)), X, Y)) == ["m >= d"]
    loss = 1 / (32 * len(X))
    assert failing(theorem2(network, X, Y, training_loss=0.99 * loss)) == []
    assert failing(theorem2(network, X, Y, training_loss=1.01 * loss)) == [
        "the training loss falls to 1 / (32 n) (Assumption 2)"
    ]


def test_measured_norms_sharpen_the_bound():
    network = direct(5, 40, 1, (0.01, 0.02, 0.03), 2.5)
    norms = np.array([0.01, 0.02, 0.03]) * np.sqrt([200, 1600, 40])
    bound = theorem2(network, X, Y, initial_norms=tuple(norms))
    reach = (2.5 / 4) ** (1 / 3)
    expected = min((reach - norms.mean()) / f - 1 for f in norms)
    np.testing.assert_allclose(bound.value, expected)
    assert bound.probability == 1
    assert bound.value > theorem2(network, X, Y).value


def descend(w, a, x, y, steps, rate):
    """Gradient descent on half the mean square, for f(x) = a . relu(W x)."""
    for _ in range(steps):
        z = x @ w.T
        error = (np.maximum(z, 0) @ a - y) / len(x)
        grad_a = np.maximum(z, 0).T @ error
        grad_w = ((error[:, None] * (z > 0)) * a).T @ x
        w, a = w - rate * grad_w, a - rate * grad_a
    return w, a


@pytest.mark.parametrize("beta", [1e-4, 1e-2, 0.1])
def test_training_moves_the_weights_at_least_as_far(beta):
    rng = np.random.default_rng(11)
    m, x, y = 64, unit_rows(rng, 3, 5), np.array([1.0, 0.6, 0.8])
    w0, a0 = beta * rng.normal(size=(m, 5)), beta * rng.normal(size=m)
    w, a = descend(w0, a0, x, y, steps=4000, rate=0.05)
    loss = np.mean((np.maximum(x @ w.T, 0) @ a - y) ** 2) / 2
    moved = min(
        np.linalg.norm(now - start) / np.linalg.norm(start)
        for now, start in [(w, w0), (a, a0)]
    )
    network = direct(5, m, 1, (beta, beta))
    norms = (float(np.linalg.norm(w0)), float(np.linalg.norm(a0)))
    bound = theorem2(network, x, y, training_loss=float(loss))
    sharp = theorem2(network, x, y, training_loss=float(loss), initial_norms=norms)
    assert bound.applies and sharp.applies
    assert bound.value < moved and sharp.value < moved
    if beta == 1e-4:  # small weights: both say something, the sharp one nearly all
        assert not bound.vacuous and bound.value < sharp.value
        assert moved < 4 * sharp.value


def test_theorem2_names_what_is_wrong():
    network = direct(5, 40, 1, (1e-3, 1e-3))
    with pytest.raises(ValueError, match=r"one per weight matrix|2 of them. Got.*3"):
        theorem2(network, X, Y, initial_norms=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match=r"`min\(initial_norms\) > 0`"):
        theorem2(network, X, Y, initial_norms=(1.0, 0.0))
    with pytest.raises(ValueError, match="`theorem2` needs `training_loss >= 0`"):
        theorem2(network, X, Y, training_loss=-1.0)
    with pytest.raises(ValueError, match="finite numbers in `targets`"):
        theorem2(network, X, np.full(6, np.inf))
