"""The numbers that references are computed in."""

from typing import Any

Real = Any
"""An `mpmath.mpf`. (By mpmath's own types its functions might return complex ones.)"""

DIGITS = 80
"""Decimal digits of the numbers; nearly parallel inputs lose up to 32 of them."""
