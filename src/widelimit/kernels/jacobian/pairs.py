"""What says all of a Jacobian kernel between two sets of inputs."""

import dataclasses
from typing import Any, Literal, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from widelimit.kernels.jacobian.scalars import AbstractScalars

Part = Literal["both", "value", "gradient"]
Numbers = Array | np.ndarray
K = TypeVar("K", bound="JacobianPairs")


class JacobianPairs(eqx.Module):
    r"""Eight numbers per pair of inputs, and which rows and columns are made of them.

    Attributes:
        scalars: The numbers.
        x1: Inputs of the rows.
        x2: Inputs of the columns.
        row_regularization: $\lambda$ of the rows.
        column_regularization: $\lambda$ of the columns.
        row_part: `"both"`, or only `"value"` or `"gradient"` of every row input.
        column_part: The same of the columns.
        same: Whether both inputs are the same.
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
    def T(self: K) -> K:
        """The transpose."""
        return type(self)(
            scalars=self.scalars.transposed(),
            x1=self.x2,
            x2=self.x1,
            row_regularization=self.column_regularization,
            column_regularization=self.row_regularization,
            row_part=self.column_part,
            column_part=self.row_part,
            same=self.same,
        )

    def replace(self: K, **changes: Any) -> K:
        """A copy with some fields changed."""
        names = [field.name for field in dataclasses.fields(self)]
        return type(self)(**{n: getattr(self, n) for n in names} | changes)


def _size(part: Part, d: int) -> int:
    return {"both": d + 1, "value": 1, "gradient": d}[part]
