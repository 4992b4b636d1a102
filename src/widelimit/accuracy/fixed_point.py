"""Arrays of whole numbers that stand for fractions: quicker than mpmath's floats."""

from collections.abc import Iterable

import mpmath
import numpy as np

from widelimit.accuracy.real import Real

BITS = 400
ONE = 1 << BITS


def fixed(numbers: Iterable) -> np.ndarray:
    """Numbers times `ONE`, rounded to whole ones of any length.

    Args:
        numbers: mpmath's, or whole ones.

    Returns:
        One entry each.
    """
    return np.array([int(mpmath.ldexp(x, BITS)) for x in numbers], dtype=object)


def floating(number: int) -> Real:
    """The number that a whole one stands for.

    Args:
        number: A multiple of the unit.

    Returns:
        It, in mpmath.
    """
    return mpmath.ldexp(mpmath.mpf(int(number)), -BITS)


def mul(x, y):
    """`x * y`."""
    return (x * y) >> BITS


def div(x, y):
    """`x / y`."""
    return (x << BITS) // y
