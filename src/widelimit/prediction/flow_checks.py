"""Named checks of what training starts from."""

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import as_array, check_finite, check_kind
from widelimit.prediction.predictor import Prediction


def check_targets(caller: str, y: ArrayLike, rows: int, name: str = "y") -> np.ndarray:
    """Targets as float64, one or one row of outputs for every input.

    Args:
        caller: Name of the public function, for messages.
        y: Targets.
        rows: Number of inputs.
        name: Name of the argument.

    Returns:
        The array.

    Raises:
        ValueError: If they are no real numbers, or not as many.
    """
    targets = as_array(caller, name, y)
    if targets.dtype.kind not in "fiu":
        raise ValueError(
            f"`{caller}` needs real numbers as targets. Got `{name}.dtype="
            f"{targets.dtype}`. Encode two classes as +1 and -1, more as rows of "
            "outputs."
        )
    if targets.ndim not in (1, 2) or len(targets) != rows or not targets.size:
        raise ValueError(
            f"`{caller}` needs a target, or one row of outputs, for each of {rows} "
            f"inputs. Got `{name}.shape={targets.shape}`."
        )
    check_finite(caller, name, targets)
    return targets.astype(np.float64)


def checked_initial(
    caller: str, initial: Prediction, shape: tuple[int, ...], features: int
) -> Prediction:
    """Values and gradients at the start as float64.

    Args:
        caller: Name of the public function, for messages.
        initial: Values and gradients.
        shape: Shape of the values.
        features: Number of features of an input.

    Returns:
        Both.

    Raises:
        ValueError: If they are not finite real numbers of these shapes.
    """
    example = "Prediction(values, gradients)` or `function_at(function, x)"
    check_kind(caller, "initial", initial, Prediction, example)
    shapes = {"values": shape, "gradients": (*shape, features)}
    return Prediction(
        **{
            name: _numbers(caller, f"initial.{name}", getattr(initial, name), needed)
            for name, needed in shapes.items()
        }
    )


def _numbers(
    caller: str, name: str, given: ArrayLike, shape: tuple[int, ...]
) -> np.ndarray:
    array = as_array(caller, name, given)
    if array.dtype.kind not in "fiu":
        got = "None" if given is None else f"an array of `dtype={array.dtype}`"
        raise ValueError(
            f"`{caller}` needs real numbers as `{name}`. Got {got}. `function_at` has "
            "values and gradients of a JAX function."
        )
    if array.shape != shape:
        raise ValueError(
            f"`{caller}` needs `{name}` of shape {shape}. Got `{name}.shape="
            f"{array.shape}`. Give those at `x`, in the form of the targets."
        )
    check_finite(caller, name, array)
    return array.astype(np.float64)
