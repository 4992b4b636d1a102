"""Solvers of kernel systems against dense linear algebra."""

import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import GELU, Erf, Polynomial, ReLU
from widelimit.kernels.jacobian import jacobian_kernel
from widelimit.layers import Parameterization
from widelimit.networks import kim2023_network, mlp
from widelimit.prediction import NotSolvedError, Status, solve_kernel
from widelimit.prediction.preconditioner import Structured, _first_level


def net(phi, depth=2):
    return mlp(
        depth=depth,
        width=1,
        activation=phi,
        weight_std=1.3,
        bias_std=0.3,
        parameterization=Parameterization.NTK,
    )


N, D = 9, 6


@pytest.fixture(scope="module")
def x():
    rows = np.random.default_rng(0).normal(size=(N, D)) + 0.7
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module", params=["smooth", "kinks"])
def kernel(request, x):
    """Jacobian kernels of both kinds of scalars, regularisation away from 0 and 1."""
    if request.param == "smooth":
        return jacobian_kernel(net(Erf()), x, regularization=0.2)
    return jacobian_kernel(net(ReLU()), x, kind="nngp", regularization=0.2)


def targets(columns=None, seed=1):
    shape = (N * (D + 1),) if columns is None else (N * (D + 1), columns)
    return np.random.default_rng(seed).normal(size=shape)


class Products:
    """An operator that offers products only."""

    def __init__(self, matrix):
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

    def __matmul__(self, u):
        return self.matrix @ u


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_solutions_are_those_of_dense_linear_algebra(kernel, solver, columns):
    b = targets(columns)
    found = solve_kernel(kernel, b, solver=solver, tolerance=1e-14)
    expected = np.linalg.solve(kernel.dense(), b)
    assert found.converged and found.solver == solver and found.steps >= 0
    np.testing.assert_allclose(found.solution, expected, rtol=1e-7, atol=1e-9)
    dense = kernel.dense()
    left = np.linalg.norm(dense @ found.solution - b, axis=0)
    assert found.residual <= 1e-14
    size = np.linalg.norm(b, axis=0)
    np.testing.assert_allclose(found.relative_residual, (left / size).max(), atol=1e-11)
    norm = np.linalg.norm(dense, 2)
    assert 0.9 * norm <= found.norm <= norm * (1 + 1e-12)
    condition = np.linalg.cond(dense)
    if solver == "cg":
        assert condition / 20 < found.condition < condition * (1 + 1e-6)
    else:  # LAPACK estimates another norm
        assert condition / 50 < found.condition < 50 * condition


@pytest.mark.parametrize("kind", ["matrix", "products", "scipy"])
def test_any_symmetric_matrix_or_operator_is_solved(kernel, kind):
    matrix = kernel.dense()
    given = {"matrix": matrix, "products": Products(matrix), "scipy": kernel.as_scipy()}
    b = targets()
    for solver in ("auto", "cg"):
        found = solve_kernel(given[kind], b, solver=solver, tolerance=1e-13)
        np.testing.assert_allclose(matrix @ found.solution, b, atol=1e-8)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_ridge_is_for_values_and_jitter_for_all(kernel, solver):
    b, dense = targets(), kernel.dense()
    options = {"solver": solver, "tolerance": 1e-13}

    def same(found, added):
        expected = np.linalg.solve(dense + np.diag(added), b)
        np.testing.assert_allclose(found.solution, expected, rtol=1e-6, atol=1e-8)

    values = np.zeros((N, D + 1))
    values[:, 0] = 0.4
    found = solve_kernel(kernel, b, ridge=0.4, **options)
    same(found, values.ravel())
    assert found.ridge == 0.4 and found.jitter == 0
    found = solve_kernel(kernel, b, jitter=0.01, **options)
    absolute = 0.01 * np.trace(dense) / len(dense)
    same(found, np.full(len(dense), absolute))
    np.testing.assert_allclose(found.jitter, absolute)
    every = np.random.default_rng(3).uniform(0.1, 0.5, len(dense))
    same(solve_kernel(kernel, b, ridge=every, **options), every)
    same(solve_kernel(dense, b, ridge=0.4, **options), np.full(len(dense), 0.4))
    part = kernel.part("value", "value")
    found = solve_kernel(part, b[:N], ridge=0.4, **options).solution
    expected = np.linalg.solve(part.dense() + 0.4 * np.eye(N), b[:N])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("directions", [0, 2])
