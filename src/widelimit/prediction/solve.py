"""Systems of kernel matrices: which solver, what it takes, and how well it did."""

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import (
    as_array,
    check_count,
    check_finite,
    check_one_of,
    check_positive,
)
from widelimit.kernels.jacobian import JacobianKernel
from widelimit.kernels.spectrum_repeats import check_distinct
from widelimit.prediction.approximate_inverse import (
    AbstractApproximateInverse,
    Diagonal,
)
from widelimit.prediction.cholesky import cholesky
from widelimit.prediction.conjugate_gradients import (
    MISFIT,
    conjugate_gradients,
    estimated_norm,
)
from widelimit.prediction.preconditioner import Structured, coarse_rows
from widelimit.prediction.solution import NotSolvedError, Solution, Status
from widelimit.prediction.system import (
    SymmetricOperator,
    System,
    diagonal_of,
    ridge_of,
)

GIB = 2**30
SOLVERS = ("auto", "cholesky", "cg")
DIRECTIONS = 4  # common directions of the coarse level, at most
WORTH = 30  # steps of conjugate gradients that its factorisation may cost
Kernel = Float[np.ndarray, "r r"] | SymmetricOperator
CALLER = "solve_kernel"


def solve_kernel(
    kernel: Any,
    targets: ArrayLike,
    *,
    ridge: float | Float[np.ndarray, " r"] = 0.0,
    jitter: float = 0.0,
    solver: Literal["auto", "cholesky", "cg"] = "auto",
    tolerance: float | None = None,
    max_steps: int = 5000,
    memory: float = 2.0,
    throw: bool = True,
    progress: Callable[[int, float], None] | None = None,
) -> Solution:
    r"""Solves $(K + R + j I)\,x = b$ for a kernel matrix $K$.

    With Cholesky's factorisation where the dense matrix fits into the memory, else with
    preconditioned conjugate gradients on products with $K$. For a symmetric
    `JacobianKernel` these use its structure (`widelimit.prediction.preconditioner`);
    for other operators the diagonal, if there is one.

    The solution is accepted if $\|A x - b\| \le \tau (\|A\| \|x\| + \|b\|)$, formed
    with products of $A = K + R + j I$: then $x$ solves a system whose matrix and
    targets are off by $\tau$, relatively. Its own relative error may be larger by the
    condition number, which is reported. A singular system without a solution has huge
    $x$ that meet this; so $\|A x - b\| \le 0.01\,\|b\|$ is needed too (and conjugate
    gradients go on to $\sqrt\tau\,\|b\|$ where rounding allows it).

    Args:
        kernel: A symmetric positive semi-definite matrix, a `JacobianKernel`, or any
            operator with `shape`, `dtype` and `@`; `diagonal()` and `dense()` are used
            if it has them.
        targets: $b$, one number for every row of the kernel, or a matrix with one
            column for every right-hand side.
        ridge: $R$, a part of the statistical model: the variance of noise in the
            targets, in their units squared. A number is added to the rows of *values*
            only: all rows of a matrix, the first of every input of a `JacobianKernel`.
            An array has one number for every row.
        jitter: $j$ over the mean of the diagonal of $K$, added to every row: a change
            of the problem that makes it easier to solve, not a part of it.
        solver: `"auto"`, `"cholesky"` or `"cg"`.
        tolerance: $\tau$; 1e-10, or 1e-5 for kernels in float32.
        max_steps: Steps of conjugate gradients at most.
        memory: Budget in GiB beside the kernel and the targets.
        throw: Whether to raise if the tolerance is not met. If not, look at `status`.
        progress: Called with the step of conjugate gradients and the scaled residual
            ratio.

    Returns:
        The solution with its status, residual and condition estimate.

    Raises:
        ValueError: If something does not fit together, is not finite, or does not fit
            into the memory; or if the same input is there twice without `ridge` or
            `jitter`.
        NotSolvedError: With `throw`, if the tolerance is not met. It holds the
            `Solution` so far.

    Example:
        >>> import numpy as np
        >>> kernel = np.array([[2.0, 1.0], [1.0, 2.0]])
        >>> found = solve_kernel(kernel, np.array([3.0, 3.0]))
        >>> found.solution, found.solver, found.residual < 1e-15
        (array([1., 1.]), 'cholesky', True)
    """
    check_one_of(CALLER, "solver", solver, SOLVERS)
    check_positive(CALLER, "memory", memory)
    check_count(CALLER, "max_steps", max_steps, 1)
    kernel = _checked_kernel(kernel)
    if tolerance is None:
        tolerance = 1e-10 if kernel.dtype == np.float64 else 1e-5
    check_positive(CALLER, "tolerance", tolerance)
    check_finite(CALLER, "jitter", jitter)
    if jitter < 0:
        raise ValueError(f"`{CALLER}` needs `jitter >= 0`. Got `jitter={jitter}`.")
    b = _checked_targets(targets, kernel.shape[0])
    ridges = ridge_of(CALLER, kernel, ridge)
    diagonal = diagonal_of(kernel)
    absolute = jitter * _mean_diagonal(kernel, diagonal, jitter)
    shift = ridges + absolute
    if diagonal is not None:
        _check_diagonal(kernel, diagonal + shift)
        diagonal = diagonal + shift
    if isinstance(kernel, JacobianKernel) and kernel.same and not shift.all():
        cure = "or a `jitter` above zero, or a `ridge` for every row of the kernel"
        check_distinct(CALLER, np.asarray(kernel.x1), cure)
    system = System(kernel, shift)
    columns = b.reshape(len(b), -1)
    units = _units(columns)  # so that squares neither vanish nor overflow
    columns = columns / units
    chosen, why = _choose(system, solver, memory)
    norm = estimated_norm(system.product, _start_of(columns))
    if chosen == "cholesky":
        out = cholesky(system, columns)
        x, status, steps, condition = out.x, out.status, out.steps, out.condition
    else:
        method, how = _preconditioner(system, diagonal, columns.shape[1], memory)
        why = f"{why}; preconditioned with {how}"
        found = conjugate_gradients(
            system.product,
            columns,
            method,
            norm=norm,
            tolerance=tolerance,
            max_steps=max_steps,
            progress=progress,
        )
        x, norm, steps = found.x, found.norm, int(found.steps.max())
        condition = norm / found.least if np.isfinite(found.least) else 1.0
        status = max(found.status, key=list(Status).index)
    residual, relative = _residuals(system, x, columns, norm)
    if status is Status.CONVERGED and not (residual <= tolerance and relative < MISFIT):
        status = Status.STAGNATED
    condition = max(condition, _growth(x, columns, norm))
    x = x * units
    solution = Solution(
        solution=x.reshape(b.shape),
        status=status,
        residual=residual,
        relative_residual=relative,
        norm=norm,
        condition=condition,
        steps=steps,
        solver=chosen,
        why=why,
        ridge=float(ridges.max()),
        jitter=float(absolute),
    )
    if throw and not solution.converged:
        _raise_not_solved(solution, tolerance)
    return solution


