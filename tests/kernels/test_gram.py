"""du2019's population Gram matrices against their definitions, by quadrature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import gaussian_pair_mean
from widelimit.activations import Erf, ReLU, Softplus
from widelimit.kernels import population_gram
from widelimit.layers import Activation, Sequential
from widelimit.networks import (
    du2019_conv_resnet,
    du2019_fully_connected,
    du2019_resnet,
)

C_LAMBDA, SEPARATION, DEPTH = 0.7, 0.8, 3
FACTOR = C_LAMBDA * SEPARATION**1.5 / DEPTH


@functools.cache
def pair_mean(c, p, q, slopes=False):
    f = (lambda z: 1 / (1 + np.exp(-z))) if slopes else (lambda z: np.logaddexp(z, 0))
    return gaussian_pair_mean(f, f, c, p, q)


@functools.cache
def mean(q):
    return gaussian_pair_mean(lambda z: np.logaddexp(z, 0), np.ones_like, 0.0, q, 1.0)


C_SIGMA = 1 / pair_mean(1.0, 1.0, 1.0)


def expectation(k, slopes=False):
    """E s(u_a) s(u_b) for all pairs of a Gaussian vector of covariance k."""
    d = np.diag(k)
    upper = [
        [pair_mean(k[a, b], d[a], d[b], slopes) if a <= b else 0 for b in range(len(k))]
        for a in range(len(k))
    ]
    return np.triu(upper) + np.triu(upper, 1).T


def fully_connected(x):
    """Eq. (4)."""
    k = x @ x.T
    for _ in range(DEPTH - 1):
        k = C_SIGMA * expectation(k)
    return C_SIGMA * k * expectation(k, slopes=True)


def residual(k, after=lambda k: k):
    """Eq. (5) and (6): `after` makes of features what the next weights meet."""
    h = C_SIGMA * expectation(k)
    b = np.sqrt(C_SIGMA) * np.array([mean(q) for q in np.diag(k)])
    for _ in range(2, DEPTH):
        k = after(h)
        m = np.array([mean(q) for q in np.diag(k)])
        cross = np.outer(b, m) + np.outer(m, b)
        h, b = h + FACTOR * cross + FACTOR**2 * expectation(k), b + FACTOR * m
    k = after(h)
    return FACTOR**2 * k * expectation(k, slopes=True)


@pytest.fixture
def x():
    x = np.random.default_rng(1).normal(size=(4, 6))
    x[3] *= 0.6
    return x / np.linalg.norm(x[0])


def test_fully_connected(x):
    network = du2019_fully_connected(depth=DEPTH, width=7)
    np.testing.assert_allclose(
        population_gram(network, x).gram, fully_connected(x), rtol=1e-9
    )


def test_resnet(x):
    network = du2019_resnet(
        depth=DEPTH, width=7, c_lambda=C_LAMBDA, separation=SEPARATION
    )
    np.testing.assert_allclose(
        population_gram(network, x).gram, residual(x @ x.T), rtol=1e-9
    )


def test_conv_resnet(x):
    x = x[:3].reshape(3, 3, 2)  # three pixels of two channels

    def patches(k):
        """Sum over the offsets of a window of three, the same at both pixels."""
        k = np.pad(k.reshape(3, 3, 3, 3), ((0, 0), (1, 1), (0, 0), (1, 1)))
        return sum(k[:, o : o + 3, :, o : o + 3] for o in range(3)).reshape(9, 9)

    pixels = residual(patches(np.einsum("isc,jtc->isjt", x, x)), patches)
    expected = pixels.reshape(3, 3, 3, 3).sum((1, 3))
    network = du2019_conv_resnet(
        depth=DEPTH, width=7, c_lambda=C_LAMBDA, separation=SEPARATION
    )
    found = population_gram(network, x)
    np.testing.assert_allclose(found.gram, expected, rtol=1e-9)
    # Patches of six entries, and twice three pixels: full rank, but for the ends.
    k = patches(np.einsum("isc,jtc->isjt", x, x)).reshape(3, 3, 3, 3)
    least = min(
        np.linalg.eigvalsh(k[[i, j]][:, :, [i, j]].reshape(6, 6))[0]
        for i, j in ((0, 1), (0, 2), (1, 2))
    )
    np.testing.assert_allclose(found.separation, least, rtol=1e-8, atol=1e-12)


def test_eigenvalues_are_those_of_the_assumptions(x):
    found = population_gram(du2019_fully_connected(depth=DEPTH, width=7), x)
    np.testing.assert_allclose(
        found.lambda_0, np.linalg.eigvalsh(fully_connected(x))[0], rtol=1e-7
    )

    def least(k):
        pairs = [(i, j) for i in range(4) for j in range(i)]
        values = {(j, i): np.linalg.eigvalsh(k[[i, j]][:, [i, j]])[0] for i, j in pairs}
        pair = min(values, key=lambda p: values[p])
        return values[pair], pair

    k = x @ x.T
    value, pair = least(k)
    assert found.pair == pair
    np.testing.assert_allclose(found.separation, value, rtol=1e-9)
    layers = [least(k := C_SIGMA * expectation(k)) for _ in range(DEPTH - 1)]
    layers.append(least(found.gram))
    value, pair = min(layers)
    assert (found.layer, found.layer_pair) == (layers.index((value, pair)) + 1, pair)
    np.testing.assert_allclose(found.layer_separation, value, rtol=1e-7)
    assert found.positive and 0 < found.error < 1e-12


def test_many_layers_are_one_program(x):
    """The result of a compiled loop is that of the definition, layer after layer."""
    deep = du2019_fully_connected(depth=9, width=7, activation=Erf())
    k = x @ x.T
    scale = 1 / (2 / np.pi * np.arcsin(2 / 3))
    for _ in range(8):
        size = np.sqrt(np.outer(1 + 2 * np.diag(k), 1 + 2 * np.diag(k)))
        k = scale * 2 / np.pi * np.arcsin(2 * k / size)
    size = np.outer(1 + 2 * np.diag(k), 1 + 2 * np.diag(k))
    expected = scale * k * 4 / np.pi / np.sqrt(size - 4 * k**2)
    np.testing.assert_allclose(population_gram(deep, x).gram, expected, rtol=1e-12)


def test_parallel_rows_are_named(x):
    network = du2019_fully_connected(depth=2, width=7, activation=Erf())
    rows = np.concatenate([x, -0.5 * x[1:2]])
    found = population_gram(network, rows)
    assert found.pair == (1, 4) and found.separation == 0
    assert found.positive  # of unequal norms, they are not parallel in later layers
    with pytest.raises(ValueError, match="no two are parallel .* rows 1 and 4"):
        population_gram(network, rows, throw=True)


def test_zero_rows_are_named(x):
    network = du2019_fully_connected(depth=1, width=7, activation=Erf())
    rows = np.concatenate([x, np.zeros((1, 6))])
    assert not population_gram(network, rows).positive
    with pytest.raises(ValueError, match=r"zeros in row 4 \(1 such rows\)"):
        population_gram(network, rows, throw=True)


def test_a_singular_gram_matrix_is_told(x):
    # No two rows are parallel, but more rows than a linear kernel's rank.
    linear = Sequential(du2019_fully_connected(depth=1, width=7).layers[:1])
    rows = np.random.default_rng(0).normal(size=(8, 6))
    with pytest.raises(ValueError, match="positive definite .* cannot tell from zero"):
        population_gram(linear, rows, throw=True)


def test_networks_without_parameters_have_no_gram_matrix(x):
    with pytest.raises(ValueError, match="a network with parameters"):
        population_gram(Activation(ReLU()), x)


def test_images_without_enough_channels_have_patches_that_depend(x):
    """Assumption 5.1 needs patches of at least twice as many entries as pixels."""
    images = np.random.default_rng(0).normal(size=(3, 6, 1))
    network = du2019_conv_resnet(depth=2, width=7, activation=Erf())
    found = population_gram(network, images)
    assert abs(found.separation) < 1e-12 and found.positive


@pytest.mark.parametrize(
    "build", [du2019_fully_connected, du2019_resnet, du2019_conv_resnet]
)
def test_finite_networks_are_the_papers(build, x):
    """Forward pass as the paper writes it, with its factors of 1 / sqrt(m)."""
    width, options = 5, {}
    if build is not du2019_fully_connected:
        options = {"c_lambda": C_LAMBDA, "separation": SEPARATION}
    network = build(depth=DEPTH, width=width, **options)
    inputs = x.reshape(4, 3, 2) if build is du2019_conv_resnet else x
    params = network.init(jax.random.key(0), inputs.shape[1:])
    leaves = jax.tree.leaves(params)
    *weights, signs = (np.asarray(leaf) for leaf in leaves)
    assert set(np.unique(signs)) <= {-1.0, 1.0} and len(weights) == DEPTH

    def through(w, z):
        if build is not du2019_conv_resnet:
            return z @ w
        z = np.pad(z, ((0, 0), (1, 1), (0, 0)))
        return sum(z[:, o : o + 3] @ w[o] for o in range(3))

    def sigma(z):
        return np.logaddexp(z, 0) / np.sqrt(width)

    z = np.sqrt(C_SIGMA) * sigma(through(weights[0], inputs))
    for w in weights[1:]:
        if build is du2019_fully_connected:
            z = np.sqrt(C_SIGMA) * sigma(through(w, z))
        else:
            z = z + FACTOR * sigma(through(w, z))
    y = z.reshape(4, -1, width).sum(1) @ signs
    np.testing.assert_allclose(
        network.apply(params, jnp.asarray(inputs)), y, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "`depth >= 1`. Got `depth=0`"),
        ({"c_lambda": 1.0}, "`c_lambda < 1`. Got `c_lambda=1.0`"),
        ({"c_lambda": 0.0}, "finite `c_lambda > 0`"),
        ({"separation": -0.1}, "finite `separation > 0`"),
        ({"width": 0}, "Got `(features|channels)=0`"),
    ],
)
@pytest.mark.parametrize("build", [du2019_resnet, du2019_conv_resnet])
def test_settings_out_of_range_are_named(build, change, message):
    with pytest.raises(ValueError, match=message):
        build(**({"depth": 2, "width": 3, "activation": Softplus()} | change))
