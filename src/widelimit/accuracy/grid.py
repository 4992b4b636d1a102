r"""Moments at which duals are compared: moderate ones, and the hard places."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import mpmath
import numpy as np

from widelimit.accuracy.real import DIGITS, Real


@dataclass(frozen=True)
class Moments:
    r"""Moments $(c, p, q)$ of a pair, rounded and as they are meant.

    Args:
        place: What is hard about them.
        rounded: $(c, p, q)$ in the precision under test.
        exact: The moments at which the reference is taken.
        height: $\sqrt{pq - c^2}$ rounded, where the caller hands it over.
    """

    place: str
    rounded: tuple[float, float, float]
    exact: tuple[Real, Real, Real]
    height: float | None = None


MODERATE = [
    (0.3, 1.0, 1.3),
    (-0.7, 0.5, 2.0),
    (1.2, 1.3, 1.4),
    (-1.39, 1.4, 1.5),
    (-0.15, 0.6, 0.9),
    (0.02, 0.04, 7.0),
]
ORTHOGONAL = [(0.0, 0.8, 2.1), (1e-9, 1.0, 1.3), (-1e-6, 0.8, 2.1)]
# Sizes of variances: the squares of norms from 1e-8 to 1e8.
SIZES = [
    ("tiny", 2.0**-53, 2.0**-52),
    ("tiny", 2.0**-27, 2.0**-26),
    ("huge", 2.0**27, 2.0**26),
    ("huge", 2.0**53, 2.0**52),
    ("mixed sizes", 2.0**-27, 1.2),
    ("mixed sizes", 2.0**27, 1.2),
    ("mixed sizes", 2.0**27, 2.0**-27),
]
CLOSENESS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


@functools.cache
def moments(dtype: str, few: bool = False) -> tuple[Moments, ...]:
    r"""The grid for one precision: moments as given, then moments of inputs as given.

    Args:
        dtype: `"float64"` or `"float32"`.
        few: Whether to leave out about half of the nearby and of the very small or
            large ones.

    Returns:
        Moments that a Gaussian pair can have: $c^2 \le pq$.
    """
    found = [*_as_given(dtype, few), *_of_inputs(dtype, few)]
    return tuple({(m.rounded, m.height): m for m in found}.values())


def _as_given(dtype: str, few: bool) -> Iterator[Moments]:
    for c, p, q in MODERATE:
        yield _valid("moderate", c, p, q, dtype)
    for c, p, q in ORTHOGONAL:
        yield _valid("nearly orthogonal", c, p, q, dtype)
    for p, q in ((1.4, 1.4), (1.0, 4.0), (4.5, 0.5), (30.0, 30.0)):
        root = round((p * q) ** 0.5, 12)
        yield _valid("parallel", root, p, q, dtype)
        yield _valid("opposite", -root, p, q, dtype)
    for k, closeness in enumerate(CLOSENESS[:: 1 + few]):
        cosine = 1 - closeness**2 / 2
        p, q = ((0.9, 1.1), (1.7, 0.6))[k % 2]
        c = cosine * (p * q) ** 0.5
        yield _valid("nearly parallel", c, p, q, dtype)
        yield _valid("nearly opposite", -c, p, q, dtype)
    for place, p, q in SIZES:
        root = (p * q) ** 0.5
        for cosine in (0.6, 1e-6 - 1) if few else (0.6, -0.4, 1 - 1e-6, 1e-6 - 1):
            yield _valid(place, cosine * root, p, q, dtype)


def _valid(place: str, c: float, p: float, q: float, dtype: str) -> Moments:
    """Rounded, and `c` moved towards zero until the moments can exist."""
    kind = np.dtype(dtype).type
    c, p, q = kind(c), kind(p), kind(q)
    with mpmath.workdps(DIGITS):
        while mpmath.mpf(float(c)) ** 2 > mpmath.mpf(float(p)) * mpmath.mpf(float(q)):
            c = np.nextafter(c, kind(0))
        rounded = (float(c), float(p), float(q))
        return Moments(place, rounded, tuple(map(mpmath.mpf, rounded)))


def _of_inputs(dtype: str, few: bool) -> Iterator[Moments]:
    kind = np.dtype(dtype).type
    x = np.array([0.7, -0.4, 1.1, 0.2], kind)
    away = np.array([0.3, 0.9, -0.5, 0.4], kind)
    for closeness in CLOSENESS[-1:] if few else CLOSENESS:
        for sign, place in ((1, "nearby inputs"), (-1, "opposite inputs")):
            for size in (1.0, *((1e-8, 1e8) if closeness == CLOSENESS[-1] else ())):
                near = (kind(sign) * (x + kind(closeness) * away)).astype(kind)
                yield _known(place, kind(size) * x, kind(size) * near, dtype)


def _known(place: str, x: np.ndarray, y: np.ndarray, dtype: str) -> Moments:
    """Moments of two inputs, rounded once, and the height with them."""
    kind = np.dtype(dtype).type
    with mpmath.workdps(DIGITS):
        a, b = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        c, p, q = _dot(a, b), _dot(a, a), _dot(b, b)
        height = (p * q - c * c) ** 0.5
        once = [float(kind(float(m))) for m in (c, p, q, height)]
        return Moments(place, (once[0], once[1], once[2]), (c, p, q), once[3])


def _dot(a: list[Real], b: list[Real]) -> Real:
    return sum((u * v for u, v in zip(a, b, strict=True)), mpmath.mpf(0))
