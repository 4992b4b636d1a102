"""A kernel system by Cholesky's factorisation, on the host."""

import dataclasses

import numpy as np
import scipy.linalg
from jaxtyping import Float

from widelimit.prediction.solution import Status
from widelimit.prediction.system import System

REFINEMENTS = 3


@dataclasses.dataclass
class Factored:
    """Where Cholesky's factorisation led.

    Args:
        x: The solution; NaN if there is none.
        status: How it ended.
        steps: Steps of iterative refinement.
        condition: LAPACK's estimate of the condition number in the 1-norm.
    """

    x: Float[np.ndarray, "r k"]
    status: Status
    steps: int
    condition: float


def cholesky(system: System, b: Float[np.ndarray, "r k"]) -> Factored:
    """Solves with the factor of the dense matrix, and refines the solution.

    Args:
        system: The matrix.
        b: Right-hand sides.

    Returns:
        The solution. Nothing is raised: look at the status.
    """
    matrix = system.dense()
    norm = _one_norm(matrix)
    try:
        # The transpose is in the order of LAPACK, and as good as the matrix.
        factor = scipy.linalg.cho_factor(
            matrix.T, lower=True, overwrite_a=True, check_finite=False
        )
    except np.linalg.LinAlgError:
        nothing = np.full_like(b, np.nan)
        return Factored(nothing, Status.NOT_POSITIVE_DEFINITE, 0, np.inf)
    (condition_of,) = scipy.linalg.get_lapack_funcs(("pocon",), (factor[0],))
    reciprocal, _ = condition_of(factor[0], norm, uplo="L")

    def solve(r):
        return scipy.linalg.cho_solve(factor, r, check_finite=False)

    x = solve(b)
    r = b - system.product(x)
    steps = 0
    for _ in range(REFINEMENTS):
        new = x + solve(r)
        left = b - system.product(new)
        better = np.linalg.norm(left, axis=0) < 0.5 * np.linalg.norm(r, axis=0)
        if not better.any():
            break
        x, r = np.where(better, new, x), np.where(better, left, r)
        steps += 1
    condition = 1 / reciprocal if reciprocal else np.inf
    return Factored(x, Status.CONVERGED, steps, condition)


def _one_norm(a: Float[np.ndarray, "n n"]) -> float:
    rows = max(1, 2**22 // len(a))
    starts = range(0, len(a), rows)
    return max(float(np.abs(a[i : i + rows]).sum(axis=1).max()) for i in starts)
