"""Limit kernels: against written recursions, wide networks, and identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from limit_cases import NTK, net

from oracles import assert_mean_matches, gaussian_pair_mean, unchecked
from widelimit.activations import (
    GELU,
    Abs,
    Custom,
    Erf,
    Identity,
    LeakyReLU,
    ReLU,
    Softplus,
    Tanh,
)
from widelimit.kernels import limit_block, limit_kernels, limit_moments
from widelimit.layers import (
    Activation,
    Dense,
    Parameterization,
    Readout,
    Residual,
    Scale,
    Sequential,
)


def by_the_book(x1, x2, depth, w, b, dual, slope):
    """Jacot's recursion, with duals as functions of (c, p, q)."""
    d, w2, b2 = len(x1), w**2, b**2
    c, p, q = (w2 * np.dot(u, v) / d + b2 for u, v in ((x1, x2), (x1, x1), (x2, x2)))
    t = c
    for _ in range(depth):
        moments = (c, p, q)
        c = w2 * dual(*moments) + b2
        t = c + w2 * slope(*moments) * t
        p, q = (w2 * dual(v, v, v) + b2 for v in (p, q))
    return c, t


def arc_cosine(a):
    def dual(c, p, q):
        r = np.sqrt(p * q)
        theta = np.arccos(np.clip(c / r, -1, 1))
        k = r * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
        return (1 - a) ** 2 * k + a * c

    def slope(c, p, q):
        theta = np.arccos(np.clip(c / np.sqrt(p * q), -1, 1))
        return a + (1 - a) ** 2 * (np.pi - theta) / (2 * np.pi)

    return dual, slope


def arc_sine():
    def dual(c, p, q):
        return 2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * p) * (1 + 2 * q)))

    def slope(c, p, q):
        return 4 / np.pi / np.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2)

    return dual, slope


def softplus():
    def f(z):
        return np.logaddexp(z, 0)

    def g(z):
        return 1 / (1 + np.exp(-z))

    return (
        lambda c, p, q: gaussian_pair_mean(f, f, c, p, q),
        lambda c, p, q: gaussian_pair_mean(g, g, c, p, q),
    )


@pytest.mark.parametrize(
    ("phi", "means", "depth"),
    [
        (ReLU(), arc_cosine(0), 0),
        (ReLU(), arc_cosine(0), 1),
        (ReLU(), arc_cosine(0), 3),
        (LeakyReLU(0.2), arc_cosine(0.2), 3),
        (Abs(), arc_cosine(-1), 3),
        (Erf(), arc_sine(), 3),
    ],
    ids=["linear", "one", "relu", "leaky", "abs", "erf"],
)
def test_the_recursion_of_the_literature(phi, means, depth, x):
    found = limit_kernels(net(phi, depth), x[:4], x[4:])
    for i in range(4):
        for j in range(3):
            c, t = by_the_book(x[i], x[4 + j], depth, 1.3, 0.4, *means)
            np.testing.assert_allclose(found.nngp[i, j], c, rtol=1e-13)
            np.testing.assert_allclose(found.ntk[i, j], t, rtol=1e-13)


def residual_with_mean(phi, depth, factor):
    """du2019, Eq. (3), without the normalisation of the first layer."""
    hidden = Sequential(
        (Dense(96, parameterization=NTK), Activation(phi), Scale(factor))
    )
    first = Dense(96, parameterization=Parameterization.DIRECT)
    blocks = (Residual(hidden),) * (depth - 1)
    return Sequential((first, Activation(phi), *blocks, Readout()))


def test_features_of_a_residual_network_keep_their_mean(x):
    s, depth = 0.3, 3
    network = residual_with_mean(Softplus(), depth, s)
    found = limit_moments(network, *map(jnp.asarray, (x[:1], x[4:5])))
    dual, slope = softplus()

    def mean(q):
        return gaussian_pair_mean(lambda z: np.logaddexp(z, 0), np.ones_like, 0, q, 1)

    u, v = x[0], x[4]
    c, p, q = u @ v, u @ u, v @ v
    # The read-out is not trained, and the first layer's gradients are the inputs.
    t = slope(c, p, q) * c
    c, p, q, b, e = dual(c, p, q), dual(p, p, p), dual(q, q, q), mean(p), mean(q)
    for layer in range(2, depth + 1):
        f, g = mean(p), mean(q)
        t = t + s**2 * slope(c, p, q) * (c + t)
        c, p, q = (
            k + s**2 * dual(*m) + s * (b1 * g2 + b2 * g1)
            for k, m, b1, b2, g1, g2 in (
                (c, (c, p, q), b, e, f, g),
                (p, (p, p, p), b, b, f, f),
                (q, (q, q, q), e, e, g, g),
            )
        )
        b, e = b + s * f, e + s * g
        m = found[layer + 1]
        np.testing.assert_allclose(m.cross[0, 0], c, rtol=1e-10)
        np.testing.assert_allclose([m.first[0], m.second[0]], [p, q], rtol=1e-10)
        np.testing.assert_allclose(
            [m.mean_first[0], m.mean_second[0]], [b, e], rtol=1e-10
        )
        np.testing.assert_allclose(m.ntk[0][0, 0], t, rtol=1e-10)


