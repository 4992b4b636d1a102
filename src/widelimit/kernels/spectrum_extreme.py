r"""Eigenvalues of a kernel matrix with error bounds.

Three errors are told apart. Rounding of the entries changes the matrix by $\Delta A$
with $\|\Delta A\|_2 \le \eta \operatorname{tr} A$; a solver gives the eigenvalues of
a matrix that differs by $n \epsilon \|A\|_2$ at most; and Lanczos stops with a
residual $\|A v - \mu v\|$, within which of $\mu$ there is an eigenvalue. By Weyl's
inequality the three add up.
"""

from typing import Any, Literal

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Float

from widelimit._checks import check_count, check_finite, check_one_of, check_positive
from widelimit.kernels.spectrum_repeats import equal_rows
from widelimit.kernels.spectrum_result import Spectrum, verdict_of

GIB = 2**30
CALLER = "spectrum"
ENTRIES = 8  # units of rounding: 0.3 was the most that was seen, of a deep GELU network


def spectrum(
    kernel: Any,
    *,
    method: Literal["auto", "dense", "lanczos"] = "auto",
    singular: str | None = None,
    entry_error: float | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 3000,
    memory: float = 4.0,
) -> Spectrum:
    r"""Smallest and largest eigenvalue of a kernel matrix, with error bounds.

    From all eigenvalues of the dense matrix where it fits into the memory, else by
    Lanczos' method on products with the operator. The largest eigenvalue of a kernel
    takes a few products. The smallest ones lie close together, and thousands may not be
    enough: the error bound is then the eigenvalue itself, as a kernel has none below
    zero, and the verdict is that it cannot be resolved. Where it converges, the bound
    is that of *an* eigenvalue: that it is the smallest rests on the random start.

    Args:
        kernel: A symmetric matrix, or an operator with `shape`, `dtype` and `@`, such
            as a `JacobianKernel`.
        method: `"auto"`, `"dense"` or `"lanczos"`.
        singular: A proof that the matrix is singular, in words, such as
            `why_singular` finds; the verdict is then that of the proof.
        entry_error: $\eta$: what rounding of entries changes the matrix by, in the
            2-norm and relative to the trace; 8 units of rounding if not given.
        tolerance: Of Lanczos' method: residual over eigenvalue, at the lower end.
        max_steps: Restarts of Lanczos' method at most, at each end.
        memory: Budget in GiB for the dense matrix.

    Returns:
        The eigenvalues, their error bounds and the verdict.

    Raises:
        ValueError: If the matrix is not symmetric or not finite, or too large for the
            chosen method.

    Example:
        >>> import numpy as np
        >>> found = spectrum(np.diag([1.0, 2.0, 4.0]))
        >>> found.min, found.max, str(found.verdict)
        (1.0, 4.0, 'holds')
    """
    check_one_of(CALLER, "method", method, ("auto", "dense", "lanczos"))
    check_positive(CALLER, "memory", memory)
    check_positive(CALLER, "tolerance", tolerance)
    check_count(CALLER, "max_steps", max_steps, 1)
    size = _size(kernel)
    eps = float(np.finfo(_float(kernel.dtype)).eps)
    eta = ENTRIES * eps if entry_error is None else entry_error
    check_finite(CALLER, "entry_error", eta)
    if singular is None:
        singular = _plainly_singular(kernel)
    needed = 8 * size**2
    if method == "auto":
        method = "dense" if needed <= memory * GIB else "lanczos"
    if method == "dense":
        if needed > memory * GIB:
            raise ValueError(
                f"`{CALLER}` needs {needed} bytes ({needed / GIB:.3g} GiB) for a "
                f"matrix of {size} x {size}. Got `memory={memory}` GiB. Use "
                "`method='lanczos'`, which needs only products, or give more `memory`."
            )
        found, errors, trace = _dense(kernel)
        least, most = float(found[0]), float(found[-1])
    else:
        least, most, errors, trace = _lanczos(kernel, tolerance, max_steps)
        found = None
    entries = eta * max(trace, 0.0)
    least_error, most_error = (float(error + entries) for error in errors)
    verdict, why = verdict_of(least, least_error, singular)
    return Spectrum(
        min=least,
        max=most,
        min_error=least_error,
        max_error=most_error,
        verdict=verdict,
        why=why,
        size=size,
        method=method,
        eigenvalues=found,
    )


def _dense(kernel: Any) -> tuple[np.ndarray, tuple[float, float], float]:
    """All eigenvalues, the solver's error at both ends, and the trace."""
    matrix = _matrix(kernel)
    trace = float(np.trace(matrix))
    # The transpose is in the order of LAPACK, and as good as the matrix.
    found = scipy.linalg.eigh(
        matrix.T,
        eigvals_only=True,
        overwrite_a=True,
        check_finite=False,
        driver="evd",
    )
    error = len(matrix) * np.finfo(float).eps * float(np.abs(found[[0, -1]]).max())
    return found, (error, error), trace


