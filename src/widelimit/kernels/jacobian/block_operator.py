"""A Jacobian kernel between two sets of inputs, as an operator that is never formed."""

import dataclasses
import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator

from widelimit._checks import check_memory, check_one_of
from widelimit.kernels.jacobian.checks import check_regularization
from widelimit.kernels.jacobian.dense import full_matrix, pair_blocks
from widelimit.kernels.jacobian.products import product
from widelimit.kernels.jacobian.scalars import AbstractScalars

Part = Literal["both", "value", "gradient"]
PARTS = ("both", "value", "gradient")
Numbers = Array | np.ndarray


class JacobianKernel(eqx.Module):
    r"""The matrix of a Jacobian kernel, made of eight numbers per pair of inputs.

    Rows are numbered as in kim2023: for every input of `x1` the value first, then its
    $d$ partial derivatives; columns likewise for `x2`. Gradients may be scaled,
    $\Lambda \Theta(x, x') \Lambda$ with
    $\Lambda = \mathrm{diag}(1, \sqrt\lambda, \dots, \sqrt\lambda)$ [1, below Thm. 9].

    It has the `shape`, `dtype`, `matvec` and `rmatvec` that SciPy's solvers take, and
    `@`. Arrays are NumPy's, and then a product runs on the host; after `to_jax` they
    are JAX's, and it can be traced.

    Attributes:
        scalars: The numbers.
        x1: Inputs of the rows.
        x2: Inputs of the columns.
        row_regularization: $\lambda$ of the rows.
        column_regularization: $\lambda$ of the columns.
        row_part: `"both"`, or only `"value"` or `"gradient"` of every row input.
        column_part: The same of the columns.
        same: Whether both inputs are the same.

    References:
        [1] Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """

    scalars: AbstractScalars
    x1: Float[Numbers, "n d"]
    x2: Float[Numbers, "m d"]
    row_regularization: float = eqx.field(static=True, default=1.0)
    column_regularization: float = eqx.field(static=True, default=1.0)
    row_part: Part = eqx.field(static=True, default="both")
    column_part: Part = eqx.field(static=True, default="both")
    same: bool = eqx.field(static=True, default=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        (n, d), m = self.x1.shape, len(self.x2)
        return n * _size(self.row_part, d), m * _size(self.column_part, d)

    @property
    def dtype(self) -> np.dtype:
        """Float type of its entries."""
        return np.dtype(self.x1.dtype)

    @property
    def symmetric(self) -> bool:
        """Whether it equals its transpose."""
        rows = self.row_part, self.row_regularization
        return self.same and rows == (self.column_part, self.column_regularization)

    @property
    def T(self) -> "JacobianKernel":
        """The transpose."""
        return JacobianKernel(
            scalars=self.scalars.transposed(),
            x1=self.x2,
            x2=self.x1,
            row_regularization=self.column_regularization,
            column_regularization=self.row_regularization,
            row_part=self.column_part,
            column_part=self.row_part,
            same=self.same,
        )

    def replace(self, **changes: Any) -> "JacobianKernel":
        """A copy with some fields changed."""
        names = [field.name for field in dataclasses.fields(self)]
        return JacobianKernel(**{n: getattr(self, n) for n in names} | changes)

    def scaled(
        self, regularization: float, *, rows: bool = True, columns: bool = True
    ) -> "JacobianKernel":
        r"""The kernel $\Theta_\lambda = \Lambda \Theta \Lambda$.

        Args:
            regularization: $\lambda$ between 0 and 1, in place of the one before.
            rows: Whether to scale the rows of gradients.
            columns: Whether to scale their columns. The predictor of Eq. (4) scales
                those only when its gradient is wanted.

        Returns:
            The scaled kernel; nothing is computed.

        Raises:
            ValueError: If $\lambda$ is out of range.
        """
        check_regularization("scaled", regularization)
        one = float(regularization)
        return self.replace(
            row_regularization=one if rows else self.row_regularization,
            column_regularization=one if columns else self.column_regularization,
        )

    def part(self, rows: Part = "both", columns: Part = "both") -> "JacobianKernel":
        """A sub-block: values or gradients only.

        Args:
            rows: `"both"`, `"value"` or `"gradient"`.
            columns: The same.

        Returns:
            The smaller operator; nothing is computed.

        Raises:
            ValueError: If there is no such part.
        """
        check_one_of("part", "rows", rows, PARTS)
        check_one_of("part", "columns", columns, PARTS)
        return self.replace(row_part=rows, column_part=columns)

    def select(self, rows: Any = None, columns: Any = None) -> "JacobianKernel":
        """The kernel between some of the inputs.

        Args:
            rows: Which inputs of `x1`: a slice, or an array of numbers or of booleans;
                all if `None`.
            columns: Which of `x2`.

        Returns:
            The smaller operator.
        """
        i, j = (slice(None) if index is None else index for index in (rows, columns))
        return self.replace(
            scalars=self.scalars.map(lambda z: z[i][:, j]),
            x1=self.x1[i],
            x2=self.x2[j],
            same=self.same
            and np.array_equal(_numbers(i, self.x1), _numbers(j, self.x2)),
        )

    def matvec(self, u: Float[Numbers, "*s"]) -> Float[Numbers, " r"]:
        """The product with a vector: three products of `n x m` and `m x d` matrices.

        Args:
            u: One number for every column.

        Returns:
            One number for every row.

        Raises:
            ValueError: If the sizes differ.
        """
        if u.size != self.shape[1]:
            raise ValueError(
                f"`matvec` needs a vector with {self.shape[1]} entries, one for every "
                f"column. Got `u.shape={u.shape}`."
            )
        return product(self, u)

    def rmatvec(self, u: Float[Numbers, "*s"]) -> Float[Numbers, " c"]:
        """The product of the transpose with a vector."""
        return self.T.matvec(u)

    def matmat(self, u: Float[Numbers, "c k"]) -> Float[Numbers, "r k"]:
        """The product with a matrix, column by column.

        Args:
            u: One row for every column of the kernel.

        Returns:
            One row for every row.
        """
        stack = jnp.stack if isinstance(self.x1, jax.Array) else np.stack
        return stack([self.matvec(column) for column in u.T], axis=1)

    def rmatmat(self, u: Float[Numbers, "r k"]) -> Float[Numbers, "c k"]:
        """The product of the transpose with a matrix."""
        return self.T.matmat(u)

    def __matmul__(self, u: Numbers) -> Numbers:
        return self.matvec(u) if u.ndim == 1 else self.matmat(u)

    def diagonal(self) -> Float[Numbers, " r"]:
        """The entries of equal rows and columns, input by input."""
        i = np.arange(len(self.x1))
        blocks = self.blocks(i, i)
        return blocks.diagonal(axis1=1, axis2=2).ravel()

    def blocks(self, rows: Any, columns: Any) -> Float[Numbers, "k r c"]:
        """Some blocks of one pair of inputs each.

        Args:
            rows: Numbers of rows of `x1`, one for every pair.
            columns: Numbers of rows of `x2`, as many.

        Returns:
            The blocks.
        """
        return pair_blocks(self, rows, columns)

    def dense(self) -> Float[np.ndarray, "r c"]:
        """The matrix itself, on the host.

        Returns:
            The matrix; symmetric to the last bit if the operator is symmetric.

        Raises:
            ValueError: If it does not fit into the memory of this machine.
        """
        size = math.prod(self.shape) * self.dtype.itemsize
        check_memory(
            "dense",
            size,
            f"a matrix of {self.shape[0]} x {self.shape[1]}",
            "Use the operator's products instead, which need no such matrix.",
        )
        return full_matrix(self)

    def to_jax(self, device: Any = None) -> "JacobianKernel":
        """A copy with arrays of JAX, on a device, for use under `jit`.

        Args:
            device: The device; JAX's own choice if `None`.

        Returns:
            The copy. In float64 its products need `jax.enable_x64(True)`.
        """
        with jax.enable_x64(self.dtype == np.float64):
            return jax.tree.map(lambda z: jax.device_put(z, device), self)

    def as_scipy(self) -> LinearOperator:
        """The kernel as SciPy's `LinearOperator`."""
        return LinearOperator(  # pyright: ignore[reportCallIssue]
            shape=self.shape,
            matvec=self.matvec,
            rmatvec=self.rmatvec,
            matmat=self.matmat,
            rmatmat=self.rmatmat,
            dtype=self.dtype,
        )


def _size(part: Part, d: int) -> int:
    return {"both": d + 1, "value": 1, "gradient": d}[part]


def _numbers(index: Any, x) -> np.ndarray:
    return np.arange(len(x))[index]