def test_the_coarse_level_is_a_part_of_the_matrix(kernel, directions):
    shift = np.random.default_rng(1).uniform(size=(N, D + 1))
    matrix = kernel.dense() + np.diag(shift.ravel())
    method = Structured(kernel, shift.ravel(), directions)
    w = method._prolonged(np.eye((2 + directions) * N))
    np.testing.assert_allclose(method._restricted(matrix), w.T @ matrix, atol=1e-12)
    np.testing.assert_allclose(method._coarse_matrix(), w.T @ matrix @ w, atol=1e-12)
    z = targets(2)
    with method._on_the_host():
        fine, images = _first_level(method._arrays(), z)
    np.testing.assert_allclose(images, w.T @ (matrix @ fine), rtol=1e-10, atol=1e-10)
    b = targets(2)
    np.testing.assert_allclose(w.T @ (b - matrix @ method.start(b)), 0, atol=1e-12)


def test_the_structure_saves_steps(x):
    rows = np.random.default_rng(0).normal(size=(30, 40)) / 6
    rows += np.random.default_rng(1).normal(size=40) / 6
    kernel = jacobian_kernel(net(GELU(), 1), rows, regularization=0.01)
    b = np.zeros((30, 41))
    b[:, 0] = np.sign(rows[:, 0])
    seen = []
    structured = solve_kernel(
        kernel, b.ravel(), solver="cg", progress=lambda *told: seen.append(told)
    )
    assert "directions" in structured.why and 0 < structured.steps < 200
    plain = solve_kernel(
        kernel.as_scipy(),
        b.ravel(),
        solver="cg",
        max_steps=3 * structured.steps,
        throw=False,
    )
    assert "nothing" in plain.why and plain.status is Status.MAX_STEPS
    assert [step for step, _ in seen] == list(range(1, structured.steps + 1))
    expected = np.linalg.solve(kernel.dense(), b.ravel())
    gap = np.linalg.norm(structured.solution - expected)
    assert gap < structured.condition * 1e-10 * np.linalg.norm(expected)


def test_the_budget_decides(kernel):
    b = targets()
    room = 8 * len(b) ** 2
    assert solve_kernel(kernel, b).solver == "cholesky"
    found = solve_kernel(kernel, b, memory=(room - 1) / 2**30)
    assert found.solver == "cg" and f"no room of {room} bytes" in found.why
    with pytest.raises(ValueError, match=rf"{room} bytes .*63 x 63.*solver='cg'"):
        solve_kernel(kernel, b, solver="cholesky", memory=(room - 1) / 2**30)
    with pytest.raises(ValueError, match="4032 bytes .* for vectors of 1 right-hand"):
        solve_kernel(kernel, b, memory=4000 / 2**30)
    found = solve_kernel(kernel, b, memory=5000 / 2**30)
    assert "the diagonal" in found.why


def test_nothing_is_silent(kernel):
    b = targets(2)
    for throw in (True, False):
        if throw:
            with pytest.raises(
                NotSolvedError, match="'max_steps' after 3 steps"
            ) as why:
                solve_kernel(kernel, b, solver="cg", max_steps=3)
            found = why.value.solution
        else:
            found = solve_kernel(kernel, b, solver="cg", max_steps=3, throw=False)
        assert found.status is Status.MAX_STEPS and not found.converged
        assert found.steps == 3 and np.isfinite(found.solution).all()
        left = kernel.dense() @ found.solution - b
        relative = np.linalg.norm(left, axis=0) / np.linalg.norm(b, axis=0)
        np.testing.assert_allclose(found.relative_residual, relative.max(), rtol=1e-6)


