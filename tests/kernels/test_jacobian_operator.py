"""The operator of a Jacobian kernel against its own matrix."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator, cg

from oracles import unchecked
from widelimit.activations import GELU, Abs, AbstractActivation, Erf, LeakyReLU, ReLU
from widelimit.kernels import (
    JacobianKernel,
    dense_jacobian_kernel,
    jacobian_kernel,
    jacobian_scalars,
    limit_kernels,
)
from widelimit.kernels.jacobian import dense as dense_module
from widelimit.kernels.jacobian import tiles
from widelimit.kernels.jacobian.dense import pair_blocks
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Parameterization,
    Sequential,
)
from widelimit.networks import mlp

NTK = Parameterization.NTK


def net(phi, depth=1):
    return mlp(
        depth=depth,
        width=5,
        activation=phi,
        weight_std=1.2,
        bias_std=0.3,
        parameterization=NTK,
    )


@dataclass(frozen=True)
class Bent(AbstractActivation):
    smooth: ClassVar[bool] = False

    def __call__(self, z):
        return (z > 0) * z * z


CASES = {"smooth": (net(Erf()), "ntk"), "kinks": (net(ReLU()), "nngp")}


@pytest.fixture(
    params=["smooth", pytest.param("kinks", marks=pytest.mark.slow)], scope="module"
)
def case(request):
    """A network, a kind, and inputs with equal, parallel, opposite and zero rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 3))
    x[3:8] = x[0], 2 * x[1], -x[2], np.zeros(3), x[1] + 1e-9
    return *CASES[request.param], x, rng.normal(size=(4, 3))


@pytest.fixture(scope="module")
def kernel(case):
    network, kind, x, z = case
    return jacobian_kernel(network, x, z, kind=kind, regularization=0.3)


def product_of(kernel, u):
    return kernel.dense() @ u


