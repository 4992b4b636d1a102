"""The Jacobian NTK of a finite network as an operator that is never formed."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.sparse.linalg import LinearOperator

from widelimit._checks import check_flag, check_positive
from widelimit.kernels.empirical_checks import (
    check_function,
    check_params,
    input_pair,
    params_dtype,
)
from widelimit.kernels.empirical_jacobian import (
    empirical_jacobian_ntk,
    empirical_jacobian_ntk_block,
)
from widelimit.kernels.empirical_jacobian_work import ValueAndPartials
from widelimit.kernels.empirical_request import Network
from widelimit.kernels.empirical_tiles import GIB
from widelimit.kernels.empirical_work import precisely
from widelimit.kernels.jacobian.checks import (
    check_regularization,
    check_second_derivatives,
)
from widelimit.kernels.jacobian.operands import operand
from widelimit.kernels.jacobian.pairs import Numbers
from widelimit.kernels.jacobian_products import cost_of
from widelimit.layers import AbstractLayer, Params

PASSES = 3  # times the bytes of a forward pass that a product needs for a row
WEIGHTS = 3  # copies of the parameters' size that are alive at once

Vector = Float[np.ndarray, " r"]


@dataclasses.dataclass(frozen=True, eq=False)
class EmpiricalJacobianOperator:
    r"""The matrix $\frac1o \sum_a J_{1a} J_{2a}^\top$, known by its products.

    $J_a$ has the gradients of output $a$ and of its input derivatives by all
    parameters, rows in the order of `empirical_jacobian_ntk`. A product is one reverse
    pass and one forward pass through $[f; \partial_x f]$ for each output, over a few
    inputs at a time; beside these it needs arrays of the size of the parameters, and
    no entry of the matrix. With `output_axes` outputs are not averaged, but numbered
    within each row, and one pass of either kind serves all.

    It has the `shape`, `dtype`, `matvec` and `rmatvec` that SciPy's solvers take, `@`,
    and what `solve_kernel` asks for. Operands may be lists or arrays of JAX that are
    not traced; as in NumPy's products, NaN and infinite numbers are not looked for but
    go on into the result.

    Attributes:
        network: The network.
        params: Its parameters.
        x1: Inputs of the rows.
        x2: Inputs of the columns.
        outputs: Number of outputs.
        at_once: Inputs that are worked on at a time.
        output_axes: Whether outputs are rows and columns of their own.
        same: Whether both inputs are the same.
        row_regularization: $\lambda$ of the rows: those of derivatives are multiplied
            by its root.
        column_regularization: $\lambda$ of the columns.
        memory: Budget in GiB.
    """

    network: Network
    params: Params
    x1: Float[np.ndarray, "n *s"]
    x2: Float[np.ndarray, "m *s"]
    outputs: int
    at_once: int
    output_axes: bool = False
    same: bool = False
    row_regularization: float = 1.0
    column_regularization: float = 1.0
    memory: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        each = self._entries * (self.outputs if self.output_axes else 1)
        return len(self.x1) * each, len(self.x2) * each

    @property
    def dtype(self) -> np.dtype:
        """Float type of its entries: that of the parameters."""
        return np.dtype(self.x1.dtype)

    @property
    def symmetric(self) -> bool:
        """Whether it equals its transpose."""
        return self.same and self.row_regularization == self.column_regularization

    @property
    def T(self) -> "EmpiricalJacobianOperator":
        """The transpose."""
        return dataclasses.replace(
            self,
            x1=self.x2,
            x2=self.x1,
            row_regularization=self.column_regularization,
            column_regularization=self.row_regularization,
        )

    def scaled(
        self, regularization: float, *, rows: bool = True, columns: bool = True
    ) -> "EmpiricalJacobianOperator":
        r"""The kernel $\Lambda \Theta \Lambda$, as `JacobianKernel.scaled`.

        Args:
            regularization: $\lambda$ between 0 and 1, in place of the one before.
            rows: Whether to scale the rows of derivatives.
            columns: Whether to scale their columns.

        Returns:
            The scaled kernel; nothing is computed.

        Raises:
            ValueError: If $\lambda$ is out of range.
        """
        check_regularization("scaled", regularization)
        one = float(regularization)
        changes = {"row_regularization": one} if rows else {}
        changes |= {"column_regularization": one} if columns else {}
        return dataclasses.replace(self, **changes)

    def matvec(self, u: Float[np.ndarray, "*s"]) -> Vector:
        """The product with a vector.

        Args:
            u: One number for every column.

        Returns:
            One number for every row.

        Raises:
            ValueError: If these are not so many real numbers.
        """
        return self._times(operand("matvec", "vector", u, self.shape[1], self.dtype))

    def rmatvec(self, u: Float[np.ndarray, "*s"]) -> Vector:
        """The product of the transpose with a vector."""
        return self.T._times(operand("rmatvec", "vector", u, self.shape[0], self.dtype))

    def matmat(self, u: Float[np.ndarray, "c k"]) -> Float[np.ndarray, "r k"]:
        """The product with a matrix, column by column.

        Args:
            u: One row for every column of the kernel.

        Returns:
            One row for every row.

        Raises:
            ValueError: If it is not a matrix of real numbers with so many rows.
        """
        return self._times(operand("matmat", "matrix", u, self.shape[1], self.dtype))

    def rmatmat(self, u: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "c k"]:
        """The product of the transpose with a matrix, likewise."""
        return self.T._times(operand("rmatmat", "matrix", u, self.shape[0], self.dtype))

    def __matmul__(self, u: np.ndarray) -> np.ndarray:
        return self._times(
            operand("@", "vector or matrix", u, self.shape[1], self.dtype)
        )

    def diagonal(self) -> Vector:
        """The entries on the diagonal, from the blocks of single inputs.

        Returns:
            One number for every row.

        Raises:
            ValueError: If rows and columns are those of different inputs.
        """
        if not self.same:
            raise ValueError(
                "`diagonal` needs a kernel of inputs with themselves. Got `x2`. Leave "
                "it out."
            )
        with jax.enable_x64(self.dtype == np.float64):
            found = [
                np.asarray(_diagonal(self.network, self.params, row, self.output_axes))
                for row in self.x1[:, None]
            ]
        rows = self._by_entry(np.stack(found), self.x1, self.row_regularization)
        return self._by_entry(rows, self.x1, self.column_regularization).reshape(-1)

    def dense(self) -> Float[np.ndarray, "r c"]:
        """The matrix itself, by `empirical_jacobian_ntk`.

        Returns:
            The matrix.

        Raises:
            ValueError: If it does not fit into the memory.
        """
        kernel = empirical_jacobian_ntk(
            self.network,
            self.params,
            self.x1,
            None if self.same else self.x2,
            output_axes=self.output_axes,
            memory=self.memory,
        )
        if self.output_axes:
            kernel = kernel.transpose(0, 2, 1, 3)
        kernel = kernel.reshape(self.shape)
        sides = (
            (self.x1, self.row_regularization),
            (self.x2, self.column_regularization),
        )
        rows, columns = (
            self._by_entry(np.ones(size, self.dtype), *side).reshape(-1)
            for size, side in zip(self.shape, sides, strict=True)
        )
        return kernel * rows[:, None] * columns

    def as_scipy(self) -> LinearOperator:
        """The kernel as SciPy's `LinearOperator`."""
        make: Any = LinearOperator  # its stub knows only the form for subclasses
        names = ("matvec", "rmatvec", "matmat", "rmatmat")
        functions = {name: getattr(self, name) for name in names}
        return make(shape=self.shape, dtype=self.dtype, **functions)

    def _times(self, u: Numbers) -> np.ndarray:
        u = np.asarray(u)
        if u.ndim == 2:
            found = np.empty((self.shape[0], u.shape[1]), self.dtype)
            for to, column in zip(found.T, u.T, strict=True):
                to[:] = self._times(column)
            return found
        columns = self._by_entry(u, self.x2, self.column_regularization)
        with jax.enable_x64(self.dtype == np.float64):
            found = sum(self._product(columns, unit) for unit in self._units())
        assert isinstance(found, np.ndarray)
        return self._by_entry(found, self.x1, self.row_regularization).reshape(-1)

    @property
    def _entries(self) -> int:
        return 1 + self.x1[0].size

    def _by_entry(
        self, u: np.ndarray, x: np.ndarray, regularization: float
    ) -> Float[np.ndarray, "n r o"]:
        """Numbers by input, entry and output, those of derivatives scaled."""
        u = u.reshape(len(x), self._entries, -1).astype(self.dtype)
        return np.concatenate([u[:, :1], math.sqrt(regularization) * u[:, 1:]], axis=1)

    def _units(self) -> Iterator[Float[np.ndarray, "o q"]]:
        """The outputs that one pass serves: each alone, or all."""
        every = np.eye(self.outputs, dtype=self.dtype)
        if self.output_axes:
            yield every
        else:
            yield from (
                unit[:, None] / self.dtype.type(self.outputs**0.5) for unit in every
            )

    def _product(self, u: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """$J_1 J_2^T u$ of some outputs: inputs are added up, then gone through."""
        f, weights = ValueAndPartials(self.network), None
        for x, part in zip(
            _pieces(self.x2, self.at_once),
            _pieces(u, self.at_once, np.zeros_like),
            strict=True,
        ):
            weights = _pull(f, self.params, x, part @ unit.T, weights)
        rows = [
            np.asarray(_push(f, self.params, x, weights)) @ unit
            for x in _pieces(self.x1, self.at_once)
        ]
        return np.concatenate(rows)[: len(self.x1)]


def empirical_jacobian_operator(
    network: Network,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    output_axes: bool = False,
    regularization: float = 1.0,
    memory: float = 1.0,
) -> EmpiricalJacobianOperator:
    r"""The matrix of `empirical_jacobian_ntk`, for when it is too large to be formed.

    Args:
        network: As in `empirical_jacobian_ntk`.
        params: The parameters.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`.
        output_axes: Whether outputs are rows and columns of their own; else the mean
            over equal ones is taken.
        regularization: $\lambda$ of kim2023: derivatives are scaled by its root.
        memory: Budget in GiB of a product.

    Returns:
        The operator; nothing is computed.

    Raises:
        ValueError: As `empirical_jacobian_ntk`, and if `regularization` is not between
            0 and 1, or not even one input fits into the memory.

    Example:
        >>> import jax, numpy as np
        >>> from widelimit.networks import kim2023_network
        >>> net = kim2023_network(depth=2, width=64)
        >>> params = net.init(jax.random.key(0), (3,))
        >>> kernel = empirical_jacobian_operator(net, params, np.eye(3))
        >>> kernel.shape, (kernel @ np.ones(12)).shape
        ((12, 12), (12,))
    """
    caller = "empirical_jacobian_operator"
    check_positive(caller, "memory", memory)
    check_flag(caller, "output_axes", output_axes)
    check_regularization(caller, regularization)
    dtype = params_dtype(caller, params)
    a, b = input_pair(caller, x1, x2, dtype)
    row = jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype)
    check_second_derivatives(caller, network)
    if isinstance(network, AbstractLayer):
        check_params(caller, network, params, a.shape[1:])
    else:
        check_function(network, params, row, caller)
    with jax.enable_x64(dtype == "float64"):
        cost = cost_of(ValueAndPartials(network), params, row)
    fixed, each = WEIGHTS * cost.parameters * a.itemsize, PASSES * cost.activations
    if fixed + each > memory * GIB:
        raise ValueError(
            f"`{caller}` needs {(fixed + each) / GIB:.3g} GiB for one input. Got "
            f"`memory={memory}`. Give more."
        )
    most = len(a) if b is None else max(len(a), len(b))
    return EmpiricalJacobianOperator(
        network=network,
        params=params,
        x1=a,
        x2=a if b is None else b,
        outputs=cost.outputs // (1 + a[0].size),
        at_once=min(int((memory * GIB - fixed) / each), most),
        output_axes=output_axes,
        same=b is None,
        row_regularization=float(regularization),
        column_regularization=float(regularization),
        memory=memory,
    )