def _checked_kernel(kernel: Any) -> np.ndarray | SymmetricOperator:
    kernel = np.asarray(kernel) if isinstance(kernel, list | tuple) else kernel
    if not isinstance(kernel, SymmetricOperator) or not hasattr(kernel, "shape"):
        raise ValueError(
            f"`{CALLER}` needs a matrix, or an operator with `shape`, `dtype` and `@`. "
            f"Got `kernel={type(kernel).__name__}`."
        )
    shape = tuple(kernel.shape)
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(
            f"`{CALLER}` needs a square matrix. Got `kernel.shape={shape}`."
        )
    if isinstance(kernel, JacobianKernel):
        if not kernel.symmetric:
            raise ValueError(
                f"`{CALLER}` needs a kernel between equal inputs, with equal parts and "
                "scales of rows and columns. Got one that is not symmetric. Call "
                "`jacobian_kernel(network, x)`, without `x2`."
            )
        return kernel
    if not isinstance(kernel, np.ndarray):
        if not hasattr(kernel, "__array__") or hasattr(kernel, "matvec"):
            return kernel
    matrix = as_array(CALLER, "kernel", kernel)
    if matrix.dtype.kind not in "fiub":
        raise ValueError(
            f"`{CALLER}` needs real numbers. Got `kernel.dtype={matrix.dtype}`."
        )
    matrix = matrix.astype(np.float64)
    check_finite(CALLER, "kernel", matrix)
    gap = np.abs(matrix - matrix.T)
    worst = np.unravel_index(int(gap.argmax()), gap.shape)
    if gap[worst] > 1e-6 * np.abs(matrix).max():
        raise ValueError(
            f"`{CALLER}` needs a symmetric matrix. Got entries at "
            f"{tuple(map(int, worst))} and mirror that differ by {gap[worst]:.3g}."
        )
    return (matrix + matrix.T) / 2


