"""What a kernel system was solved to, and how well."""

import enum

import equinox as eqx
import numpy as np
from jaxtyping import Float


class Status(enum.StrEnum):
    """How a solver ended.

    Attributes:
        CONVERGED: The scaled residual ratio is at most the tolerance.
        MAX_STEPS: The steps were used up before.
        STAGNATED: Further steps did not help: rounding of products is in the way.
        NOT_POSITIVE_DEFINITE: The rounded matrix has an eigenvalue of zero or less.
    """

    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    STAGNATED = "stagnated"
    NOT_POSITIVE_DEFINITE = "not_positive_definite"


class Solution(eqx.Module):
    r"""The solution $x$ of $A x = b$ and its quality.

    Attributes:
        solution: $x$, in the shape of the targets. If `status` is not `CONVERGED`, the
            best iterate (NaN if there is none).
        status: How the solver ended; the worst over right-hand sides.
        residual: Scaled residual ratio $\|A x - b\| / (\|A\| \|x\| + \|b\|)$ in the
            2-norm, the largest over right-hand sides: the smallest relative change of
            $A$ and $b$ whose exact solution $x$ is. From products with $A$, not from
            the solver's recursion.
        relative_residual: $\|A x - b\| / \|b\|$, the largest over right-hand sides.
        norm: Estimate of $\|A\|_2$, from below.
        condition: Estimate of $\|A\|\,\|A^{-1}\|$: LAPACK's for the 1-norm after
            Cholesky; a lower one, from Rayleigh quotients, after conjugate gradients.
        steps: Steps of conjugate gradients, the most over right-hand sides; those of
            iterative refinement after Cholesky.
        solver: `"cholesky"` or `"cg"`.
        why: Why that solver, and with which preconditioner.
        ridge: Largest number added to the diagonal as `ridge`.
        jitter: The number added to the whole diagonal as `jitter`, absolutely.
    """

    solution: Float[np.ndarray, "*s"]
    status: Status
    residual: float
    relative_residual: float
    norm: float
    condition: float
    steps: int
    solver: str
    why: str
    ridge: float
    jitter: float

    @property
    def converged(self) -> bool:
        """Whether the solution is one."""
        return self.status is Status.CONVERGED


class NotSolvedError(RuntimeError):
    """A kernel system was not solved to the tolerance.

    Attributes:
        solution: The `Solution` so far, with status, residual and best iterate.
    """

    def __init__(self, message: str, solution: Solution):
        super().__init__(message)
        self.solution = solution
