"""Named checks of what training starts from."""

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_finite
from widelimit.prediction.predictor import Prediction


def check_targets(caller: str, y: ArrayLike, rows: int) -> np.ndarray:
    """Targets as float64, one or one row of outputs for every input.

    Args:
        caller: Name of the public function, for messages.
        y: Targets.
        rows: Number of inputs.

    Returns:
        The array.

    Raises:
        ValueError: If they are no real numbers, or not as many.
    """
    targets = np.asarray(y)
    if targets.dtype.kind not in "fiu":
        raise ValueError(
            f"`{caller}` needs real numbers as targets. Got `y.dtype={targets.dtype}`. "
            "Encode two classes as +1 and -1, more as rows of outputs."
        )
    if targets.ndim not in (1, 2) or len(targets) != rows or not targets.size:
        raise ValueError(
            f"`{caller}` needs a target, or one row of outputs, for each of {rows} "
            f"inputs. Got `y.shape={targets.shape}`."
        )
    check_finite(caller, "y", targets)
    return targets.astype(np.float64)


def check_prediction(
    caller: str, given: Prediction, shape: tuple[int, ...], features: int
) -> None:
    """Raise unless values and gradients are of these shapes.

    Args:
        caller: Name of the public function, for messages.
        given: Values and gradients.
        shape: Shape of the values.
        features: Number of features of an input.

    Raises:
        ValueError: If they are not.
    """
    found = np.shape(given.values), np.shape(given.gradients)
    if found != (shape, (*shape, features)):
        raise ValueError(
            f"`{caller}` needs initial values of shape {shape} and gradients of shape "
            f"{(*shape, features)}. Got {found[0]} and {found[1]}."
        )
    check_finite(caller, "initial.values", given.values)
    check_finite(caller, "initial.gradients", given.gradients)
