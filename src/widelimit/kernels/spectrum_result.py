"""Extreme eigenvalues with error bounds, and what they say."""

import enum

import equinox as eqx
import numpy as np
from jaxtyping import Float


class Verdict(enum.StrEnum):
    """Whether a matrix is positive definite.

    Attributes:
        HOLDS: Its smallest eigenvalue is positive by more than the error bound.
        FAILS: It is singular by a proof that needs no rounded number, or it has a
            negative eigenvalue by more than the error bound.
        UNRESOLVED: Zero is within the error bound of the smallest eigenvalue: more
            digits would be needed to tell.
    """

    HOLDS = "holds"
    FAILS = "fails"
    UNRESOLVED = "cannot be resolved"


class Spectrum(eqx.Module):
    r"""Extreme eigenvalues of a kernel matrix.

    Attributes:
        min: The smallest eigenvalue, as computed.
        max: The largest.
        min_error: Bound on the error of `min`, of which rounding of the entries is a
            part.
        max_error: The same for `max`.
        verdict: Whether the matrix is positive definite: kim2023's Assumption 8, if it
            is that of the Jacobian NTK.
        why: What the verdict rests on.
        size: Rows of the matrix.
        method: `"dense"` or `"lanczos"`.
        eigenvalues: All of them, ascending, after `"dense"`.
    """

    min: float
    max: float
    min_error: float
    max_error: float
    verdict: Verdict
    why: str
    size: int
    method: str
    eigenvalues: Float[np.ndarray, " r"] | None = None


def verdict_of(least: float, error: float, singular: str | None) -> tuple[Verdict, str]:
    """The verdict of the smallest eigenvalue, and what it rests on.

    Args:
        least: The smallest eigenvalue.
        error: A bound on its error.
        singular: A proof that it is zero, if there is one.

    Returns:
        Both.
    """
    if singular is not None:
        return Verdict.FAILS, singular
    interval = f"{least:.3g} with an error of at most {error:.2g}"
    if least > error:
        return Verdict.HOLDS, f"the smallest eigenvalue is {interval}"
    if least < -error:
        return Verdict.FAILS, f"the smallest eigenvalue is negative: {interval}"
    return Verdict.UNRESOLVED, f"zero is among what {interval} can be"
