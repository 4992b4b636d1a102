"""A Jacobian kernel between two sets of inputs, as an operator that is never formed."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator

from widelimit._checks import check_memory, check_one_of
from widelimit.kernels.jacobian.checks import check_regularization
from widelimit.kernels.jacobian.dense import diagonal, full_matrix, pair_blocks
from widelimit.kernels.jacobian.operands import (
    checked_index,
    checked_pairs,
    operand,
)
from widelimit.kernels.jacobian.pairs import JacobianPairs, Numbers, Part
from widelimit.kernels.jacobian.products import product, products

PARTS = ("both", "value", "gradient")


class JacobianKernel(JacobianPairs):
    r"""The matrix of a Jacobian kernel, made of eight numbers per pair of inputs.

    Rows are numbered as in kim2023: for every input of `x1` the value first, then its
    $d$ partial derivatives; columns likewise for `x2`. Gradients may be scaled,
    $\Lambda \Theta(x, x') \Lambda$ with
    $\Lambda = \mathrm{diag}(1, \sqrt\lambda, \dots, \sqrt\lambda)$ [1, below Thm. 9].

    It has the `shape`, `dtype`, `matvec` and `rmatvec` that SciPy's solvers take, and
    `@`. Arrays are NumPy's, and then a product runs on the host; after `to_jax` they
    are JAX's, and it can be traced. Operands may be lists too; as in NumPy's products,
    NaN and infinite numbers are not looked for but go on into the result.

    Attributes are those of `JacobianPairs`.

    References:
        [1] Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """

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
        """A sub-block of the whole kernel: values or gradients only.

        It starts from the whole kernel even if this is a sub-block already, so that
        `part()` is the way back.

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

        Raises:
            ValueError: If there are no such inputs, or none.
        """
        ends = ((rows, self.x1), (columns, self.x2))
        i, j = (checked_index(index, len(x)) for index, x in ends)
        return self.replace(
            scalars=jax.tree.map(lambda z: z[i][:, j], self.scalars),
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
            ValueError: If these are not so many real numbers.
        """
        u = operand("matvec", "vector", u, self.shape[1], self.dtype)
        return self._run(product, u)

    def rmatvec(self, u: Float[Numbers, "*s"]) -> Float[Numbers, " c"]:
        """The product of the transpose with a vector, likewise."""
        u = operand("rmatvec", "vector", u, self.shape[0], self.dtype)
        return self._run(self._other_way(product), u)

    def matmat(self, u: Float[Numbers, "c k"]) -> Float[Numbers, "r k"]:
        """The product with a matrix, in one compiled loop over its columns.

        Args:
            u: One row for every column of the kernel.

        Returns:
            One row for every row.

        Raises:
            ValueError: If it is not a matrix of real numbers with so many rows.
        """
        u = operand("matmat", "matrix", u, self.shape[1], self.dtype)
        return self._run(products, u)

    def rmatmat(self, u: Float[Numbers, "r k"]) -> Float[Numbers, "c k"]:
        """The product of the transpose with a matrix, likewise."""
        u = operand("rmatmat", "matrix", u, self.shape[0], self.dtype)
        return self._run(self._other_way(products), u)

    def __matmul__(self, u: Numbers) -> Numbers:
        u = operand("@", "vector or matrix", u, self.shape[1], self.dtype)
        return self._run(product if u.ndim == 1 else products, u)

    def diagonal(self) -> Float[Numbers, " r"]:
        """The entries on the diagonal, input by input, without any block.

        Returns:
            One number for every row.

        Raises:
            ValueError: If rows and columns differ in number or in part.
        """
        if len(self.x1) != len(self.x2) or self.row_part != self.column_part:
            raise ValueError(
                "`diagonal` needs as many rows as columns, of the same part. Got "
                f"`shape={self.shape}`. Call `blocks` for the pairs you want."
            )
        return self._run(diagonal)

    def blocks(self, rows: Any, columns: Any) -> Float[Numbers, "k r c"]:
        """Some blocks of one pair of inputs each.

        Args:
            rows: Numbers of rows of `x1`, one for every pair; negative ones count from
                the end. Traced numbers must be in range.
            columns: Numbers of rows of `x2`, as many.

        Returns:
            The blocks.

        Raises:
            ValueError: If there are no such pairs, or the blocks do not fit into the
                memory of this machine.
        """
        rows, columns = checked_pairs(rows, columns, (len(self.x1), len(self.x2)))
        (n, m), (r, c) = (len(self.x1), len(self.x2)), self.shape
        self._check_fits("blocks", (r // n, c // m), len(rows))
        return self._run(pair_blocks, rows, columns)

    def dense(self) -> Float[np.ndarray, "r c"]:
        """The matrix itself, on the host.

        Returns:
            The matrix; symmetric to the last bit if the operator is symmetric.

        Raises:
            ValueError: If it does not fit into the memory of this machine.
        """
        self._check_fits("dense", self.shape)
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
        make: Any = LinearOperator  # its stub knows only the form for subclasses
        names = ("matvec", "rmatvec", "matmat", "rmatmat")
        functions = {name: getattr(self, name) for name in names}
        return make(shape=self.shape, dtype=self.dtype, **functions)

    def _other_way(self, times: Callable[..., Array]) -> Callable[..., Array]:
        """A product with the transpose."""
        return times if self.symmetric else _of_transpose[times]

    def _run(self, function: Callable[..., Array], *arguments: Numbers) -> Numbers:
        """A function of the kernel: on the host, or wherever JAX's arrays are."""
        if any(isinstance(a, jax.Array) for a in (self.x1, *arguments)):
            return function(jax.tree.map(jnp.asarray, self), *arguments)
        (cpu, *_) = jax.local_devices(backend="cpu")
        with jax.enable_x64(self.dtype == np.float64), jax.default_device(cpu):
            return np.asarray(_compiled(function, self, *arguments))

    def _check_fits(self, caller: str, shape: tuple[int, int], number: int = 1) -> None:
        check_memory(
            caller,
            float(number * math.prod(shape) * self.dtype.itemsize),
            f"{number} x {shape[0]} x {shape[1]} numbers",
            "Use the operator's products instead, which need no such matrix.",
        )


def _transposed(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda kernel, u: function(kernel.T, u)


_of_transpose = {f: _transposed(f) for f in (product, products)}
_compiled = jax.jit(lambda function, *arguments: function(*arguments), static_argnums=0)


def _numbers(index: Any, x) -> np.ndarray:
    return np.arange(len(x))[index]