def same(found, expected, tolerance=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_products_equal_those_of_the_matrix(kernel):
    u = np.random.default_rng(1).normal(size=(kernel.shape[1], 2))
    v = np.random.default_rng(2).normal(size=(kernel.shape[0], 2))
    matrix = kernel.dense()
    assert matrix.shape == kernel.shape == (9 * 4, 4 * 4)
    same(kernel @ u[:, 0], matrix @ u[:, 0])
    same(kernel @ u, matrix @ u)
    same(kernel.matmat(u), matrix @ u)
    same(kernel.rmatvec(v[:, 0]), matrix.T @ v[:, 0])
    same(kernel.rmatmat(v), matrix.T @ v)
    same(kernel.T.dense(), matrix.T)


@pytest.mark.parametrize("rows", ["both", "value", "gradient"])
@pytest.mark.parametrize("columns", ["both", "value", "gradient"])
def test_parts_are_those_of_the_matrix(kernel, rows, columns):
    kept = {"both": slice(None), "value": slice(0, 1), "gradient": slice(1, None)}
    whole = kernel.dense().reshape(9, 4, 4, 4)
    part = kernel.part(rows, columns)
    expected = whole[:, kept[rows], :, kept[columns]].reshape(part.shape)
    same(part.dense(), expected)
    u = np.random.default_rng(1).normal(size=part.shape[1])
    same(part @ u, expected @ u)
    same(part.T.dense(), expected.T)
    same(part.part().dense(), whole.reshape(kernel.shape))
    if columns == "both" and rows == "value":
        assert part.select(slice(2)).shape == (2, 16)


def test_values_are_the_limit_kernel(case, kernel):
    network, kind, x, z = case
    values = kernel.part("value", "value").dense()
    same(values, getattr(limit_kernels(network, x, z), kind))


def test_scaling_is_that_of_the_paper(case, kernel):
    network, kind, x, z = case
    plain = jacobian_kernel(network, x, z, kind=kind)
    factor = np.sqrt(np.array([1, 0.3, 0.3, 0.3]))
    left, right = np.tile(factor, 9), np.tile(factor, 4)
    same(kernel.dense(), left[:, None] * plain.dense() * right)
    same(plain.scaled(0.3, rows=False).dense(), plain.dense() * right)
    same(plain.scaled(0.3, columns=False).dense(), left[:, None] * plain.dense())
    same(kernel.scaled(1.0).dense(), plain.dense())


def test_the_gram_matrix_is_symmetric_to_the_last_bit(case, monkeypatch):
    network, kind, x, _ = case
    whole = jacobian_kernel(network, x, kind=kind)
    monkeypatch.setattr(tiles, "CPU_SIDE", 4)
    monkeypatch.setattr(dense_module, "CHUNK", 4**4)
    tiled = jacobian_kernel(network, x, kind=kind)
    for name in tiled.scalars.names():
        ends = getattr(tiled.scalars, name), getattr(tiled.scalars.transposed(), name)
        np.testing.assert_array_equal(*ends)
    matrix = tiled.dense()
    assert tiled.symmetric and np.isfinite(matrix).all()
    np.testing.assert_array_equal(matrix, matrix.T)
    same(matrix, whole.dense())
    assert not tiled.scaled(0.5, rows=False).symmetric
    assert not tiled.select(slice(3), [0, 1, 3]).symmetric
    some = tiled.select([0, 5, 3], np.array([0, 5, 3]))
    assert some.symmetric
    kept = np.isin(np.repeat(np.arange(9), 4), [0, 3, 5])
    same(np.sort(some.dense().ravel()), np.sort(matrix[kept][:, kept].ravel()))
    u = np.random.default_rng(1).normal(size=len(matrix))
    same(tiled @ u, matrix @ u)
    same(tiled.diagonal(), np.diag(matrix))
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


def test_values_take_no_memory_for_features():
    x = np.random.default_rng(0).standard_normal((20, 300))
    kernel = jacobian_kernel(net(Erf()), x).part("value", "value").to_jax()
    every = jnp.arange(20)
    program = jax.jit(pair_blocks).lower(kernel, every[:, None], every).compile()
    memory = program.memory_analysis()
    assert memory and memory.temp_size_in_bytes < 20 * 20 * 8 * 10


def test_blocks_of_pairs(kernel):
    i, j = np.array([0, 8, 2]), np.array([1, 3, 1])
    whole = kernel.dense().reshape(9, 4, 4, 4)
    same(kernel.blocks(i, j), whole[i, :, j])
    part = kernel.part("gradient", "value")
    same(part.blocks(i, j), whole[i, 1:, j, :1])


def test_solvers_of_scipy_take_it():
    kernel = jacobian_kernel(net(Erf()), np.random.default_rng(0).normal(size=(3, 3)))
    target = np.arange(12.0)
    expected = np.linalg.solve(kernel.dense() + 0.1 * np.eye(12), target)
    for operator in (kernel.as_scipy(), aslinearoperator(kernel)):
        shifted = operator + 0.1 * aslinearoperator(np.eye(12))
        found, failed = cg(shifted, target, rtol=1e-12)
        assert not failed
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_arrays_of_jax_give_the_same_under_jit(kernel):
    there = kernel.to_jax()
    u = np.random.default_rng(1).normal(size=kernel.shape[1])
    found = jax.jit(lambda k, u: (k @ u, k.T.blocks(jnp.array([1]), jnp.array([2]))))(
        there, jnp.asarray(u)
    )
    assert isinstance(found[0], jax.Array)
    same(found[0], kernel @ u)
    same(found[1], kernel.T.blocks([1], [2]))
    same(there.dense(), kernel.dense())


def test_float32():
    x = np.random.default_rng(0).normal(size=(3, 3))
    found = jacobian_kernel(net(Erf()), x, dtype="float32")
    assert found.dtype == np.float32 and found.dense().dtype == np.float32
    expected = jacobian_kernel(net(Erf()), x).dense()
    np.testing.assert_allclose(found.dense(), expected, atol=2e-5)


X = np.ones((3, 4))


@pytest.mark.parametrize(
    ("function", "network", "inputs", "options", "message"),
    [
        (
            jacobian_kernel,
            net(ReLU()),
            (X,),
            {},
            r"smooth activations for derivatives of the NTK",
        ),
        (jacobian_kernel, net(LeakyReLU()), (X,), {}, r"1 / \|x - x'\|.*NNGP"),
        (jacobian_scalars, net(ReLU()), (X,), {"kind": "nngp"}, "infinite one by one"),
        (jacobian_kernel, net(Erf()), (X,), {"kind": "ntks"}, "one of 'nngp', 'ntk'"),
        (jacobian_kernel, net(Erf()), (X,), {"dtype": "int"}, "one of 'float64'"),
        (
            jacobian_kernel,
            net(Erf()),
            (X,),
            {"regularization": 1.5},
            r"Got `reg.*=1.5`",
        ),
        (jacobian_kernel, net(Erf()), (X,), {"regularization": np.nan}, "0 and 1"),
        (jacobian_kernel, net(Erf()), (X, X[:, :2]), {}, r"x2.shape=\(3, 2\)"),
        (jacobian_kernel, net(Erf()), (X * np.inf,), {}, "finite numbers in `x1`"),
        (jacobian_kernel, net(Erf()), (X[0],), {}, "one input per row"),
        (jacobian_kernel, net(Erf()), (X[None],), {}, "vectors"),
        (jacobian_kernel, net(Erf()), (X,), {"memory": 1e-9}, "Give more `memory`"),
        (jacobian_kernel, net(Erf()), (X,), {"memory": 1e9}, "Use fewer rows"),
        (jacobian_kernel, Activation(Erf()), (X,), {}, "Gaussian features"),
        (jacobian_kernel, "mlp", (X,), {}, "networks.mlp"),
        (jacobian_kernel, net(Bent()), (X,), {"kind": "nngp"}, "one kink at zero"),
        (
            jacobian_kernel,
            Sequential((Flatten(), *net(Erf()).layers)),
            (X[None],),
            {},
            "dense_jacobian_kernel",
        ),
        (dense_jacobian_kernel, Conv(3, (3,)), (X[None],), {}, "no positions"),
    ],
)
def test_what_does_not_fit(function, network, inputs, options, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        function(network, *inputs, **options)


def test_operators_say_what_they_take(kernel):
    with pytest.raises(ValueError, match=r"`matvec` needs .* 16 .*\(15,\)"):
        kernel.matvec(np.ones(15))
    with unchecked(), pytest.raises(ValueError, match="`rows` to be one of"):
        kernel.part("values")
    with pytest.raises(ValueError, match="between 0 and 1"):
        kernel.scaled(-0.1)
    huge = np.broadcast_to(np.float64(0), (10**6, 10**6))
    scalars = type(kernel.scalars)(*[huge] * 8)
    rows = np.broadcast_to(np.float64(0), (10**6, 3))
    with pytest.raises(ValueError, match="Use the operator's products"):
        JacobianKernel(scalars=scalars, x1=rows, x2=rows).dense()


@pytest.fixture(scope="module")
def small():
    rows = np.array([[1.0, 0.2], [0.3, 1.0], [-0.4, 0.5]])
    return jacobian_kernel(net(Erf()), rows, rows[:2])


@pytest.mark.parametrize("there", [False, True])
def test_operands_may_be_lists_and_whole_numbers(small, there):
    kernel, matrix = small.to_jax() if there else small, small.dense()
    whole = np.arange(12).reshape(6, 2)
    with unchecked():
        same(kernel @ whole.tolist(), matrix @ whole)
        same(kernel.matmat(whole), matrix @ whole)
        same(kernel @ jnp.asarray(whole[:, 0]), matrix @ whole[:, 0])
        same(kernel.rmatvec([1] * 9), matrix.T @ np.ones(9))
        same(kernel @ (whole > 4), matrix @ (whole > 4).astype(float))
        same(kernel.rmatmat(np.ones((9, 0))), np.ones((6, 0)))
        assert np.isnan(kernel @ [np.nan, 0, 0, 0, 0, 0]).all()


BAD_OPERANDS = [
    ([[1.0], [1.0, 2.0]], "rows that differ in length"),
    ("abc", "real numbers"),
    (None, "real numbers"),
    (np.array([1.0, None] * 3), "u.dtype=object"),
    (np.ones(6) * 1j, "u.dtype=complex128.*both parts"),
    (jnp.ones(6, complex), "u.dtype=complex128"),
    (1.0, r"6 rows. Got `u.shape=\(\)`"),
    (np.ones((6, 2, 2)), r"u.shape=\(6, 2, 2\)"),
    (np.ones((5, 2)), r"u.shape=\(5, 2\)"),
]


@pytest.mark.parametrize(("operand", "message"), BAD_OPERANDS)
@pytest.mark.parametrize("name", ["@", "matvec", "rmatvec", "matmat", "rmatmat"])
def test_operands_that_do_not_fit_are_refused(small, name, operand, message):
    small = small.T if name[0] == "r" else small
    function = small.__matmul__ if name == "@" else getattr(small, name)
    with unchecked(), pytest.raises(ValueError, match=f"`{name}` needs.*{message}"):
        function(operand)


@pytest.mark.parametrize("name", ["@", "matmat"])
def test_matrices_are_no_vectors(small, name):
    function = small.__matmul__ if name == "@" else small.matmat
    wrong = {"@": np.ones((2, 3)), "matmat": np.ones(6)}[name]
    with unchecked(), pytest.raises(ValueError, match=r"matrix of 6 rows. Got"):
        function(wrong)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([3], [0], "`rows` among 3 inputs.* Got 3"),
        ([0, -4], [0, 0], "`rows` among 3 inputs.* Got -4"),
        ([0], jnp.array([2]), "`columns` among 2 inputs.* Got 2"),
        ([0, 1], [0], "as many `rows` as `columns`.* Got 2 and 1"),
        (0, 0, "vector of whole numbers as `rows`"),
        ([0.0], [0], "vector of whole numbers as `rows`"),
        ([True], [0], "vector of whole numbers as `rows`"),
        ([0], None, "vector of whole numbers as `columns`"),
    ],
)
def test_blocks_that_are_not_there_are_refused(small, rows, columns, message):
    with pytest.raises(ValueError, match=message):
        small.blocks(rows, columns)