def _checked_targets(targets: ArrayLike, rows: int) -> np.ndarray:
    b = as_array(CALLER, "targets", targets)
    if b.dtype.kind not in "fiub":
        raise ValueError(
            f"`{CALLER}` needs real numbers as `targets`. Got `targets.dtype="
            f"{b.dtype}`. Encode classes as numbers first."
        )
    if b.ndim not in (1, 2) or len(b) != rows or not b.size:
        raise ValueError(
            f"`{CALLER}` needs `targets` with {rows} rows, one for every row of the "
            f"kernel. Got `targets.shape={b.shape}`."
        )
    check_finite(CALLER, "targets", b)
    return b.astype(np.float64)


def _mean_diagonal(kernel, diagonal, jitter: float) -> float:
    if not jitter:
        return 0.0
    if diagonal is None:
        raise ValueError(
            f"`{CALLER}` needs a kernel with `diagonal()` for `jitter`, which is "
            f"relative to its mean. Got `{type(kernel).__name__}`. Give `ridge`."
        )
    return float(diagonal.mean())


def _check_diagonal(kernel, diagonal: np.ndarray) -> None:
    bad = np.flatnonzero(~(diagonal > 0))
    if len(bad):
        kind = np.finfo(kernel.dtype)
        cure = "Remove the row, or give a `ridge` or `jitter`."
        if isinstance(kernel, JacobianKernel) and not kernel.row_regularization:
            cure = (
                "With `regularization=0` gradients play no part: use "
                "`kernel.part('value', 'value')`."
            )
        elif (
            isinstance(kernel, JacobianKernel)
            and kernel.row_regularization < kind.tiny / kind.eps
        ):
            cure = (
                f"A `regularization` of {kernel.row_regularization:.3g} is too small "
                f"for {kernel.dtype.name}: give a larger one."
            )
        raise ValueError(
            f"`{CALLER}` needs a positive diagonal. Got {diagonal[bad[0]]:.3g} in row "
            f"{bad[0]} ({len(bad)} such rows). {cure}"
        )


def _choose(system: System, solver: str, memory: float) -> tuple[str, str]:
    """The solver, and why."""
    n = system.rows
    needed = 8 * n**2
    room = f"{needed} bytes ({needed / GIB:.3g} GiB) for a matrix of {n} x {n}"
    fits = needed <= memory * GIB
    if solver == "cg":
        return solver, "as asked"
    if fits:
        return "cholesky", f"{'as asked' if solver != 'auto' else 'it fits'}: {room}"
    if solver == "cholesky":
        raise ValueError(
            f"`{CALLER}` needs {room} and its factor. Got `memory={memory}` GiB. Use "
            "`solver='cg'`, which needs only products with the kernel, or give more "
            "`memory`."
        )
    return "cg", f"the budget of {memory} GiB has no room of {room}"


