"""Factorisations of symmetric matrices on the host, and what rounding leaves open."""

import numpy as np
import scipy.linalg
from jaxtyping import Float

from widelimit._checks import check_memory


def eigen(
    matrix: Float[np.ndarray, "r r"],
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r r"]]:
    """Eigenvalues of a symmetric matrix from the largest on, and vectors in columns.

    Args:
        matrix: The matrix; its memory may be used.

    Returns:
        Both.
    """
    values, vectors = scipy.linalg.eigh(matrix, overwrite_a=True, check_finite=False)
    return values[::-1].copy(), np.ascontiguousarray(vectors[:, ::-1])


def check_room(caller: str, rows: int) -> None:
    """Raise if a dense matrix, its copy and its vectors are beyond this machine.

    Args:
        caller: Name of the public function, for messages.
        rows: Rows of the matrix.
    """
    check_memory(
        caller,
        24.0 * rows**2,
        f"three matrices of {rows} x {rows} numbers",
        "Use fewer rows; or `solve_kernel(jacobian_kernel(...), ..., solver='cg')`, or "
        "`LimitRegressor`, which need no such matrix.",
    )


def rounding(values: Float[np.ndarray, " r"]) -> float:
    """Size below which computed eigenvalues cannot be told from zero."""
    return len(values) * float(np.finfo(np.float64).eps * np.abs(values).max())


def root(matrix: Float[np.ndarray, "r r"]) -> Float[np.ndarray, "r r"]:
    """A matrix $A$ with $A A^T$ the given one, whose negative eigenvalues are rounding.

    Args:
        matrix: A covariance.

    Returns:
        The root.
    """
    values, vectors = eigen(np.array(matrix))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def nearest_to_parallel(x: Float[np.ndarray, "n d"]) -> str:
    """Words on a row without direction, or the two that are closest up to sign."""
    zero = np.flatnonzero(~x.any(axis=1))
    if len(zero):
        return f"Row {zero[0]} is zero."
    if len(x) < 2:
        return "There is one row."
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0.0)
    i, j = sorted(map(int, np.unravel_index(np.abs(cosines).argmax(), cosines.shape)))
    what = "equal" if np.array_equal(x[i], x[j]) else "closest to parallel"
    return f"Rows {i} and {j} are {what} (cosine {cosines[i, j]:.12g})."