def test_blocks_count_from_the_end_and_may_be_none(small):
    same(small.blocks([-1], jnp.array([-2])), small.blocks([2], [0]))
    same(small.blocks([], []), np.ones((0, 3, 3)))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (slice("a"), "slice indices"),
        ([[0], [1, 2]], "differ in length"),
        ([], "one input or more"),
        ([3], "numbers of 3 inputs"),
        ([0.0], "numbers of 3 inputs"),
    ],
)
def test_inputs_that_are_not_there_are_refused(small, index, message):
    with pytest.raises(ValueError, match=f"`select` needs.*{message}"):
        small.select(index)


def images(depth=1, phi=None):
    hidden = (Conv(4, (2,), 1.1, 0.2, parameterization=NTK), Activation(phi or GELU()))
    return Sequential((*hidden * depth, Flatten(), Dense(1, parameterization=NTK)))


@pytest.mark.slow
def test_flattened_images_have_the_kernel_of_vectors():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(3, 2, 2)), rng.normal(size=(2, 2, 2))
    x[2] = x[0]
    flat = net(GELU())
    network = Sequential((Flatten(), *flat.layers))
    found = dense_jacobian_kernel(network, x, z, regularization=0.3)
    rows = x.reshape(3, 4), z.reshape(2, 4)
    same(found, jacobian_kernel(flat, *rows, regularization=0.3).dense())
    same(found, dense_jacobian_kernel(flat, *rows, regularization=0.3))


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "depth"), [(Abs(), 1), (ReLU(), 3)], ids=str)
def test_kinks_of_images_keep_their_digits(phi, depth):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3))
    x[1:3] = x[0], x[0] + 1e-8 * x[3]
    flat, dense = net(phi, depth), Dense(1, 1.2, 0.3, parameterization=NTK)
    pixel = (Conv(5, (1,), 1.2, 0.3, parameterization=NTK), Activation(phi))
    network = Sequential((*pixel * depth, Flatten(), dense))
    found = dense_jacobian_kernel(network, x[:, None], kind="nngp")
    same(found, jacobian_kernel(flat, x, kind="nngp").dense())


