"""What preconditions conjugate gradients, and the plainest such thing."""

import abc

import numpy as np
from jaxtyping import Float

Columns = Float[np.ndarray, "r k"]


class AbstractApproximateInverse(abc.ABC):
    """An approximate inverse.

    Attributes:
        name: What it is made of, for reports.
    """

    name: str

    @abc.abstractmethod
    def start(self, b: Columns) -> Columns:
        """Where to begin with `b`; `apply` may rest on that."""

    @abc.abstractmethod
    def apply(self, r: Columns) -> Columns:
        """The approximate inverse of residuals."""


class Diagonal(AbstractApproximateInverse):
    """Division by the diagonal, or nothing at all.

    Args:
        diagonal: The diagonal; `None` if it is not known.
    """

    def __init__(self, diagonal: Float[np.ndarray, " r"] | None):
        self.diagonal = None if diagonal is None else diagonal[:, None]
        self.name = "nothing" if diagonal is None else "the diagonal"

    def start(self, b: Columns) -> Columns:
        return np.zeros_like(b)

    def apply(self, r: Columns) -> Columns:
        return r.copy() if self.diagonal is None else r / self.diagonal