def _pieces(
    x: np.ndarray,
    rows: int,
    fill: Callable[[np.ndarray], np.ndarray] = lambda last: last,
) -> Iterator[np.ndarray]:
    """So many rows at a time; the last piece filled up, so that all share a program."""
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        missing = rows - len(part)
        yield np.concatenate([part, np.repeat(fill(part[-1:]), missing, 0)])


@functools.partial(jax.jit, static_argnums=0, donate_argnums=4)
def _pull(f: ValueAndPartials, params: Params, x, u, total: Params | None) -> Params:
    """The weights' side of a product, added to what came before."""
    with precisely():
        _, pull = jax.vjp(lambda p: f(p, x), params)
        (found,) = pull(u)
    return found if total is None else jax.tree.map(jnp.add, total, found)


@functools.partial(jax.jit, static_argnums=0)
def _push(f: ValueAndPartials, params: Params, x, weights: Params):
    """The rows' side of a product."""
    with precisely():
        return jax.jvp(lambda p: f(p, x), (params,), (weights,))[1]


@functools.partial(jax.jit, static_argnums=(0, 3))
def _diagonal(network: Network, params: Params, row, output_axes: bool):
    block = empirical_jacobian_ntk_block(network, params, row, output_axes=output_axes)
    if not output_axes:
        return jnp.diagonal(block)
    return jnp.diagonal(jnp.diagonal(block, axis1=0, axis2=1), axis1=0, axis2=1)
