"""Spectra with error bounds: known eigenvalues, mpmath, and proofs of singularity."""

import mpmath
import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import (
    Abs,
    Cosine,
    Erf,
    Identity,
    Polynomial,
    ReLU,
    Sigmoid,
    Sine,
    Softplus,
)
from widelimit.kernels import network_spectrum, spectrum, why_singular
from widelimit.kernels.jacobian import jacobian_kernel
from widelimit.layers import Activation, Dense, Residual, Sequential
from widelimit.networks import kim2023_network, mlp


class Products:
    """An operator that offers products only."""

    def __init__(self, matrix):
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

    def __matmul__(self, u):
        return self.matrix @ u


def with_eigenvalues(values, seed=0):
    n = len(values)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    matrix = (q * np.asarray(values)) @ q.T
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_known_eigenvalues_are_within_the_bounds(method):
    values = np.geomspace(1e-3, 1e3, 60)
    matrix = with_eigenvalues(values)
    found = spectrum(Products(matrix), method=method)
    assert found.method == method and found.size == 60
    assert abs(found.min - 1e-3) <= found.min_error < 1e-3
    assert abs(found.max - 1e3) <= found.max_error < 1e-6
    assert found.verdict == "holds"
    if method == "dense":
        assert found.eigenvalues is not None
        np.testing.assert_allclose(found.eigenvalues, values, atol=found.min_error)


@pytest.mark.parametrize(
    ("least", "verdict"),
    [(1e-10, "holds"), (1e-17, "cannot be resolved"), (-1e-10, "fails")],
)
def test_verdicts_are_of_the_interval_and_not_of_the_sign(least, verdict):
    found = spectrum(with_eigenvalues([least, *np.linspace(1, 2, 9)]))
    assert found.verdict == verdict
    assert 1e-16 < found.min_error < 1e-13


def test_bounds_hold_against_mpmath():
    """The Hilbert matrix, whose small eigenvalues double precision cannot have."""
    seen = []
    for n in (4, 8, 12, 14):
        matrix = np.array([[1 / (i + j + 1) for j in range(n)] for i in range(n)])
        with mpmath.workdps(60):
            exact = mpmath.eigsy(mpmath.hilbert(n), eigvals_only=True)
            least, most = float(exact[0]), float(exact[n - 1])
        found = spectrum(matrix)
        assert abs(found.min - least) <= found.min_error
        assert abs(found.max - most) <= found.max_error
        seen.append(str(found.verdict))
    assert seen == ["holds", "holds", "cannot be resolved", "cannot be resolved"]


def test_the_parts_of_the_bound():
    matrix = with_eigenvalues(np.linspace(1, 3, 50))
    eps = np.finfo(float).eps
    exact = spectrum(matrix, entry_error=0.0)
    np.testing.assert_allclose(exact.min_error, 50 * eps * 3, rtol=1e-9)
    rough = spectrum(matrix, entry_error=1e-6)
    np.testing.assert_allclose(rough.min_error, 1e-6 * 100, rtol=1e-6)
    assert spectrum(matrix, entry_error=0.02).verdict == "cannot be resolved"


def test_ends_that_lanczos_does_not_reach_are_not_resolved():
    matrix = with_eigenvalues(np.r_[np.geomspace(1e-9, 1e-6, 150), 1e3])
    found = spectrum(matrix, method="lanczos", max_steps=1)
    assert abs(found.max - 1e3) <= found.max_error
    assert found.verdict == "cannot be resolved"
    assert abs(found.min - 1e-9) <= found.min_error


