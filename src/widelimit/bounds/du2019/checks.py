"""Checks that the theorems of du2019 share."""

import math

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_at_least, check_finite
from widelimit.bounds.base import Assumption

Inputs = Float[Array | np.ndarray, "n *features"]
Labels = Float[Array | np.ndarray, " n"]


def check_probability(caller: str, name: str, value: float) -> None:
    """Raise unless `value` lies strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(
            f"`{caller}` needs `0 < {name} < 1`. Got `{name}={value}`. It is the "
            "probability that the statement fails."
        )


def above_zero(caller: str, name: str, value: float, statement: str) -> Assumption:
    """An eigenvalue's positivity, as a checked assumption.

    Args:
        caller: Function to name in messages.
        name: Argument to name in messages.
        value: The eigenvalue.
        statement: The assumption.

    Returns:
        The assumption with its outcome.

    Raises:
        ValueError: If the eigenvalue is not finite.
    """
    check_finite(caller, name, value)
    return Assumption.checked(statement, value > 0, f"{value:.6g}")


def divide(numerator: float, denominator: float) -> float:
    """A quotient of positive numbers, infinite where the denominator is zero."""
    return numerator / denominator if denominator else math.inf


def eigenvalues(
    caller: str, lambda_0: float, separation: float, number: str
) -> list[Assumption]:
    """Assumption 3.1, 4.1 or 5.1, by its number."""
    statement = f"> 0 (Assumption {number})"
    return [
        above_zero(caller, "lambda_0", lambda_0, f"lambda_0 {statement}"),
        above_zero(caller, "separation", separation, f"lambda {statement}"),
    ]


def data(
    caller: str,
    samples: int,
    inputs: Inputs | None,
    labels: Labels | None,
    label_bound: float | None,
) -> list[Assumption]:
    """Unit norm and bounded labels, checked where the data are given."""
    unit, bounded = "every input has unit norm", "labels are bounded, |y_i| <= C"
    assumptions = [Assumption.declared(unit), Assumption.declared(bounded)]
    if inputs is not None:
        x = _matching(caller, "inputs", inputs, samples)
        norms = np.linalg.norm(x.reshape(samples, -1), axis=1)
        holds = np.allclose(norms, 1, rtol=0, atol=1e-5)  # in single precision too
        detail = f"norms from {norms.min():.6g} to {norms.max():.6g}"
        assumptions[0] = Assumption.checked(unit, holds, detail)
    if labels is not None:
        size = float(np.abs(_matching(caller, "labels", labels, samples)).max())
        bound = size if label_bound is None else label_bound
        detail = f"the largest is {size:.6g}, C = {bound:.6g}"
        assumptions[1] = Assumption.checked(bounded, size <= bound, detail)
    return assumptions


def check_sizes(caller: str, **sizes: int) -> None:
    """Raise unless each size is at least 1; `steps` may be 0."""
    for name, size in sizes.items():
        check_at_least(caller, name, size, 0 if name == "steps" else 1)


def _matching(caller: str, name: str, values, samples: int) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if len(array) != samples:
        raise ValueError(
            f"`{caller}` needs `samples` rows in `{name}`. Got `{name}.shape="
            f"{array.shape}` and `samples={samples}`. Pass the data that the "
            "eigenvalues belong to."
        )
    check_finite(caller, name, array)
    return array