def test_rounding_in_the_way_is_said(kernel):
    with pytest.raises(NotSolvedError, match=r"'stagnated'.*larger `tolerance`"):
        solve_kernel(kernel, targets(), solver="cg", tolerance=1e-19)
    with pytest.raises(NotSolvedError, match="'stagnated'"):
        solve_kernel(kernel, targets(), solver="cholesky", tolerance=1e-19)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_indefinite_matrices_are_refused(solver):
    matrix = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(NotSolvedError, match="not_positive_definite.*jitter"):
        solve_kernel(matrix, np.array([1.0, -2.0]), solver=solver)
    found = solve_kernel(matrix, np.array([1.0, -2.0]), solver=solver, jitter=1.5)
    np.testing.assert_allclose(found.solution, [6.5 / 2.25, -7 / 2.25])


def test_targets_of_zero_have_the_solution_zero(kernel):
    b = targets(2)
    b[:, 0] = 0
    for solver in ("cholesky", "cg"):
        found = solve_kernel(kernel, b, solver=solver)
        np.testing.assert_array_equal(found.solution[:, 0], 0)
        assert solve_kernel(kernel, 0 * b, solver=solver).converged


def test_float32_kernels(x):
    kernel = jacobian_kernel(net(Erf()), x, regularization=0.2, dtype="float32")
    b = targets()
    for solver in ("cholesky", "cg"):
        found = solve_kernel(kernel, b, solver=solver)
        assert found.converged and found.solution.dtype == np.float64


def test_kernels_of_jax_are_solved(x):
    kernel = jacobian_kernel(net(Erf()), x, regularization=0.2)
    found = solve_kernel(kernel.to_jax(), targets(), solver="cg", tolerance=1e-13)
    expected = np.linalg.solve(kernel.dense(), targets())
    np.testing.assert_allclose(found.solution, expected, rtol=1e-6, atol=1e-8)


EYE = np.eye(3)
ONES = np.ones(3)


