"""Blocks of Jacobian kernels: against mpmath, and by differentiating limit kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jacobian_oracle as oracle
from widelimit.activations import (
    GELU,
    Abs,
    Custom,
    Erf,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
)
from widelimit.kernels import jacobian_kernel, jacobian_scalars, limit_block
from widelimit.kernels.jacobian import block as block_module
from widelimit.kernels.jacobian.means import means
from widelimit.layers import (
    Activation,
    Dense,
    Parameterization,
    Readout,
    Residual,
    Scale,
    Sequential,
)
from widelimit.networks import du2019_resnet, mlp

NTK = Parameterization.NTK
SLOW = pytest.mark.slow


def net(phi, depth, bias_std=0.3, weight_std=1.2):
    return mlp(
        depth=depth,
        width=5,
        activation=phi,
        weight_std=weight_std,
        bias_std=bias_std,
        parameterization=NTK,
    )


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 3)) * [
        [0.4],
        [1],
        [2],
        [1],
        [1],
        [0.7],
    ]


def agree(found, expected, tolerance=1e-11):
    """Every entry, those that cancel up to the rounding of the others."""
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-13 * largest)


SMOOTH = {"erf": (Erf(), oracle.erf_duals()), "gelu": (GELU(), oracle.gelu_duals())}
CASES = [
    ("erf", 1, "nngp"),
    ("erf", 3, "ntk"),
    ("erf", 11, "ntk"),
    ("gelu", 1, "ntk"),
    ("gelu", 3, "nngp"),
    ("gelu", 11, "ntk"),
    *(
        pytest.param(*case, marks=SLOW)
        for case in [
            ("erf", 1, "ntk"),
            ("erf", 3, "nngp"),
            ("erf", 11, "nngp"),
            ("gelu", 1, "nngp"),
            ("gelu", 3, "ntk"),
            ("gelu", 11, "nngp"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "depth", "kind"), CASES)
@pytest.mark.parametrize("normalized", [False, pytest.param(True, marks=SLOW)])
def test_blocks_have_the_digits_of_mpmath(name, depth, kind, normalized, x):
    phi, duals = SMOOTH[name]
    options = {"weight_std": 1.2, "bias_std": 0.3, "factor": 1.0}
    if normalized:  # as kim2023
        phi = phi.normalized()
        options = {"weight_std": 1.0, "bias_std": None, "factor": phi.factor}
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.stack([x[0], x[1], -x[0], x[0] + 1e-6 * x[2]])
    network = net(phi, depth, options["bias_std"], options["weight_std"])
    found = jacobian_kernel(network, x[:1], rows, kind=kind).dense().reshape(4, 4, 4)
    k = oracle.kernel(duals, depth=depth, kind=kind, **options)
    for j, row in enumerate(rows):
        agree(found[:, j], oracle.block(k, x[0], row))


@pytest.mark.parametrize(
    ("phi", "slope", "depth", "bias_std"),
    [
        (ReLU(), 0.0, 2, 0.3),
        (LeakyReLU(0.2), 0.2, 1, None),
        pytest.param(ReLU(), 0.0, 3, None, marks=SLOW),
        pytest.param(Abs(), -1.0, 2, 0.3, marks=SLOW),
        pytest.param(LeakyReLU(0.2).normalized(), 0.2, 3, 0.3, marks=SLOW),
    ],
    ids=str,
)
def test_kinks_leave_blocks_finite_and_right_towards_the_diagonal(
    phi, slope, depth, bias_std, x
):
    base, other = x[1], x[2]
    near = [base + 10.0**-k * other for k in (1, 3, 5, 8, 12)]
    rows = np.stack([base, *near, 3 * base, other, -base + 1e-3 * other])
    network = net(phi, depth, bias_std)
    kernel = jacobian_kernel(network, base[None], rows, kind="nngp")
    found = kernel.dense().reshape(4, len(rows), 4)
    factor = getattr(phi, "factor", 1.0)
    k = oracle.kernel(
        oracle.rectifier_dual(slope),
        depth=depth,
        kind="nngp",
        weight_std=1.2,
        bias_std=bias_std,
        factor=factor,
    )
    for j, row in enumerate(rows):
        agree(found[:, j], oracle.block(k, base, row), 1e-12)
    u = np.random.default_rng(1).normal(size=kernel.shape[1])
    np.testing.assert_allclose(kernel @ u, kernel.dense() @ u, rtol=1e-12, atol=1e-13)


def differentiated(network, x1, x2, kind):
    """Blocks from nested automatic differentiation of the limit kernel."""

    def k(x, y):
        return getattr(limit_block(network, x[None], y[None]), kind)[0, 0]

    def row(x, y):
        return jnp.concatenate([k(x, y)[None], jax.jacfwd(k, 1)(x, y)])

    def whole(x, y):
        return jnp.concatenate([row(x, y)[None], jax.jacfwd(row)(x, y).T])

    pairs = jax.vmap(jax.vmap(whole, (None, 0)), (0, None))
    return jax.jit(pairs)(x1, x2).transpose(0, 2, 1, 3)


def kept_mean():
    first = Dense(4, 0.7, 0.2, parameterization=Parameterization.DIRECT)
    hidden = Sequential(
        (Dense(4, parameterization=NTK), Activation(GELU()), Scale(0.4))
    )
    return Sequential((first, Activation(GELU()), *(Residual(hidden),) * 4, Readout()))


def shortcut():
    branch = Sequential((Activation(Erf()), Dense(4, 0.8, 0.2, parameterization=NTK)))
    first = Dense(4, 1.2, 0.3)
    other = Dense(4, 0.7, parameterization=NTK)
    return Sequential(
        (first, Residual(branch), Activation(Erf()), Residual(branch.layers[1], other))
    )


@pytest.mark.parametrize(
    "network",
    [
        kept_mean(),
        shortcut(),
        pytest.param(net(Polynomial((0.4, -0.7, 0.2, 0.1)), 2), marks=SLOW),
        pytest.param(net(Sine(1.3), 2), marks=SLOW),
        pytest.param(net(Tanh(), 2), marks=SLOW),
        pytest.param(net(Custom(jnp.tanh), 2), marks=SLOW),
        pytest.param(du2019_resnet(depth=4, width=8), marks=SLOW),
        pytest.param(net(Erf(), 0), marks=SLOW),
    ],
    ids=[
        "mean",
        "shortcut",
        "polynomial",
        "sine",
        "tanh",
        "custom",
        "du2019",
        "linear",
    ],
)
@pytest.mark.parametrize("kind", ["ntk", pytest.param("nngp", marks=SLOW)])
def test_blocks_are_derivatives_of_the_limit_kernel(network, kind, x):
    rows = np.concatenate([x[:2], x[:1]])
    expected = differentiated(network, jnp.asarray(rows), jnp.asarray(x[:4]), kind)
    found = jacobian_kernel(network, rows, x[:4], kind=kind).dense()
    agree(found, np.asarray(expected).reshape(found.shape), 1e-10)


def test_the_eight_numbers_are_derivatives_by_inner_products(x):
    # With b = 0 and two inputs orthogonal, a, b and c move apart from each other.
    found = jacobian_scalars(net(Erf(), 2), x[:2], x[2:])
    scale, d = 1e-4, 3

    def value(a, b, c):
        w2, b2 = 1.44, 0.09
        dual, slope = (
            lambda c, p, q: (
                2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * p) * (1 + 2 * q)))
            ),
            lambda c, p, q: 4 / np.pi / np.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2),
        )
        p, q, c = (w2 * v / d + b2 for v in (a, b, c))
        t = c
        for _ in range(2):
            rise = slope(c, p, q)
            c, p, q = (w2 * dual(*m) + b2 for m in ((c, p, q), (p, p, p), (q, q, q)))
            t = c + w2 * rise * t
        return t

    at = [np.sum(x[:2] ** 2, 1)[:, None], np.sum(x[2:] ** 2, 1)[None], x[:2] @ x[2:].T]
    np.testing.assert_allclose(found.k, value(*at), rtol=1e-13)
    for name, axes in {
        "k_a": [0],
        "k_b": [1],
        "k_c": [2],
        "k_ab": [0, 1],
        "k_ac": [0, 2],
        "k_bc": [1, 2],
        "k_cc": [2, 2],
    }.items():
        total = 0.0
        for signs in np.ndindex(*(2,) * len(axes)):
            moved = list(at)
            for axis, sign in zip(axes, signs, strict=True):
                moved[axis] = moved[axis] + (1 - 2 * sign) * scale
            total = total + (-1) ** sum(signs) * value(*moved)
        expected = total / (2 * scale) ** len(axes)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, atol=1e-7)


ORDERS = {
    "m11": (1, 1),
    "m20": (2, 0),
    "m02": (0, 2),
    "m22": (2, 2),
    "m31": (3, 1),
    "m13": (1, 3),
    "m33": (3, 3),
    "m42": (4, 2),
    "m24": (2, 4),
}


@pytest.mark.parametrize(
    "phi",
    [
        Erf(),
        GELU().normalized(),
        Polynomial((0.4, -0.7, 0.2, 0.1)),
        *(
            pytest.param(phi, marks=SLOW)
            for phi in (
                Tanh(),
                Sigmoid(),
                Softplus(),
                SiLU(),
                Sine(1.3),
                Custom(jnp.tanh),
            )
        ),
    ],
    ids=str,
)
def test_means_of_derivatives_are_gaussian_means(phi):
    c, p, q = 0.4, 0.8, 1.3
    z = np.arange(-10, 10, 0.1)
    weights = 0.1 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    derivatives = [phi]
    for _ in range(4):
        derivatives.append(jax.grad(lambda t, f=derivatives[-1]: f(t)))
    u = np.sqrt(p) * z[:, None] + 0 * z
    v = c / np.sqrt(p) * z[:, None] + np.sqrt(q - c * c / p) * z
    table = [
        [
            np.asarray(jax.vmap(f)(jnp.asarray(a.ravel()))).reshape(u.shape)
            for f in derivatives
        ]
        for a in (u, v)
    ]
    found = means(phi, *map(jnp.asarray, (c, p, q)))
    weights = np.outer(weights, weights)
    for name, (i, j) in ORDERS.items():
        expected = np.sum(weights * table[0][i] * table[1][j])
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-9)


def test_compilation_does_not_grow_with_the_depth(x):
    def size(depth):
        rows = jnp.asarray(x)
        traced = jax.make_jaxpr(
            lambda a: jax.tree.leaves(
                block_module.jacobian_block(net(GELU(), depth), a, a)
            )
        )(rows)
        return len(str(traced))

    assert size(100) < 1.1 * size(5)
