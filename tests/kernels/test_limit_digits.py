"""Digits of limit kernels: small angles, many layers, all sizes, both precisions."""

import jax
import mpmath
import numpy as np
import pytest
from limit_cases import NTK, net

from widelimit.activations import LeakyReLU, ReLU
from widelimit.kernels import limit_kernels
from widelimit.layers import Activation, Dense, Residual, Sequential


def exact_relu(x1, x2, depth, w2, b2):
    """ReLU kernels with 60 digits, of the floats exactly as given."""
    with mpmath.workdps(60):
        x1, x2 = ([mpmath.mpf(float(v)) for v in x] for x in (x1, x2))
        c, p, q = (
            w2 * mpmath.fdot(u, v) / len(x1) + b2
            for u, v in ((x1, x2), (x1, x1), (x2, x2))
        )
        t = c
        for _ in range(depth):
            r = mpmath.sqrt(p * q)
            theta = mpmath.acos(min(max(c / r, -1), 1))
            t *= w2 * (mpmath.pi - theta) / (2 * mpmath.pi)
            c = mpmath.sin(theta) * r + (mpmath.pi - theta) * c
            c = w2 * c / (2 * mpmath.pi) + b2
            t += c
            p, q = w2 * p / 2 + b2, w2 * q / 2 + b2
        return float(c), float(t)


@pytest.mark.parametrize(("depth", "bias_std"), [(1, 0.25), (10, None), (100, 0.25)])
def test_angles_keep_their_digits_through_many_layers(depth, bias_std, x):
    base, other = x[0], x[1]
    near = [base + r * other for r in (1e-2, 1e-4, 1e-6, 1e-8, 1e-12)]
    rows = np.stack([2 * base, base, *near, -base + 1e-7 * other, -3 * base, other])
    network = net(ReLU(), depth, bias_std, weight_std=2**0.5)
    found = limit_kernels(network, base[None], rows)
    for j, row in enumerate(rows):
        c, t = exact_relu(base, row, depth, 2, (bias_std or 0) ** 2)
        scale = 1e-13 * np.linalg.norm(base) * np.linalg.norm(row) / 5
        np.testing.assert_allclose(found.nngp[0, j], c, rtol=1e-13, atol=scale)
        np.testing.assert_allclose(found.ntk[0, j], t, rtol=1e-13, atol=scale)


@pytest.mark.slow
def test_angles_keep_their_digits_in_residual_networks(x):
    # Branches of variance zero in the limit: the result is that of the trunk.
    tiny = Sequential(
        (Activation(LeakyReLU(0.3)), Dense(3, 1e-9, parameterization=NTK))
    )
    trunk = net(ReLU(), 2, 0.3)
    network = Sequential((trunk.layers[0], Residual(tiny), *trunk.layers[1:]))
    rows = np.stack([x[0] + r * x[1] for r in (0.5, 1e-3, 1e-6, 1e-9)])
    plain, residual = (limit_kernels(n, x[:1], rows) for n in (trunk, network))
    np.testing.assert_allclose(residual.nngp, plain.nngp, rtol=1e-13)
    np.testing.assert_allclose(residual.ntk, plain.ntk, rtol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "s"),
    [("float64", 1e-100), ("float64", 1e100), ("float32", 1e-15), ("float32", 1e15)],
)
def test_relu_kernels_scale_in_the_whole_range_of_floats(dtype, s, x):
    """Through a residual sum; pairs of all angles, also nearly parallel ones."""
    branch = Sequential((Activation(ReLU()), Dense(3, 0.9, parameterization=NTK)))
    residual = Residual(branch, Dense(3, 0.8, parameterization=NTK))
    network = Sequential((Dense(3, 1.2), residual, Activation(ReLU()), Dense(1, 1.1)))
    close = x[:1] + np.array([[1e-3], [1e-6]]) * x[1:2]
    rows = np.concatenate([x[:4], close, -x[:1], np.zeros((1, 5))])
    rows = rows.astype(np.float32).astype(np.float64)
    exact = limit_kernels(network, rows)
    found = limit_kernels(network, rows * s, dtype=dtype)
    rtol = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for one, other in ((found.nngp, exact.nngp), (found.ntk, exact.ntk)):
        actual = one.astype(np.float64) / s / s
        np.testing.assert_allclose(actual, other, rtol=rtol)


@pytest.mark.slow
def test_shrinking_kernels_of_deep_networks_keep_their_digits(x):
    network = net(ReLU(), 100, None, weight_std=1.0)
    rows = x.astype(np.float32)
    exact, found = (
        limit_kernels(network, rows, dtype=d) for d in ("float64", "float32")
    )
    np.testing.assert_allclose(found.nngp, exact.nngp, rtol=1e-5)
    np.testing.assert_allclose(found.ntk, exact.ntk, rtol=1e-5)


def test_float64_without_being_asked_for_it(x):
    with jax.enable_x64(False):
        found = limit_kernels(net(ReLU()), x.astype(np.float32))
    assert found.nngp.dtype == found.ntk.dtype == np.float64
    exact = limit_kernels(net(ReLU()), x.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(found.ntk, exact.ntk)
    single = limit_kernels(net(ReLU()), x, dtype="float32")
    assert single.ntk.dtype == np.float32
    np.testing.assert_allclose(single.ntk, limit_kernels(net(ReLU()), x).ntk, rtol=2e-5)
