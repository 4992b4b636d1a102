"""One number of the library beside its reference."""

import math
from dataclasses import dataclass

import mpmath
import numpy as np

from widelimit.accuracy.real import Real

THRESHOLDS = {"float64": 1e-12, "float32": 1e-5}
"""The promise: relative errors outside the singular sets."""

OUT_OF_RANGE = "values, or the covariances behind them, that are no normal numbers"
INFINITE = "where the derivative is infinite or does not exist"


@dataclass(frozen=True)
class Comparison:
    """A value of the library, and how far it is off.

    Args:
        subject: The activation or the network.
        quantity: What of it.
        precision: `"float64"` or `"float32"`.
        place: What is hard about the point, and the point.
        expected: The reference, rounded.
        actual: The library's value.
        error: Relative error.
        singular: The singular set that the point lies in, if any.
    """

    subject: str
    quantity: str
    precision: str
    place: str
    expected: float
    actual: float
    error: float
    singular: str | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise is kept here, or does not extend to here."""
        return bool(self.singular) or self.error <= THRESHOLDS[self.precision]


def relative_error(actual: float, expected: Real, scale: Real | int = 0) -> float:
    """Error relative to the reference, or to a tenth of a scale if that is larger.

    Args:
        actual: The library's value.
        expected: The reference.
        scale: What the value is to be compared with near its zeros; 0 for itself only.

    Returns:
        The relative error; 0 for two equal numbers, infinite for one that is not a
        number, or that should be zero and has no scale.
    """
    if not (math.isfinite(actual) and mpmath.isfinite(expected)):
        return math.inf
    error = abs(mpmath.mpf(actual) - expected)
    below = max(abs(expected), abs(scale) / 10)
    return float(error / below) if below else 0.0 if error == 0 else math.inf


def singular_value(expected: Real, precision: str) -> str | None:
    """The singular set of a reference that the precision cannot express.

    Args:
        expected: The reference.
        precision: `"float64"` or `"float32"`.

    Returns:
        Its name, or `None`.
    """
    if not mpmath.isfinite(expected):
        return INFINITE
    info = np.finfo(precision)
    if expected and not float(info.tiny) <= abs(expected) <= float(info.max):
        return OUT_OF_RANGE
    return None
