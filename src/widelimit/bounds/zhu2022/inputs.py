"""Checks of the data that the theorems share."""

import numpy as np

from widelimit._checks import check_finite, check_rows
from widelimit.bounds.base import Assumption


def rows(caller: str, inputs) -> np.ndarray:
    """The inputs in double precision, once they are known to be finite rows."""
    x = np.asarray(inputs, dtype=float)
    check_rows(caller, "inputs", x)
    check_finite(caller, "inputs", x)
    return x


def targets_of(
    caller: str, targets, x: np.ndarray, *, name: str = "targets"
) -> np.ndarray:
    """Targets or outputs in double precision, one row for each row of `x`.

    Args:
        caller: Function to name in messages.
        targets: A vector or a matrix.
        x: The inputs.
        name: Argument to name in messages.

    Returns:
        A matrix with a row per input.

    Raises:
        ValueError: If their number differs from that of the inputs, or one is not
            finite.
    """
    y = np.asarray(targets, dtype=float)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise ValueError(
            f"`{caller}` needs one row of `{name}` per input. Got "
            f"`{name}.shape={y.shape}` and `inputs.shape={x.shape}`. Pass a vector, "
            "or a matrix with a row per input."
        )
    check_finite(caller, name, y)
    return y.reshape(len(y), -1)


def unit_norm(x: np.ndarray) -> Assumption:
    """Assumption 1, checked up to the rounding of single precision."""
    norms = np.linalg.norm(x, axis=1)
    return Assumption.checked(
        "every input has unit norm (Assumption 1)",
        np.allclose(norms, 1, rtol=0, atol=1e-5),
        f"norms from {norms.min():.6g} to {norms.max():.6g}",
    )
