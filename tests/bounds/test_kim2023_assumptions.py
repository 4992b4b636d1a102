"""The assumptions of kim2023, where they hold, fail, and cannot be told."""

import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import GELU, Custom, Erf, Polynomial, ReLU
from widelimit.bounds import kim2023
from widelimit.datasets import sphere_lattice
from widelimit.networks import kim2023_network

X = sphere_lattice(12, 3)


def told(found):
    return [(a.status, a.holds) for a in found]


GOOD, BAD = ("checked", True), ("checked", False)


def test_what_the_paper_assumes_holds_for_its_network():
    network = kim2023_network(depth=3, width=1, activation=Erf())
    found = kim2023.assumptions(network, X, np.sign(X[:, 0] + 0.01))
    assert told(found) == [GOOD] * 5
    # M_k = sup |phi^(k)| of erf, normalised: 2 / sqrt(pi), and so on.
    scale = 1 / np.sqrt(2 / np.pi * np.arcsin(2 / 3))
    constants = np.array([2, 4 * np.exp(-0.5) / np.sqrt(2), 4]) / np.sqrt(np.pi) * scale
    expected = ", ".join(f"M_{k} = {m:.4g}" for k, m in enumerate(constants, 1))
    assert found[0].detail == expected


def test_activations_are_checked_as_they_stand():
    assert told(kim2023.assumption1(GELU())) == [GOOD, BAD]
    assert told(kim2023.assumption1(GELU().normalized())) == [GOOD, GOOD]
    assert told(kim2023.assumption1(ReLU().normalized())) == [BAD, GOOD]
    assert told(kim2023.assumption1(Polynomial((0, 0, 1)).normalized())) == [BAD, GOOD]
    own = Custom(_bounded)
    assert kim2023.assumption1(own)[0].status == "declared"


def _bounded(z):
    return z / (1 + z * z)


def test_data_are_checked():
    assert told(kim2023.assumption2(X)) == [GOOD]
    assert told(kim2023.assumption2(X.astype(np.float32))) == [GOOD]
    assert told(kim2023.assumption2(1.001 * X, 3 * X[:, 0])) == [BAD, BAD]
    assert "0.5" in kim2023.assumption2(0.5 * X)[0].detail
    with pytest.raises(ValueError, match="one target per input"):
        kim2023.assumption2(X, X[:3, 0])
    with pytest.raises(ValueError, match="assumption2"):
        kim2023.assumption2(np.full((2, 2), np.nan))


def test_full_rank_holds_fails_or_cannot_be_told():
    square = kim2023_network(depth=2, width=1, activation=Polynomial((0, 0, 1)))
    assert told([kim2023.assumption8(square, X)]) == [BAD]  # Theorem 18
    near = np.concatenate([X, X + 1e-9 * X[::-1]])
    erf = kim2023_network(depth=1, width=1, activation=Erf())
    unresolved = kim2023.assumption8(erf, near)
    assert told([unresolved]) == [("unresolved", None)]
    assert str(unresolved).startswith("[unresolved]")


def test_kinks_fail_without_a_kernel():
    network = kim2023_network(depth=1, width=1, activation=ReLU())
    found = kim2023.assumptions(network, X)
    assert told(found) == [BAD, GOOD, GOOD, BAD]
    assert "no mixed derivative" in found[-1].detail


@pytest.mark.parametrize("wrong", ["relu", None, [GELU()], 3])
def test_what_is_no_activation_or_network_is_named(wrong):
    with unchecked():
        with pytest.raises(ValueError, match="`assumption1` needs an activation"):
            kim2023.assumption1(wrong)
        for check in (kim2023.assumption8, kim2023.assumptions):
            with pytest.raises(ValueError, match=f"`{check.__name__}` needs the descr"):
                check(wrong, X)


@pytest.mark.parametrize(
    "x, y, message",
    [
        ("text", None, "needs an array as `x`"),
        ([[1.0, 0.0], [1.0]], None, "rows of one length"),
        ([["a", "b"]], None, "real numbers in `x`"),
        (X, "text", "needs targets that are real numbers"),
        (X, ["a"] * len(X), "needs targets that are real numbers"),
        (X, 1.0, "needs targets that are real numbers"),
        (X, [[1.0], [1.0, 2.0]], "needs targets that are real numbers"),
    ],
)
def test_data_that_are_no_numbers_are_named(x, y, message):
    with unchecked(), pytest.raises(ValueError, match=f"`assumption2`.*{message}"):
        kim2023.assumption2(x, y)
