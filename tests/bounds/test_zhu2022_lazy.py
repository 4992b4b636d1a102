import jaxtyping
import numpy as np
import pytest
from chains import direct, unit_rows

from widelimit.bounds.zhu2022 import lemma5_mean_square, lipschitz_bound, theorem1
from widelimit.networks import zhu2022_network

X = unit_rows(np.random.default_rng(1), 6, 5)


def failing(bound):
    return [a.statement for a in bound.assumptions if a.holds is False]


def test_theorem1_in_numbers():
    bound = theorem1(direct(5, 40, 3, (0.3, 0.5, 0.5, 0.9)), X)
    gamma = 0.5 * (40 / 2) ** 0.5
    training = 4**1.5 * 40 * 0.3 * 0.9 * np.exp(-40 / 64) * gamma**2
    initial = (40 * 3) ** 0.5 * 0.3 * 0.9 * gamma**2
    np.testing.assert_allclose(bound.training_term, training)
    np.testing.assert_allclose(bound.initial_term, initial)
    np.testing.assert_allclose(bound.value, training + initial)
    assert bound.applies and failing(bound) == []
    assert bound.constants


@pytest.mark.parametrize("depth", [1, 4])
def test_the_second_term_is_lemma5_but_for_a_constant(depth):
    network = zhu2022_network(depth=depth, width=13, outputs=3, initialization="lecun")
    bound, exact = theorem1(network, X), lemma5_mean_square(network, 5)
    np.testing.assert_allclose(bound.initial_term**2, 2 * exact.upper_value)


def test_alpha_divides_the_value_and_fails_its_check():
    betas = (0.3, 0.5, 0.9)
    one, three = (theorem1(direct(5, 40, 3, betas, alpha), X) for alpha in (1.0, 3.0))
    np.testing.assert_allclose(one.value, 3 * three.value)
    assert failing(three) == ["alpha = 1"] and not three.applies


def test_each_assumption_is_checked():
    network = direct(5, 40, 3, (0.3, 0.5, 0.6, 0.9))
    assert failing(theorem1(network, X)) == ["beta_2 = ... = beta_(L-1)"]
    network = direct(5, 40, 3, (0.3, 0.5, 0.5, 0.9))
    stretched = X * np.linspace(1, 1.001, 6)[:, None]
    bound = theorem1(network, stretched)
    assert failing(bound) == ["every input has unit norm (Assumption 1)"]
    assert "norms from 1 to 1.001" in str(bound)
    assert theorem1(network, X.astype(np.float32)).applies


@pytest.mark.parametrize(
    "ratio, holds", [(None, None), (0.05, True), (0.1, False), (2.0, False)]
)
def test_laziness_is_declared_or_measured(ratio, holds):
    network = direct(5, 40, 3, (0.3, 0.9))
    bound = theorem1(network, X, lazy_ratio=ratio)
    (lazy,) = [a for a in bound.assumptions if a.statement == "training is lazy"]
    assert lazy.holds is holds
    assert theorem1(network, X, lazy_ratio=2.0, lazy_below=3.0).applies


def test_vacuous_where_the_lipschitz_bound_is_smaller():
    x = unit_rows(np.random.default_rng(2), 6, 2)
    for width, vacuous in [(2, True), (400, False)]:
        network = zhu2022_network(depth=1, width=width, outputs=1)
        bound = theorem1(network, x)
        trivial = lipschitz_bound(network, 2).value
        np.testing.assert_allclose(bound.trivial, trivial)
        assert bound.vacuous is vacuous is bool(bound.value >= trivial)


def test_the_proof_needs_more_than_the_peak_of_the_first_term():
    L, d = 4, 5
    network = zhu2022_network(depth=L - 1, width=L**3 // 2, outputs=3)
    (proof,) = [
        a for a in theorem1(network, X).assumptions if "order L d" in a.statement
    ]
    assert proof.holds is None and proof.detail.endswith(f"and {2 * d}")


def test_theorem1_names_what_is_wrong():
    network = direct(5, 8, 3, (0.3, 0.9))
    with pytest.raises(ValueError, match=r"finite numbers in `inputs`. Got nan at"):
        theorem1(network, np.where(X > 0.5, np.nan, X))
    with pytest.raises(ValueError, match="`theorem1` needs `lazy_ratio >= 0`"):
        theorem1(network, X, lazy_ratio=-0.5)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"matrix with one.*inputs.shape=\(5,\)"):
            theorem1(network, X[0])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