@pytest.mark.parametrize(
    ("kernel", "b", "options", "message"),
    [
        (EYE[:2], ONES, {}, r"square matrix. Got `kernel.shape=\(2, 3\)`"),
        (np.ones((3, 3)) + np.tri(3), ONES, {}, "symmetric matrix. Got entries at"),
        (EYE * np.nan, ONES, {}, "finite numbers in `kernel`"),
        ("gram", ONES, {}, "a matrix, or an operator.*Got `kernel=str`"),
        (EYE, np.ones(4), {}, r"3 rows.*Got `targets.shape=\(4,\)`"),
        (EYE, ONES * np.inf, {}, "finite numbers in `targets`"),
        (EYE, np.array(["a", "b", "a"]), {}, "real numbers as `targets`"),
        (EYE, ONES, {"ridge": -0.1}, r"ridge >= 0.*-0.1"),
        (EYE, ONES, {"ridge": ONES[:2]}, r"one for each of 3 rows.*\(2,\)"),
        (EYE, ONES, {"jitter": -0.1}, "jitter >= 0"),
        (EYE, ONES, {"jitter": np.nan}, "finite numbers in `jitter`"),
        (EYE, ONES, {"tolerance": 0.0}, "finite `tolerance > 0`"),
        (EYE, ONES, {"solver": "lu"}, "one of 'auto', 'cholesky', 'cg'"),
        (EYE, ONES, {"max_steps": 0}, "max_steps >= 1"),
        (EYE, ONES, {"memory": -1.0}, "finite `memory > 0`"),
        (np.diag([1.0, 0, 1]), ONES, {}, "positive diagonal. Got 0 in row 1"),
        (Products(EYE), ONES, {"jitter": 0.1}, "Give `ridge`"),
    ],
)
def test_what_does_not_fit(kernel, b, options, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        solve_kernel(kernel, b, **options)


def test_jacobian_kernels_that_do_not_fit(x):
    whole = jacobian_kernel(net(Erf()), x)
    kernel = whole.select(rows := np.array([0, 1, 2, 3, 4, 5, 6, 7, 3]), rows)
    b = np.ones(kernel.shape[0])
    with pytest.raises(ValueError, match="Got rows 3 and 8, which are equal"):
        solve_kernel(kernel, b)
    assert solve_kernel(kernel, b, jitter=1e-6).converged
    kernel = whole
    with pytest.raises(ValueError, match="one that is not symmetric"):
        solve_kernel(kernel.scaled(0.5, rows=False), b[: N * (D + 1)])
    with pytest.raises(ValueError, match=r"kernel.part\('value', 'value'\)"):
        solve_kernel(kernel.scaled(0.0), b[: N * (D + 1)])
    with pytest.raises(ValueError, match="rows of values for a number as `ridge`"):
        solve_kernel(kernel.part("gradient", "gradient"), b[: N * D], ridge=0.1)


SPHERE = np.random.default_rng(2).normal(size=(20, 4))
SPHERE /= np.linalg.norm(SPHERE, axis=1, keepdims=True)
ODD = kim2023_network(depth=2, width=1, activation=Erf())
SQUARE = kim2023_network(depth=1, width=1, activation=Polynomial((0, 0, 1)))


def conflict(near):
    """Targets that differ where an odd network's kernel has nearly equal rows."""
    x = SPHERE.copy()
    x[7] = -x[2] + near * x[3]
    b = np.zeros((20, 5))
    b[:, 0] = np.sign(x[:, 0])
    b[7, 0] = b[2, 0]
    return x, b.ravel()


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("near", [0.0, 1e-15])
def test_systems_without_a_solution_are_not_solved(solver, near):
    x, b = conflict(near)
    kernel = jacobian_kernel(ODD, x)
    for matrix, targets in (
        (kernel, b),
        (kernel.part("value", "value").dense(), b[::5]),
        (jacobian_kernel(SQUARE, SPHERE), b),
        (np.ones((3, 3)), np.array([1.0, 2.0, 3.0])),
    ):
        with pytest.raises(NotSolvedError, match="`ridge`") as caught:
            solve_kernel(matrix, targets, solver=solver)
        assert caught.value.solution.condition > 1e10


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e250])
def test_targets_of_any_size_are_solved(solver, unit):
    kernel = jacobian_kernel(ODD, SPHERE[:8])
    b = np.random.default_rng(0).normal(size=(40, 2)) * [1.0, 1e-3]
    plain = solve_kernel(kernel, b, solver=solver, jitter=1e-6)
    found = solve_kernel(kernel, b * unit, solver=solver, jitter=1e-6)
    np.testing.assert_allclose(found.solution / unit, plain.solution, rtol=1e-6)
    assert 0 < found.residual < 1e-10


def test_nested_lists_are_matrices():
    found = solve_kernel([[2.0, 1.0], [1.0, 2.0]], np.array([3.0, 3.0]))
    np.testing.assert_allclose(found.solution, [1.0, 1.0])


def test_tiny_regularizations_are_solved_or_named(x):
    kernel = jacobian_kernel(net(Erf(), 1), x[:3])
    target = np.zeros(3 * (D + 1))
    target[:: D + 1] = 1.0
    tiny = kernel.scaled(1e-300)
    assert tiny.diagonal().min() > 0
    found = solve_kernel(tiny, target).solution[:: D + 1]
    values = solve_kernel(kernel.scaled(1e-12), target).solution[:: D + 1]
    np.testing.assert_allclose(found, values, rtol=1e-7)
    with pytest.raises(ValueError, match="`regularization` of 4.94e-324 is too small"):
        solve_kernel(kernel.scaled(5e-324), target)
