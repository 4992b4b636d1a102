"""Posteriors given values and derivatives, against conditioning of one Gaussian."""

import jax
import numpy as np
import pytest
from erf_kernels import jacobian_matrix

from oracles import assert_mean_matches, unchecked
from widelimit.activations import Erf
from widelimit.networks import kim2023_network
from widelimit.prediction import gaussian_posterior, prior

N, D, KAPPA, DEPTH = 5, 2, 0.7, 2
NET = kim2023_network(depth=DEPTH, width=3, activation=Erf(), kappa=KAPPA)
RNG = np.random.default_rng(0)
X, Z, NEW = RNG.normal(size=(3, N, D))
Y, G = RNG.normal(size=N), RNG.normal(size=(N, D))


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def conditioned(inputs, data, noise):
    """Mean and covariance at `NEW`, from one covariance of everything.

    `data` are the values and gradients at `inputs`, NaN where nothing was observed.
    """
    every = np.concatenate([NEW, inputs])
    joint = jacobian_matrix(every, every, DEPTH, KAPPA, "nngp")
    wanted = np.arange(NEW.size + len(NEW))
    seen = np.flatnonzero(~np.isnan(data.ravel()))
    noise = np.broadcast_to(noise, data.shape).ravel()[seen]
    at = len(wanted) + seen
    gain = np.linalg.solve(joint[np.ix_(at, at)] + np.diag(noise), joint[at][:, wanted])
    mean = gain.T @ data.ravel()[seen]
    return mean, joint[np.ix_(wanted, wanted)] - joint[at][:, wanted].T @ gain


def stacked(values=None, gradients=None):
    values = np.full(N, np.nan) if values is None else values
    gradients = np.full((N, D), np.nan) if gradients is None else gradients
    return np.concatenate([values[:, None], gradients], axis=1)


HOLES = np.where(np.arange(N * D).reshape(N, D) % 3 == 0, np.nan, G)
CASES = {
    "values": ((X, Y), {}, X, stacked(Y)),
    "both": ((X, Y), {"gradients": G}, X, stacked(Y, G)),
    "some": ((X, Y), {"gradients": HOLES}, X, stacked(Y, HOLES)),
    "gradients": ((), {"gradient_x": Z, "gradients": G}, Z, stacked(None, G)),
    "apart": (
        (X[:2], Y[:2]),
        {"gradient_x": Z[:3], "gradients": G[:3]},
        np.concatenate([X[:2], Z[:3]]),
        np.concatenate([stacked(Y)[:2], stacked(None, G)[:3]]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_conditional_of_the_joint_gaussian(name):
    data, options, inputs, seen = CASES[name]
    found = gaussian_posterior(NET, *data, **options, noise=0.1, gradient_noise=0.02)
    mean, covariance = conditioned(inputs, seen, np.array([0.1, *[0.02] * D]))
    there = found.at(NEW)
    both = np.concatenate([there.mean.values[:, None], there.mean.gradients], axis=1)
    np.testing.assert_allclose(both.ravel(), mean, rtol=1e-9, atol=1e-11)
    flat = there.covariance.reshape(covariance.shape)
    np.testing.assert_allclose(flat, covariance, rtol=1e-9, atol=1e-11)
    assert np.array_equal(flat, flat.T)
    found = found.mean_function
    np.testing.assert_allclose(found(NEW), there.mean.values, rtol=1e-9, atol=1e-12)
    weights = np.zeros((len(found.x), D + 1))
    weights[:, : found.weights.shape[1]] = found.weights[..., 0]
    gram = jacobian_matrix(found.x, found.x, DEPTH, KAPPA, "nngp")
    norm = np.sqrt(weights.ravel() @ gram @ weights.ravel())
    assert found.norm == pytest.approx(norm, rel=1e-8)
    own = there.variance
    expected = np.diagonal(covariance).reshape(N, D + 1)
    np.testing.assert_allclose(own.values, expected[:, 0], rtol=1e-8)
    np.testing.assert_allclose(own.gradients, expected[:, 1:], rtol=1e-8)


def test_exact_data_are_met():
    there = gaussian_posterior(NET, X, Y, gradients=G).at(X)
    np.testing.assert_allclose(there.mean.values, Y, atol=1e-6)
    np.testing.assert_allclose(there.mean.gradients, G, atol=1e-6)
    np.testing.assert_allclose(there.covariance, 0.0, atol=1e-6)


def test_variances_at_exact_data_are_not_below_zero():
    net, rounded = kim2023_network(depth=2, width=1), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x, values = rng.normal(size=(6, 3)), rng.normal(size=6)
        found = gaussian_posterior(net, x, values).at(x)
        rounded.append(np.diagonal(found.covariance[:, 0, :, 0]).min())
        assert 0 <= found.variance.values.min() <= found.variance.values.max() < 1e-12
    assert min(rounded) < 0


def test_the_evidence_is_the_density():
    found = gaussian_posterior(NET, X, Y, noise=0.1).log_evidence
    matrix = jacobian_matrix(X, X, DEPTH, KAPPA, "nngp")[:: D + 1, :: D + 1]
    matrix = matrix + 0.1 * np.eye(N)
    size = Y @ np.linalg.solve(matrix, Y) + np.linalg.slogdet(2 * np.pi * matrix)[1]
    assert found == pytest.approx(-size / 2, rel=1e-10)


def test_samples_have_the_moments(getkey):
    there = gaussian_posterior(NET, X, Y, noise=0.1).at(NEW)
    draws = there.samples(getkey(), 20_000)
    both = np.concatenate([draws.values[..., None], draws.gradients], axis=-1)
    mean = np.concatenate([there.mean.values[:, None], there.mean.gradients], axis=1)
    assert_mean_matches(both, mean)
    moved = (both - mean).reshape(len(both), -1)
    products = moved[:, :, None] * moved[:, None, :]
    assert_mean_matches(products, there.covariance.reshape(products.shape[1:]))


def test_the_prior_is_the_jacobian_nngp():
    found = prior(NET, X)
    expected = jacobian_matrix(X, X, DEPTH, KAPPA, "nngp")
    assert not found.mean.values.any() and not found.mean.gradients.any()
    flat = found.covariance.reshape(expected.shape)
    np.testing.assert_allclose(flat, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Got neither, or one without the other"),
        ({"x": X}, "Got neither, or one without the other"),
        ({"x": X, "values": Y[:2]}, r"each of 5 inputs. Got `values.shape=\(2,\)`"),
        ({"x": X, "values": G}, r"one value per input. Got `values.shape=\(5, 2\)`"),
        (
            {"x": X, "values": Y, "gradients": G[:2]},
            r"of shape \(5, 2\). Got `gradients.shape=\(2, 2\)`.*`gradient_x`",
        ),
        (
            {"x": X, "values": Y, "gradient_x": G[:, :1], "gradients": G[:, :1]},
            r"with 2 features, as those before. Got `gradient_x.shape=\(5, 1\)`",
        ),
        (
            {"gradient_x": G[:, :, None], "gradients": G},
            r"`gradient_x` .*`gradient_x.shape=\(5, 2, 1\)`",
        ),
        ({"gradients": G}, "needs `gradient_x` for `gradients` without values"),
        ({"x": X, "values": Y, "noise": -1.0}, "`noise >= 0`. Got `noise=-1.0`"),
        (
            {"x": np.concatenate([X[:4], -X[:1]]), "values": Y},
            r"positive definite.*Rows 0 and 4 are closest to parallel \(cosine -1",
        ),
    ],
    ids=lambda value: str(value)[:12],
)
def test_it_refuses(arguments, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        gaussian_posterior(NET, **arguments)
