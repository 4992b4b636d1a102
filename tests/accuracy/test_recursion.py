"""The recursion over layers against integrals, differences and sums by hand."""

import mpmath
import numpy as np
import pytest

from widelimit.accuracy import closed_forms, recursion
from widelimit.accuracy.networks import Network, input_pairs, networks
from widelimit.accuracy.real import DIGITS

X, Y, T = (0.7, -0.4, 1.1), (0.5, 0.8, -0.3), (0.2, -0.5, 0.3)
PLAIN = Network("plain", "ReLU", 1.3, 0.4, (1, 3), (1,))
DU2019 = Network("du2019", "GELU", 1.3, 0.4, (1, 3), (1,))
BRANCH = Network("branch", "Erf", 1.3, 0.4, (1, 3), (1,))


def outputs(network, x=X, y=Y):
    return dict(
        zip((1, 3), network.reference(recursion.inputs(x, y, T), (1, 3)), strict=True)
    )


@pytest.fixture(autouse=True)
def digits():
    with mpmath.workdps(DIGITS):
        yield


def test_one_hidden_layer_of_rectifiers_by_hand():
    x, y = np.array(X), np.array(Y)
    w2, b2 = 1.3**2, 0.4**2
    c, p, q = (w2 * (a @ b) / 3 + b2 for a, b in ((x, y), (x, x), (y, y)))
    angle = np.arccos(c / np.sqrt(p * q))
    dual = np.sqrt(p * q) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    nngp = w2 * dual / (2 * np.pi) + b2
    ntk = nngp + w2 * (np.pi - angle) / (2 * np.pi) * c
    state = outputs(PLAIN)[1]
    np.testing.assert_allclose(float(state.cross.value), nngp, rtol=1e-14)
    np.testing.assert_allclose(float(state.ntk.value), ntk, rtol=1e-14)
    np.testing.assert_allclose(float(state.first.value), w2 * p / 2 + b2, rtol=1e-14)


@pytest.mark.parametrize("network", [PLAIN, DU2019, BRANCH], ids=lambda n: n.kind)
def test_derivatives_are_differences(network):
    step = 1e-6
    state = outputs(network)[3]
    ends = [
        outputs(network, [a + sign * step * t for a, t in zip(X, T, strict=True)])[3]
        for sign in (1, -1)
    ]
    for name in ("cross", "first", "second", "ntk"):
        difference = (
            getattr(ends[0], name).value - getattr(ends[1], name).value
        ) / mpmath.mpf(2 * step)
        slope = getattr(state, name).slope
        assert abs(difference - slope) < 1e-9 * (1 + abs(slope)), name


@pytest.mark.parametrize("network", [PLAIN, DU2019, BRANCH], ids=lambda n: n.kind)
def test_an_input_with_itself_is_the_diagonal(network):
    state = outputs(network, Y, Y)[3]
    assert abs(state.cross.value / state.second.value - 1) < 1e-40
    assert abs(state.ntk.value / state.ntk_second - 1) < 1e-40
    assert abs(state.first.slope / (2 * state.cross.slope) - 1) < 1e-40


def test_features_with_a_mean():
    """z^2 of a standard pair, plus twice z^2 of another: Isserlis by hand."""
    dual, c = closed_forms.polynomial((0.0, 0.0, 1.0)), mpmath.mpf(0.6)
    one, zero = recursion.Jet(mpmath.mpf(1), mpmath.mpf(0)), mpmath.mpf(0)
    both = recursion.Jet(c, mpmath.mpf(1))
    none = recursion.Jet(zero, zero)
    start = recursion.State(both, one, one, both, none, none, one[0], one[0], one[0])
    square = recursion.activate(start, dual, lambda q: (q, mpmath.mpf(1)))
    total = recursion.add(square, recursion.scale(square, 2.0))
    # E (s + 2t)(s' + 2t') with E s s' = E t t' = 1 + 2 c^2, E s t' = E s E t' = 1.
    assert abs(total.cross.value - (5 * (1 + 2 * c * c) + 4)) < 1e-60
    assert abs(total.cross.slope - 5 * 4 * c) < 1e-60
    assert abs(total.first.value - (5 * 3 + 4)) < 1e-60
    assert abs(total.ntk.value - 5 * 4 * c * c) < 1e-60
    assert abs(total.mean_first.value - 3) < 1e-60


def test_disturbed_states():
    state = recursion.inputs(
        X, [3 * x + 1e-9 * t for x, t in zip(X, T, strict=True)], T
    )

    def gap(s):
        return 1 - s.cross.value / mpmath.sqrt(s.first.value * s.second.value)

    draws = iter([1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 1.0, -1.0, -1.0])
    moved = recursion.disturb(state, 1e-6, lambda: next(draws), by_angle=True)
    assert abs(moved.first.value / state.first.value - 1 - 1e-6) < 1e-20
    assert abs(moved.first.slope / state.first.slope - 1 + 1e-6) < 1e-20
    assert abs(moved.cross.slope / state.cross.slope - 1 + 1e-6) < 1e-20
    # 1 - cos is half the square of the angle.
    assert abs(gap(moved) / gap(state) - (1 - 1e-6) ** 2) < 1e-15
    draws = iter([0.0] * 6 + [-1.0, 0.0])
    flat = recursion.disturb(state, 1e-6, lambda: next(draws), by_angle=False)
    assert abs(flat.cross.value / state.cross.value - 1 + 1e-6) < 1e-20
    draws = iter([0.0] * 6 + [1.0, 0.0])  # above 1 as a correlation, and sent back
    flat = recursion.disturb(state, 1e-6, lambda: next(draws), by_angle=False)
    assert abs(gap(flat) - (1e-6 - gap(state) * (1 + 1e-6))) < 1e-21


def test_every_network_has_its_inputs_and_depths():
    names = [network.name for network in networks()]
    assert len(set(names)) == len(names)
    depths = {d for network in networks() for d in network.depths("float64")}
    assert depths == {1, 3, 10, 30, 100}
    for few in (True, False):
        pairs = input_pairs("float32", few, True)
        assert pairs.first.dtype == np.float32
        shapes = {a.shape for a in (pairs.first, pairs.second, pairs.along)}
        assert shapes == {(len(pairs.places), 5)}