def shortcut_network(phi):
    branch = Sequential((Activation(phi), Dense(96, 0.8, 0.2, parameterization=NTK)))
    first = Dense(96, 1.2, 0.3, parameterization=NTK)
    shortcut = Dense(96, 0.7, parameterization=NTK)
    return Sequential(
        (first, Residual(branch), Activation(phi), Residual(branch.layers[1], shortcut))
    )


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(net(ReLU(), 3, width=96), marks=pytest.mark.slow),
        net(Softplus(), 1, None, width=96, parameterization=Parameterization.STANDARD),
        Sequential((*residual_with_mean(Softplus(), 3, 0.8).layers,)),
        pytest.param(shortcut_network(GELU()), marks=pytest.mark.slow),
    ],
    ids=["mlp", "standard", "mean", "shortcut"],
)
def test_wide_networks_average_to_the_limit(network, x, getkey):
    rows = jnp.asarray(x)

    def one_network(key):
        params = network.init(key, (5,))
        y, pull = jax.vjp(lambda p: network.apply(p, rows)[:, 0], params)
        pulled = jax.vmap(pull)(jnp.eye(7))[0]
        flat = [r.reshape(7, -1) for r in jax.tree.leaves(pulled)]
        jacobian = jnp.concatenate(flat, axis=1)
        return jnp.outer(y[:4], y[4:]), jacobian[:4] @ jacobian[4:].T

    outer, ntk = jax.lax.map(one_network, jax.random.split(getkey(), 300))
    found = limit_kernels(network, x[:4], x[4:])
    sizes = [np.abs(k).max() for k in (found.nngp, found.ntk)]
    assert_mean_matches(outer, found.nngp, bias=6 / 96 * sizes[0])
    assert_mean_matches(ntk, found.ntk, bias=6 / 96 * sizes[1])


def test_layers_tangent_kernels_sum_to_the_whole(x):
    network = shortcut_network(Erf())
    rows = jnp.asarray(x)
    parts = limit_moments(network, rows, per_layer=True)[-1].ntk
    assert len(parts) == 4  # in the order of the layers; of a shortcut last
    whole = limit_kernels(network, x)
    np.testing.assert_allclose(sum(parts), whole.ntk, rtol=1e-13)
    # The last layer's own part is the covariance of its input's features.
    features = limit_moments(network, rows)[3].cross
    np.testing.assert_allclose(parts[2], 0.8**2 * features + 0.2**2, rtol=1e-13)
    np.testing.assert_allclose(parts[3], 0.7**2 * features, rtol=1e-13)


@pytest.mark.parametrize("phi", [ReLU(), Erf()], ids=repr)
def test_repeated_layers_are_one_program(phi, x):
    """A scan over equal layers gives what writing them out gives."""
    deep, rows = net(phi, 3), jnp.asarray(x)
    scanned = limit_kernels(deep, x)
    written = jax.jit(lambda x: limit_moments(deep, x)[-1])(rows)  # layer by layer
    np.testing.assert_allclose(scanned.nngp, written.cross, rtol=1e-12)
    np.testing.assert_allclose(scanned.ntk, sum(written.ntk), rtol=1e-12)


def test_gram_matrices_are_symmetric_to_the_last_bit_in_any_tiling(x, getkey):
    rows = np.concatenate([x, np.asarray(jax.random.normal(getkey(), (40, 5)))])
    network = net(ReLU(), 2)
    small = limit_kernels(network, rows, memory=4e-6)  # tiles of a few rows
    whole = limit_kernels(network, rows)
    for part, full in ((small.nngp, whole.nngp), (small.ntk, whole.ntk)):
        np.testing.assert_array_equal(part, part.T)
        np.testing.assert_allclose(part, full, rtol=1e-13)
    both = limit_kernels(network, rows, rows[::-1], memory=4e-6)
    np.testing.assert_allclose(both.ntk, whole.ntk[:, ::-1], rtol=1e-13)


def test_scaling_laws(x):
    network = net(ReLU(), 3, None)
    one, scaled = limit_kernels(network, x[:3], x[3:]), None
    scaled = limit_kernels(network, 2 * x[:3], -3 * x[3:] * -1)
    np.testing.assert_allclose(scaled.nngp, 6 * one.nngp, rtol=1e-13)
    np.testing.assert_allclose(scaled.ntk, 6 * one.ntk, rtol=1e-13)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    turned = limit_kernels(net(GELU()), x[:3] @ rotation, x[3:] @ rotation)
    np.testing.assert_allclose(
        turned.ntk, limit_kernels(net(GELU()), x[:3], x[3:]).ntk, rtol=1e-12
    )


def test_a_linear_network_is_a_product_of_inner_products(x):
    found = limit_kernels(net(Identity(), 2, None), x[:3], x[3:])
    gram = x[:3] @ x[3:].T / 5 * 1.3**6
    np.testing.assert_allclose(found.nngp, gram, rtol=1e-13)
    np.testing.assert_allclose(found.ntk, 3 * gram, rtol=1e-13)


