"""Products with the finite Jacobian NTK, against the matrix itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import drawn

from oracles import unchecked
from widelimit.activations import Tanh
from widelimit.kernels import empirical_jacobian_ntk, empirical_jacobian_operator
from widelimit.layers import Activation, Dense, Sequential
from widelimit.prediction import solve_kernel

NETWORK = Sequential((Dense(6, 1.2, 0.3), Activation(Tanh()), Dense(2, 0.9)))
PARAMS, X = drawn(NETWORK, rows=7)
RNG = np.random.default_rng(5)
TWO = 5e-5  # GiB, enough for one or two inputs at a time


@pytest.mark.parametrize("output_axes", [False, True])
def test_products_are_those_of_the_matrix(output_axes):
    x1, x2 = X[:3], X[2:]
    dense = empirical_jacobian_ntk(NETWORK, PARAMS, x1, x2, output_axes=output_axes)
    if output_axes:
        dense = dense.transpose(0, 2, 1, 3).reshape(3 * 6 * 2, 5 * 6 * 2)
    options = {"output_axes": output_axes, "memory": TWO}
    kernel = empirical_jacobian_operator(NETWORK, PARAMS, x1, x2, **options)
    assert 1 <= kernel.at_once < 3 and kernel.shape == dense.shape
    u, v = (RNG.standard_normal((size, 2)) for size in dense.shape)
    np.testing.assert_allclose(kernel @ v, dense @ v, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(
        kernel @ v[:, 0], dense @ v[:, 0], rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(kernel.T @ u, dense.T @ u, rtol=1e-11, atol=1e-11)
    scipy = kernel.as_scipy()
    np.testing.assert_allclose(scipy.rmatvec(u[:, 0]), dense.T @ u[:, 0], atol=1e-11)
    np.testing.assert_allclose(kernel.dense(), dense, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("output_axes", [False, True])
def test_derivatives_may_be_scaled(output_axes):
    kernel = empirical_jacobian_operator(
        NETWORK, PARAMS, X[:2], output_axes=output_axes, regularization=0.25
    )
    root = np.repeat([1, 0.5, 0.5, 0.5, 0.5, 0.5], 2 if output_axes else 1)
    root = np.tile(root, 2)
    dense = kernel.scaled(1.0).dense()
    np.testing.assert_allclose(kernel.dense(), root[:, None] * dense * root)
    np.testing.assert_allclose(kernel.diagonal(), np.diag(dense) * root**2)
    u = RNG.standard_normal(len(root))
    rows = kernel.scaled(1.0, columns=False)
    assert kernel.symmetric and not rows.symmetric
    np.testing.assert_allclose(rows @ u, dense @ (root * u), rtol=1e-11)
    np.testing.assert_allclose(rows.T @ u, root * (dense @ u), rtol=1e-11)


def test_it_is_a_system_to_solve():
    kernel = empirical_jacobian_operator(NETWORK, PARAMS, X[:2], regularization=0.3)
    b = RNG.standard_normal(12)
    shift = np.tile([0.2, 0, 0, 0, 0, 0], 2) * np.trace(kernel.dense())
    expected = np.linalg.solve(kernel.dense() + np.diag(shift), b)
    found = solve_kernel(kernel, b, ridge=shift[0], solver="cg")
    np.testing.assert_allclose(found.solution, expected, rtol=1e-6)


def test_it_is_computed_in_the_type_of_the_parameters():
    params = jax.tree.map(jnp.float32, PARAMS)
    kernel = empirical_jacobian_operator(NETWORK, params, X[:2])
    product = kernel @ np.ones(12)
    assert (kernel.dtype, product.dtype) == (np.float32, np.float32)
    expected = empirical_jacobian_ntk(NETWORK, PARAMS, X[:2]).sum(1)
    np.testing.assert_allclose(product, expected, rtol=1e-4)


def test_wrong_sizes_are_refused():
    kernel = empirical_jacobian_operator(NETWORK, PARAMS, X[:2], X[2:5])
    with unchecked():
        with pytest.raises(ValueError, match=r"needs .* of 18 rows. Got .*\(12,\)"):
            kernel @ np.ones(12)
        with pytest.raises(ValueError, match="Got `x2`. Leave it out"):
            kernel.diagonal()
        with pytest.raises(ValueError, match="regularization=1.5"):
            kernel.scaled(1.5)


def test_operands_may_be_lists_and_no_columns():
    kernel = empirical_jacobian_operator(NETWORK, PARAMS, X[:2])
    with unchecked():
        np.testing.assert_array_equal(kernel @ ([1] * 12), kernel @ np.ones(12))
        assert kernel.matmat(np.ones((12, 0))).shape == (12, 0)
        assert np.isnan(kernel @ ([np.nan] + 11 * [0.0])).all()


@pytest.mark.parametrize("name", ["@", "matvec", "rmatvec", "matmat", "rmatmat"])
@pytest.mark.parametrize(
    ("operand", "message"),
    [
        (np.ones(12) * 1j, "u.dtype=complex128.*both parts"),
        (np.array([1.0, None] * 6), "u.dtype=object"),
        ([[1.0], [1.0, 2.0]], "rows that differ in length"),
        (1.0, r"12 rows. Got `u.shape=\(\)`"),
        (np.ones((12, 2, 2)), r"u.shape=\(12, 2, 2\)"),
    ],
)
def test_operands_that_do_not_fit_are_refused(name, operand, message):
    kernel = empirical_jacobian_operator(NETWORK, PARAMS, X[:2])
    function = kernel.__matmul__ if name == "@" else getattr(kernel, name)
    with unchecked(), pytest.raises(ValueError, match=f"`{name}` needs.*{message}"):
        function(operand)
