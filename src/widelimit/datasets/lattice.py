"""A lattice on the sphere, and how well points cover it."""

import numpy as np
import scipy.spatial
import scipy.special
from jaxtyping import ArrayLike, Float

from widelimit._checks import check_count, check_finite, check_rows

MOST = 8  # features in which Qhull is still quick


def sphere_lattice(
    rows: int, dimension: int
) -> Float[np.ndarray, "{rows} {dimension}"]:
    r"""Evenly spread points of the unit sphere in $R^d$, the same in every call.

    The Fibonacci lattice of the sphere in any dimension: point $i$ of $n$ has the
    coordinates $(i + \tfrac12) / n$ and the fractional parts of $i \sqrt{p_k}$, with
    the primes $p_k = 2, 3, 5, \dots$, in the unit cube, which is mapped to the sphere
    with volume kept by the quantiles of its polar angles. In the plane it is the
    regular polygon.

    Args:
        rows: Number of points.
        dimension: Number of features $d$, 2 or more; kim2023 uses 256 points in 4.

    Returns:
        The points, one per row, of norm 1. Their `covering_radius` falls like
        $n^{-1/(d-1)}$.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> points = sphere_lattice(256, 4)
        >>> points.shape, round(covering_radius(points), 2)
        ((256, 4), 0.42)

    References:
        kim2023, App. A, which takes such a lattice for a 0.5-net.
    """
    check_count("sphere_lattice", "rows", rows, 1)
    check_count("sphere_lattice", "dimension", dimension, 2)
    i = np.arange(rows)
    roots = np.sqrt(_primes(dimension - 2).astype(float))
    cube = np.column_stack([(i + 0.5) / rows, (i[:, None] * roots) % 1.0])
    points, radius = np.empty((rows, dimension)), np.ones(rows)
    for k in range(dimension - 2):
        half = (dimension - 1 - k) / 2  # cos of the angle: a symmetric beta's quantile
        cos = 2 * scipy.special.betaincinv(half, half, cube[:, k]) - 1
        points[:, k] = radius * cos
        radius = radius * np.sqrt((1 - cos) * (1 + cos))
    turn = 2 * np.pi * cube[:, -1]
    points[:, -2:] = radius[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def covering_radius(points: ArrayLike) -> float:
    r"""The largest distance of any point of the unit sphere from the nearest of some.

    Exact: the farthest places are the centres of the empty caps that the facets of the
    points' convex hull cut off. The points are an $\epsilon$-net from this radius on.

    Args:
        points: Points of norm 1, one per row, in 2 to 8 features.

    Returns:
        The Euclidean distance, between 0 and 2.

    Raises:
        ValueError: If the points are not of norm 1, of too many features, or all in
            one hyperplane.
    """
    caller = "covering_radius"
    x = np.asarray(points, dtype=float)
    check_rows(caller, "points", x)
    check_finite(caller, "points", x)
    norms = np.linalg.norm(x, axis=1)
    if not np.allclose(norms, 1, rtol=0, atol=1e-6):
        worst = norms[np.abs(norms - 1).argmax()]
        raise ValueError(
            f"`{caller}` needs points of norm 1. Got a norm of {worst:.6g}. Divide "
            "every row by its norm."
        )
    if not 2 <= x.shape[1] <= MOST:
        raise ValueError(
            f"`{caller}` needs 2 to {MOST} features, beyond which hulls take too long. "
            f"Got {x.shape[1]}."
        )
    try:
        hull = scipy.spatial.ConvexHull(x)
    except (scipy.spatial.QhullError, ValueError) as error:
        raise ValueError(
            f"`{caller}` needs points that do not lie in one hyperplane. Got "
            f"{len(x)} points in {x.shape[1]} features. Add points."
        ) from error
    cos = -np.max(hull.equations[:, -1])  # of the widest cap
    return float(np.sqrt(max(2 - 2 * cos, 0.0)))


def _primes(count: int) -> np.ndarray:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % p for p in found):
            found.append(number)
        number += 1
    return np.array(found, dtype=int)
