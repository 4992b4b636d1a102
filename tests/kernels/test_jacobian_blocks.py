"""Blocks of Jacobian kernels: against mpmath, and by differentiating limit kernels."""

import jacobian_oracle as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def net(phi, depth, bias_std: float | None = 0.3, weight_std=1.2):
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


def blocks(network, x, rows, kind):
    n, m, d = len(x), len(rows), x.shape[1] + 1
    kernel = jacobian_kernel(network, x, rows, kind=kind)
    return kernel.dense().reshape(n, d, m, d).transpose(0, 2, 1, 3)


SMOOTH = {"erf": (Erf(), oracle.Erf()), "gelu": (GELU(), oracle.GELU())}
CASES = [
    ("erf", 1, "nngp"),
    ("erf", 3, "ntk"),
    ("erf", 11, "ntk"),
    ("gelu", 1, "ntk"),
    ("gelu", 11, "ntk"),
    *(
        pytest.param(*case, marks=SLOW)
        for case in [
            ("erf", 1, "ntk"),
            ("erf", 3, "nngp"),
            ("erf", 11, "nngp"),
            ("gelu", 1, "nngp"),
            ("gelu", 3, "nngp"),
            ("gelu", 3, "ntk"),
            ("gelu", 11, "nngp"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "depth", "kind"), CASES)
@pytest.mark.parametrize("normalized", [False, pytest.param(True, marks=SLOW)])
def test_blocks_have_the_digits_of_mpmath(name, depth, kind, normalized, x):
    phi, duals = SMOOTH[name]
    network = net(phi, depth)
    if normalized:  # as kim2023
        phi = phi.normalized()
        network = net(phi, depth, None, 1.0)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.stack([x[0], x[1], -x[0], x[0] + 1e-6 * x[2]])
    found = blocks(network, x[:1], rows, kind)[0]
    k = oracle.kernel(network, duals, kind)
    for block, row in zip(found, rows, strict=True):
        agree(block, oracle.block(k, x[0], row))


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


COMPOSITIONS = {
    "mean": (kept_mean(), oracle.GELU()),
    "shortcut": (shortcut(), oracle.Erf()),
    "du2019": (du2019_resnet(depth=4, width=8, activation=GELU()), oracle.GELU()),
    "linear": (net(Erf(), 0), oracle.Erf()),
    "quadrature": (net(Custom(jax.scipy.special.erf), 2), oracle.Erf()),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("mean", "ntk", marks=SLOW),
        ("shortcut", "ntk"),
        pytest.param("quadrature", "ntk", marks=SLOW),
        pytest.param("mean", "nngp", marks=SLOW),
        pytest.param("shortcut", "nngp", marks=SLOW),
        pytest.param("quadrature", "nngp", marks=SLOW),
        pytest.param("du2019", "ntk", marks=SLOW),
        pytest.param("linear", "ntk", marks=SLOW),
    ],
)
def test_compositions_have_the_digits_of_mpmath(name, kind, x):
    network, duals = COMPOSITIONS[name]
    rows = x[:2]
    found = blocks(network, x[:1], rows, kind)[0]
    k = oracle.kernel(network, duals, kind)
    for block, row in zip(found, rows, strict=True):
        agree(block, oracle.block(k, x[0], row), 1e-10)


def test_the_eight_numbers_are_derivatives_by_inner_products(x):
    network = net(Erf(), 3)
    found = jacobian_scalars(network, x[:1], x[:2])
    k = oracle.kernel(network, oracle.Erf(), "ntk")
    for j in range(2):
        for name, value in oracle.numbers(k, x[0], x[j]).items():
            np.testing.assert_allclose(getattr(found, name)[0, j], value, rtol=1e-11)


@pytest.mark.parametrize(
    ("phi", "slope", "depth", "bias_std"),
    [
        (ReLU(), 0.0, 2, 0.3),
        pytest.param(LeakyReLU(0.2), 0.2, 1, None, marks=SLOW),
        pytest.param(ReLU(), 0.0, 3, None, marks=SLOW),
        pytest.param(Abs(), -1.0, 2, 0.3, marks=SLOW),
        pytest.param(LeakyReLU(0.2).normalized(), 0.2, 3, 0.3, marks=SLOW),
        pytest.param(ReLU(), 0.0, 100, None, marks=SLOW),
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
    matrix, u = kernel.dense(), np.random.default_rng(1).normal(size=kernel.shape[1])
    np.testing.assert_allclose(kernel @ u, matrix @ u, rtol=1e-12)
    found = matrix.reshape(4, len(rows), 4).transpose(1, 0, 2)
    k = oracle.kernel(network, oracle.Rectifier(slope), "nngp")
    for block, row in zip(found, rows, strict=True):
        agree(block, oracle.block(k, base, row, nudge=True), 1e-12)


@pytest.mark.parametrize(
    ("phi", "kind"),
    [
        (Erf(), "ntk"),
        *(pytest.param(*c, marks=SLOW) for c in [(GELU(), "ntk"), (ReLU(), "nngp")]),
    ],
    ids=str,
)
def test_deep_kernels_of_any_rows_are_finite(phi, kind, x):
    rows = np.concatenate([x, x[:1], 2 * x[1:2], -x[2:3], np.zeros((1, 3))])
    for bias_std in (None, 0.3):
        matrix = jacobian_kernel(net(phi, 100, bias_std), rows, kind=kind).dense()
        assert np.isfinite(matrix).all()
        np.testing.assert_array_equal(matrix, matrix.T)


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


@SLOW
@pytest.mark.parametrize(
    "phi",
    [Polynomial((0.4, -0.7, 0.2, 0.1)), Sine(1.3), Tanh(), Softplus()],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_blocks_are_derivatives_of_the_limit_kernel(phi, kind, x):
    network = net(phi, 2)
    rows = np.concatenate([x[:2], x[:1]])
    expected = differentiated(network, jnp.asarray(rows), jnp.asarray(x[:4]), kind)
    found = jacobian_kernel(network, rows, x[:4], kind=kind).dense()
    agree(found, np.asarray(expected).reshape(found.shape), 1e-10)


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


@SLOW
@pytest.mark.parametrize(
    "phi",
    [
        Erf(),
        GELU().normalized(),
        Polynomial((0.4, -0.7, 0.2, 0.1)),
        Tanh(),
        Sigmoid(),
        Softplus(),
        SiLU(),
        Sine(1.3),
        pytest.param(Custom(jnp.tanh), id="custom"),
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
                block_module.jacobian_block(net(Erf(), depth), a, a)
            )
        )(rows)
        return len(str(traced))

    assert size(30) < 1.1 * size(5)


def test_norms_beyond_the_digits_are_refused():
    net = mlp(depth=1, width=1, activation=Erf())
    x = np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])
    for size in (1e7, 1e80, 1e200):
        with pytest.raises(ValueError, match="norm at most 2.1e"):
            jacobian_kernel(net, x * size)
    kinked = mlp(depth=1, width=1, activation=ReLU())
    assert np.isfinite(jacobian_kernel(kinked, x * 1e7, kind="nngp").dense()).all()
    with pytest.raises(ValueError, match="in the range of float64"):
        jacobian_kernel(kinked, x * 1e200, kind="nngp")


@pytest.mark.parametrize("index", [[], [9], np.zeros((1, 1), int)])
def test_selections_that_cannot_be_are_refused(index):
    kernel = jacobian_kernel(mlp(depth=1, width=1, activation=Erf()), np.eye(3))
    with pytest.raises(ValueError, match="`select` needs"):
        kernel.select(index)
    assert kernel.select([2, 0], slice(1)).shape == (8, 4)