def _matrix(kernel: Any) -> Float[np.ndarray, "n n"]:
    if hasattr(kernel, "dense"):
        matrix = np.array(kernel.dense(), np.float64)
    elif hasattr(kernel, "__array__"):
        matrix = np.array(kernel, np.float64)
    else:
        matrix = np.array(kernel @ np.eye(kernel.shape[0], dtype=kernel.dtype), float)
    check_finite(CALLER, "kernel", matrix)
    gap = float(np.abs(matrix - matrix.T).max())
    if gap > 1e-6 * np.abs(matrix).max():
        raise ValueError(
            f"`{CALLER}` needs a symmetric matrix. Got one whose entries differ from "
            f"their mirror by up to {gap:.3g}."
        )
    return matrix


def _lanczos(
    kernel: Any, tolerance: float, max_steps: int
) -> tuple[float, float, tuple[float, float], float]:
    """Both ends, their residuals with the rounding of products, and the trace."""
    if hasattr(kernel, "symmetric") and not kernel.symmetric:
        raise ValueError(
            f"`{CALLER}` needs a symmetric kernel. Got one that is not. Call "
            "`jacobian_kernel(network, x)`, without `x2`."
        )
    n = kernel.shape[0]
    if n < 3:
        raise ValueError(
            f"`{CALLER}` needs at least 3 rows for `method='lanczos'`. Got {n}. Use "
            "`method='dense'`."
        )

    def product(u):
        u = np.asarray(u).reshape(n).astype(kernel.dtype)
        return np.asarray(kernel @ u).astype(np.float64)

    make: Any = scipy.sparse.linalg.LinearOperator  # whose stub knows only subclasses
    operator = make(shape=(n, n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=n)
    most, v, _ = _end(operator, "LA", start, 1e-10, max_steps)
    most_residual = float(np.linalg.norm(product(v) - most * v))
    least, v, converged = _end(operator, "SA", start, tolerance, max_steps)
    least_residual = float(np.linalg.norm(product(v) - least * v))
    if not converged:  # only that it is no larger is known, and that it is not negative
        least_residual = max(least_residual, least)
    eps = float(np.finfo(_float(kernel.dtype)).eps)
    rounding = n**0.5 * eps * abs(most)
    trace = n * most
    if hasattr(kernel, "diagonal"):
        trace = float(np.asarray(kernel.diagonal(), np.float64).sum())
    return least, most, (least_residual + rounding, most_residual + rounding), trace


def _end(
    operator: Any, which: str, start: np.ndarray, tolerance: float, max_steps: int
) -> tuple[float, np.ndarray, bool]:
    """An eigenvalue at one end with its vector, or the best found, and which it is."""
    kept = min(operator.shape[0] - 1, 40)
    try:
        values, vectors = scipy.sparse.linalg.eigsh(
            operator,
            k=1,
            which=which,
            v0=start,
            ncv=kept,
            tol=tolerance,  # pyright: ignore[reportArgumentType]
            maxiter=max_steps,
        )
        vector, converged = vectors[:, 0], True
    except scipy.sparse.linalg.ArpackNoConvergence:
        # ARPACK gives nothing back; whatever stands here, its residual tells.
        vector, converged = _ritz(operator, which, start, kept), False
    vector = vector / np.linalg.norm(vector)
    return float(vector @ (operator @ vector)), vector, converged


def _ritz(operator: Any, which: str, start: np.ndarray, steps: int) -> np.ndarray:
    """The Ritz vector of the end after a fully orthogonalised run of Lanczos."""
    basis = np.empty((steps, len(start)))
    images = np.empty_like(basis)
    v = start
    for k in range(steps):
        for _ in range(2):
            v = v - basis[:k].T @ (basis[:k] @ v)
        basis[k] = v / np.linalg.norm(v)
        images[k] = v = operator @ basis[k]
    _, vectors = np.linalg.eigh((basis @ images.T + images @ basis.T) / 2)
    return vectors[:, 0 if which == "SA" else -1] @ basis


def _plainly_singular(kernel: Any) -> str | None:
    """A proof from inputs that are equal, or rows that vanish."""
    x = getattr(kernel, "x1", None)
    if x is not None and getattr(kernel, "same", False):
        found = equal_rows(np.asarray(x))
        if found is not None:
            return f"rows {found[0]} and {found[1]} of the inputs are equal"
    if hasattr(kernel, "diagonal"):
        zero = np.flatnonzero(np.asarray(kernel.diagonal()) == 0)
        if len(zero):
            return f"entry {zero[0]} of the diagonal is zero, so its row vanishes"
    return None


def _float(dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _size(kernel: Any) -> int:
    shape = tuple(getattr(kernel, "shape", ()))
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(
            f"`{CALLER}` needs a square matrix or operator. Got "
            f"`{type(kernel).__name__}` of `shape={shape}`."
        )
    if np.dtype(kernel.dtype).kind not in "fiub":
        raise ValueError(
            f"`{CALLER}` needs real numbers. Got `kernel.dtype={kernel.dtype}`."
        )
    return shape[0]