def test_zero_rows_and_single_rows(x):
    rows = np.concatenate([np.zeros((1, 5)), x[:2]])
    for phi in (ReLU(), GELU()):
        found = limit_kernels(net(phi, 1, None), rows)
        assert np.isfinite(found.ntk).all()
        np.testing.assert_allclose(found.nngp[0], 0, atol=1e-15)
    single = limit_kernels(net(GELU(), 1, None), rows[1:2])
    np.testing.assert_allclose(single.ntk, found.ntk[1:2, 1:2], rtol=1e-13)


def test_derivatives_by_the_inputs(x):
    network, step = net(ReLU(), 2), 1e-6
    x1, x2 = map(jnp.asarray, (x[:3], x[3:]))

    @jax.jit
    def along(t):
        """The kernel on a line, and its derivative."""

        def ntk(t):
            return limit_block(network, x1 + t * x2[:3], x2).ntk

        return jax.jvp(ntk, (t,), (jnp.ones_like(t),))

    (above, _), (below, _), (_, slope) = map(along, (step, -step, 0.0))
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-6)


def test_without_the_tangent_kernel(x):
    found = limit_kernels(net(GELU()), x, ntk=False)
    assert found.ntk is None
    np.testing.assert_array_equal(found.nngp, limit_kernels(net(GELU()), x).nngp)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "relu"}, r"description of a network.*Got `network='relu'`"),
        ({"x1": [[1.0, 2.0], [3.0]]}, "`x1` with rows of one length"),
        ({"x2": np.ones((2, 4))}, r"same features. Got `x1.shape=\(7, 5\)` and `x2.sh"),
        ({"x1": np.ones(5)}, r"one input per row.*Got `x1.shape=\(5,\)`"),
        ({"x1": np.ones((0, 5))}, r"at least one row.*Got `x1.shape=\(0, 5\)`"),
        ({"x1": np.full((2, 5), np.nan)}, r"finite numbers in `x1`. Got nan at index"),
        ({"x1": np.array([["a"]])}, "real numbers in `x1`"),
        ({"memory": 1e-9}, r"GiB for one pair of inputs of shape \(5,\)"),
        ({"memory": 0.0}, "finite `memory > 0`"),
        ({"dtype": "float16"}, "`dtype` to be one of"),
        ({"x1": np.ones((2, 5, 3))}, "vectors"),
        (
            {"network": net(GELU()), "x1": 1e90 * np.ones((2, 5))},
            "range of float64. Got nan for row 0 of `x1` and row 0 of `x2`. Scale",
        ),
    ],
)
def test_bad_input_is_named(change, message, x):
    arguments = {"network": net(ReLU()), "x1": x} | change
    with unchecked(), pytest.raises(ValueError, match=message):
        limit_kernels(**arguments)


@pytest.mark.slow
def test_moments_take_what_kernels_take(x):
    """Lists and float32 are taken in float64; shapes are checked under `jit` too."""
    with jax.enable_x64(False), unchecked():
        found = limit_moments(net(ReLU(), 1), x[:2].tolist())[-1]
    np.testing.assert_array_equal(
        found.cross, limit_moments(net(ReLU(), 1), x[:2])[-1].cross
    )
    assert found.cross.dtype == np.float64
    message = r"same features. Got `x1.shape=\(7, 5\)`"
    for f in (limit_moments, limit_block):
        with unchecked(), pytest.raises(ValueError, match=message):
            jax.jit(lambda a, b, f=f: f(net(ReLU()), a, b))(x, x[:, :4])


@pytest.mark.parametrize(
    ("phi", "size"),
    [(Custom(jnp.tanh), 100.0), (Custom(lambda z: jnp.exp(z * z)), 1.0)],
    ids=["wide", "infinite"],
)
def test_a_quadrature_that_does_not_converge_is_told(phi, size, x):
    branch = Sequential((Activation(phi), Dense(3, parameterization=NTK)))
    network = Sequential((Dense(3, parameterization=NTK), Residual(branch), Dense(1)))
    with pytest.raises(ValueError, match="duals that converge. Got an estimated"):
        limit_kernels(network, size * x)


def test_a_quadrature_that_converges_is_accurate(x):
    found, exact = (
        limit_kernels(net(phi, 1, weight_std=0.8), 0.3 * x)
        for phi in (Custom(jnp.tanh), Tanh())
    )
    np.testing.assert_allclose(found.ntk, exact.ntk, rtol=1e-11)


def test_activations_need_gaussian_features(x):
    after = Sequential((Dense(3), Activation(ReLU()), Activation(ReLU())))
    for network in (after, Sequential((Activation(ReLU()), Dense(3)))):
        with pytest.raises(ValueError, match="needs Gaussian features"):
            limit_kernels(network, x)


def test_residual_branches_must_be_independent(x):
    linked = Sequential((Dense(3), Residual(Scale(2.0)), Dense(1)))
    nested = Sequential((Dense(5), Residual(Residual(Dense(5))), Dense(1)))
    for network in (linked, nested):
        with pytest.raises(ValueError, match="dense or convolutional layer in its br"):
            limit_kernels(network, x)