def test_kernels_of_convolutions_are_differentiated():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 1))
    network, h = images(), 1e-4
    found = dense_jacobian_kernel(network, x, memory=1e-4)
    np.testing.assert_array_equal(found, found.T)
    same(found, dense_jacobian_kernel(network, x, x))
    moves = [np.zeros((4, 1)), *(h * np.eye(4)[:, :, None])]

    def ends(sign):
        return np.concatenate([sign * m + x for m in moves])

    a, b = ends(1), ends(-1)
    k = {
        (s, t): limit_kernels(network, u, v).ntk.reshape(5, 3, 5, 3)
        for s, u in ((1, a), (-1, b))
        for t, v in ((1, a), (-1, b))
    }
    mixed = k[1, 1] - k[1, -1] - k[-1, 1] + k[-1, -1]
    expected = mixed.transpose(1, 0, 3, 2) / (4 * h * h)
    found = found.reshape(3, 5, 3, 5)
    np.testing.assert_allclose(found[:, 1:, :, 1:], expected[:, 1:, :, 1:], atol=1e-6)
    side = (k[1, 1] - k[-1, 1])[:, :, 0].transpose(1, 0, 2) / (2 * h)
    np.testing.assert_allclose(found[:, 1:, :, 0], side[:, 1:], atol=1e-6)