def inputs(n=4, d=3, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_operators_and_their_matrices_agree():
    net = kim2023_network(depth=2, width=1, activation=Erf())
    kernel = jacobian_kernel(net, inputs(), regularization=0.3)
    expected = np.linalg.eigvalsh(kernel.dense())
    for method in ("dense", "lanczos"):
        found = spectrum(kernel, method=method)
        assert abs(found.min - expected[0]) <= found.min_error
        assert abs(found.max - expected[-1]) <= found.max_error
        assert found.verdict == "holds" and found.size == 16


def theta_of_the_square(x, scale):
    """The Jacobian NTK of kim2023, Theorem 18: of the NTK 6 c^2 + a b, scaled."""
    n, d = len(x), len(x[0])
    out = mpmath.matrix(n * (d + 1))
    for i, u in enumerate(x):
        for j, v in enumerate(x):
            a, b, c = (mpmath.fdot(p, q) for p, q in ((u, u), (v, v), (u, v)))
            block = [[6 * c * c + a * b]]
            block[0] += [12 * c * u[t] + 2 * a * v[t] for t in range(d)]
            for s in range(d):
                row = [12 * c * v[s] + 2 * b * u[s]]
                for t in range(d):
                    row.append(12 * (v[s] * u[t] + c * (s == t)) + 4 * u[s] * v[t])
                block.append(row)
            for s in range(d + 1):
                for t in range(d + 1):
                    out[i * (d + 1) + s, j * (d + 1) + t] = block[s][t] / scale
    return out


def test_theorem_18_is_singular_and_its_ntk_is_not():
    x = inputs(3, 3)
    net = kim2023_network(depth=1, width=1, activation=Polynomial((0, 0, 1)))
    found = network_spectrum(net, x)
    assert found.verdict == "fails" and "homogeneous of degree 2" in found.why
    assert abs(found.min) <= found.min_error
    assert network_spectrum(net, x, kernel="ntk").verdict == "holds"
    # The matrix itself says no more than that zero is possible.
    kernel = jacobian_kernel(net, x)
    assert spectrum(kernel).verdict == "cannot be resolved"
    with mpmath.workdps(50):
        exact = theta_of_the_square([[mpmath.mpf(v) for v in r] for r in x], 3)
        dense = np.array(exact.tolist(), float)
        np.testing.assert_allclose(kernel.dense(), dense, rtol=1e-13, atol=1e-13)
        values = mpmath.eigsy(exact, eigvals_only=True)
        assert abs(values[0]) < 1e-40  # zero, where rounding does not matter
        # The null vector of the proof, at the first input alone.
        null = mpmath.matrix([2, *(-mpmath.mpf(v) for v in x[0]), *[0] * 8])
        assert mpmath.norm(exact * null) < 1e-40


def plain(*activations, bias=None):
    layers = []
    for phi in activations:
        layers += [Dense(1, bias_std=bias), Activation(phi)]
    return Sequential((*layers, Dense(1, bias_std=bias)))


SQUARE = Polynomial((0, 0, 1))
X = inputs(5, 2)
OPPOSITE = np.concatenate([X, -X[1:2]])


@pytest.mark.parametrize(
    ("network", "x", "jacobian", "reason"),
    [
        (plain(SQUARE, SQUARE), X, True, "homogeneous of degree 4"),
        (plain(ReLU(), SQUARE), X, True, "homogeneous of degree 2"),
        (plain(ReLU()), X, True, "homogeneous of degree 1"),
        (plain(SQUARE, bias=0.5), X, True, "at most 6 coefficients, fewer than the 15"),
        (plain(SQUARE, bias=0.5), X[:2], True, None),
        (plain(SQUARE), X, False, "at most 3 coefficients, fewer than the 5"),
        (plain(SQUARE), X[:3], False, None),
        (plain(ReLU(), bias=0.5), X, True, None),
        (plain(Identity(), bias=0.0), X, False, "at most 3 coefficients"),
        (plain(Erf()), X, True, None),
        (plain(Erf(), Sine()), OPPOSITE, True, "rows 1 and 5 are opposite"),
        (plain(Erf(), Cosine()), OPPOSITE, False, "rows 1 and 5 are opposite"),
        (plain(Abs(), Softplus()), OPPOSITE, True, "rows 1 and 5 are opposite"),
        (plain(Erf(), bias=0.1), OPPOSITE, True, None),
        (plain(Erf(), Sigmoid(), Erf()), OPPOSITE, True, None),
        (
            Sequential((Dense(1), Residual(plain(SQUARE)), Dense(1))),
            X,
            True,
            "at most 5 coefficients",
        ),
        (plain(Erf()), np.concatenate([X, X[2:3]]), False, "rows 2 and 5.*are equal"),
    ],
)
def test_proofs_of_singularity(network, x, jacobian, reason):
    found = why_singular(network, x, jacobian=jacobian)
    if reason is None:
        assert found is None
    else:
        assert found is not None
        with unchecked(), pytest.raises(ValueError, match=reason):
            raise ValueError(found)


@pytest.mark.parametrize(
    ("network", "kernel", "x"),
    [
        (plain(SQUARE, bias=0.5), "jacobian-ntk", X),
        (plain(ReLU()), "jacobian-nngp", X),
        (plain(Erf()), "jacobian-ntk", OPPOSITE),
    ],
)
def test_matrices_proven_singular_have_zero_in_their_interval(network, kernel, x):
    found = network_spectrum(network, x, kernel=kernel)
    assert found.verdict == "fails" and abs(found.min) <= found.min_error


def test_kernels_of_a_network():
    x = inputs()
    net = kim2023_network(depth=2, width=1, activation=Erf())
    values = {k: network_spectrum(net, x, kernel=k) for k in ("ntk", "nngp")}
    found = network_spectrum(net, x)
    assert found.size == 16 and found.verdict == "holds"
    # The NTK is a principal submatrix, so its eigenvalues lie within.
    assert found.min <= values["ntk"].min and values["ntk"].max <= found.max
    assert values["nngp"].min < values["ntk"].min  # the NTK adds to it
    zero = network_spectrum(net, x, regularization=0.0)
    assert zero.verdict == "fails" and "regularization 0" in zero.why


def test_bad_input():
    net = mlp(depth=1, width=1, activation=ReLU())
    x = inputs()
    huge = Products(np.broadcast_to(0.0, (10**5, 10**5)))
    cases = [
        (spectrum, (np.ones((2, 3)),), {}, r"square matrix.*\(2, 3\)"),
        (spectrum, (np.tri(3),), {}, "symmetric matrix"),
        (spectrum, (np.eye(3) * np.nan,), {}, "finite numbers"),
        (spectrum, (np.eye(3),), {"method": "qr"}, "one of 'auto', 'dense'"),
        (spectrum, (huge,), {"method": "dense"}, "80000000000 bytes.*lanczos"),
        (spectrum, (np.eye(2),), {"method": "lanczos"}, "at least 3 rows"),
        (spectrum, (np.eye(3),), {"entry_error": np.nan}, "`entry_error`"),
        (
            network_spectrum,
            (net, x),
            {},
            "smooth activations for derivatives",
        ),
        (network_spectrum, (net, x), {"kernel": "jacobian"}, "one of 'nngp'"),
        (network_spectrum, (net, x[None]), {}, "Flatten"),
        (
            network_spectrum,
            (net, x),
            {"kernel": "jacobian-nngp", "regularization": 1.1},
            "between 0 and 1",
        ),
    ]
    for function, arguments, options, message in cases:
        with unchecked(), pytest.raises(ValueError, match=message):
            function(*arguments, **options)
