"""A kernel matrix with numbers added to its diagonal, as a system to solve."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from widelimit._checks import check_finite
from widelimit.kernels import EmpiricalJacobianOperator
from widelimit.kernels.jacobian import JacobianKernel


@runtime_checkable
class SymmetricOperator(Protocol):
    """A symmetric matrix that is known by its products, such as `JacobianKernel`.

    `diagonal()` and `dense()` are used if it has them.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def dtype(self) -> Any:
        """Float type of products."""
        ...

    def __matmul__(self, u: Any) -> Any:
        """The product with a vector, or with a matrix."""
        ...


class System:
    r"""$A = K + \mathrm{diag}(\text{shift})$.

    Attributes:
        kernel: $K$: a float64 matrix, or an operator.
        shift: What is added to the diagonal.
    """

    def __init__(
        self, kernel: np.ndarray | SymmetricOperator, shift: Float[np.ndarray, " r"]
    ):
        self.kernel, self.shift = kernel, shift

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.kernel.shape[0]

    @property
    def rounding(self) -> float:
        """Unit of rounding of products."""
        return float(np.finfo(self.kernel.dtype).eps)

    def product(self, u: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "r k"]:
        """The product with a matrix, in float64."""
        if isinstance(self.kernel, np.ndarray):
            return self.kernel @ u + self.shift[:, None] * u
        fit = u.astype(self.kernel.dtype)
        jax_arrays = isinstance(getattr(self.kernel, "x1", None), jax.Array)
        with jax.enable_x64(fit.dtype == np.float64):
            fit = jnp.asarray(fit) if jax_arrays else fit
            if u.shape[1] == 1:
                found = np.asarray(self.kernel @ fit[:, 0])[:, None]
            else:
                found = np.asarray(self.kernel @ fit)
        return found.astype(np.float64) + self.shift[:, None] * u

    def dense(self) -> Float[np.ndarray, "r r"]:
        """The matrix with the shift, as a new array."""
        if isinstance(self.kernel, np.ndarray):
            matrix = self.kernel.copy()
        elif hasattr(self.kernel, "dense"):
            matrix = np.array(self.kernel.dense(), np.float64)  # pyright: ignore
        else:
            unit = np.eye(self.rows, dtype=self.kernel.dtype)
            matrix = np.array(self.kernel @ unit, np.float64)
        matrix[np.diag_indices(self.rows)] += self.shift
        return matrix


def diagonal_of(
    kernel: np.ndarray | SymmetricOperator,
) -> Float[np.ndarray, " r"] | None:
    """The diagonal of a matrix or operator; `None` where it is not to be had."""
    if isinstance(kernel, np.ndarray) or hasattr(kernel, "diagonal"):
        return np.asarray(kernel.diagonal(), np.float64)  # pyright: ignore
    return None


def value_rows(kernel: np.ndarray | SymmetricOperator) -> Bool[np.ndarray, " r"]:
    """Which rows are those of values: all, if there are none of derivatives."""
    rows, values = np.ones(kernel.shape[0], bool), 1
    if isinstance(kernel, EmpiricalJacobianOperator) and kernel.output_axes:
        values = kernel.outputs
    if isinstance(kernel, JacobianKernel | EmpiricalJacobianOperator):
        rows.reshape(len(kernel.x1), -1)[:, values:] = False
    return rows


def ridge_of(
    caller: str, kernel: np.ndarray | SymmetricOperator, ridge: Any
) -> Float[np.ndarray, " r"]:
    """What `ridge` adds to every row of the diagonal.

    Args:
        caller: Name of the public function, for messages.
        kernel: The kernel.
        ridge: A number for the rows of values, or one number for every row.

    Returns:
        One number for every row.

    Raises:
        ValueError: If it is negative, not finite, or does not fit.
    """
    rows = kernel.shape[0]
    given = np.asarray(ridge, np.float64)
    check_finite(caller, "ridge", given)
    if (given < 0).any():
        raise ValueError(f"`{caller}` needs `ridge >= 0`. Got `ridge={given.min()}`.")
    if given.ndim:
        if given.shape != (rows,):
            raise ValueError(
                f"`{caller}` needs a number as `ridge`, or one for each of {rows} rows."
                f" Got `ridge.shape={given.shape}`."
            )
        return given
    added = np.zeros(rows)
    if isinstance(kernel, JacobianKernel) and kernel.row_part == "gradient":
        if given:
            raise ValueError(
                f"`{caller}` needs rows of values for a number as `ridge`. Got one "
                "of gradients. Give one number for every row."
            )
        return added
    added[value_rows(kernel)] = given
    return added