def _preconditioner(
    system: System, diagonal: np.ndarray | None, sides: int, memory: float
) -> tuple[AbstractApproximateInverse, str]:
    kernel = system.kernel
    vectors = 8 * 8 * system.rows * sides
    left = memory * GIB - vectors
    if left < 0:
        raise ValueError(
            f"`{CALLER}` needs {vectors} bytes ({vectors / GIB:.3g} GiB) for vectors "
            f"of {sides} right-hand sides of {system.rows} rows. Got `memory={memory}` "
            "GiB. Give more `memory`, or solve for fewer targets at a time."
        )
    if isinstance(kernel, JacobianKernel) and (
        kernel.row_part,
        kernel.row_regularization > 0,
    ) == ("both", True):
        n, d = kernel.x1.shape
        left -= 8 * n**2 * 6  # two inverses and temporaries
        for directions in range(min(DIRECTIONS, d - 2), -1, -1):
            rows = coarse_rows(kernel, directions)
            large = 8 * (rows**2 + 2 * n**2) > left
            if not large and rows**3 / 3 <= WORTH * 10 * n**2 * d:
                found = Structured(kernel, system.shift, directions)
                return found, found.name
        if left >= 0:
            found = Structured(kernel, system.shift, None)
            return found, found.name
    method = Diagonal(diagonal)
    return method, method.name


def _units(columns: np.ndarray) -> np.ndarray:
    """A power of two near the largest size in every column."""
    sizes = np.abs(columns).max(axis=0)
    _, powers = np.frexp(np.where(sizes > 0, sizes, 1.0))
    return np.exp2(powers.astype(float) - 1)


def _growth(x: np.ndarray, b: np.ndarray, norm: float) -> float:
    """The condition number from below: how much larger solutions are than targets."""
    if not np.isfinite(x).all():
        return np.inf
    size, long = (np.linalg.norm(a, axis=0) for a in (b, x))
    return float((norm * long[size > 0] / size[size > 0]).max(initial=1.0))


def _start_of(b: np.ndarray) -> np.ndarray:
    """A vector with a share in the leading eigenvector."""
    start = np.abs(b).sum(axis=1)
    return start if start.any() else np.ones(len(b))


def _residuals(
    system: System, x: np.ndarray, b: np.ndarray, norm: float
) -> tuple[float, float]:
    """The scaled and the relative residual, the largest over columns."""
    if not np.isfinite(x).all():
        return np.inf, np.inf
    size = np.linalg.norm(b, axis=0)
    left = np.linalg.norm(b - system.product(x), axis=0)
    scale = norm * np.linalg.norm(x, axis=0) + size
    size, scale = (np.where(size > 0, a, 1.0) for a in (size, scale))
    return float((left / scale).max()), float((left / size).max())


def _raise_not_solved(solution: Solution, tolerance: float) -> NoReturn:
    cures = {
        Status.MAX_STEPS: "Allow more `max_steps`, or a larger `tolerance`.",
        Status.STAGNATED: "Rounding stands in the way: use a larger `tolerance`, a "
        "kernel in float64, or a `ridge` or `jitter`."
        if solution.relative_residual < MISFIT
        else "The system is singular up to rounding: remove equal, opposite or nearly "
        "parallel rows, or give a `ridge` or `jitter`.",
        Status.NOT_POSITIVE_DEFINITE: "The smallest eigenvalue is below rounding: look "
        "at `widelimit.kernels.spectrum`, remove nearly parallel rows, or give a "
        "`ridge`, or a `jitter` such as 1e-10.",
    }
    raise NotSolvedError(
        f"`{CALLER}` needs a scaled residual ratio of {tolerance:.3g}, and a residual "
        f"below {MISFIT} of the targets. Got {solution.residual:.3g}, "
        f"{solution.relative_residual:.3g} and the status '{solution.status}' after "
        f"{solution.steps} steps of {solution.solver}. {cures[solution.status]}",
        solution,
    )
