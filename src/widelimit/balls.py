"""Balls of a norm, and points kept inside them to the last bit."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Norm = Literal["l2", "linf"]
Numbers = float | Float[Array | np.ndarray, "*n"]  # one for all rows, or one for each
NORMS: tuple[Norm, ...] = ("l2", "linf")


def sizes(moved: Float[Array, "n *s"], norm: Norm) -> Float[Array, " n"]:
    """Norm of every row, all its axes together.

    Args:
        moved: One vector, or array, per row.
        norm: `"l2"` or `"linf"`.

    Returns:
        The norms.
    """
    flat = jnp.reshape(moved, (len(moved), -1))
    return euclidean(flat, 1) if norm == "l2" else jnp.max(jnp.abs(flat), axis=1)


def euclidean(vectors: Float[Array, "*s"], axis: int) -> Float[Array, "*t"]:
    """Euclidean norms along an axis, whose squares neither overflow nor vanish.

    Args:
        vectors: The vectors.
        axis: Where their entries are.

    Returns:
        The norms; their derivative at zero is zero.
    """
    largest = jnp.max(jnp.abs(vectors), axis=axis, keepdims=True)
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    square = jnp.sum(jnp.square(vectors / unit), axis=axis)
    root = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    return jnp.squeeze(unit, axis) * jnp.where(square > 0, root, square)


def nearest(
    points: Float[Array, "n *s"],
    centres: Float[Array, "n *s"],
    radius: Numbers,
    norm: Norm,
) -> Float[Array, "n *s"]:
    """The nearest points of the balls, up to rounding.

    Args:
        points: One per row.
        centres: Centre of every ball.
        radius: Radius of all, or of each.
        norm: Their norm, of a row's axes together.

    Returns:
        The projections; a point may be outside by a rounding error, see `inside`.
    """
    moved = points - centres
    if norm == "linf":
        limit = per_row(radius, points)
        return centres + jnp.clip(moved, -limit, limit)
    whole = sizes(moved, norm)
    limit = jnp.broadcast_to(jnp.asarray(radius, points.dtype), whole.shape)
    far = whole > limit
    factor = jnp.where(far, limit / jnp.where(far, whole, 1.0), 1.0)
    return centres + moved * per_row(factor, points)


def per_row(values: Numbers, rows: Float[Array, "n *s"]) -> Float[Array, "..."]:
    """One number, or one per row, in the shape that multiplies rows.

    Args:
        values: The numbers.
        rows: What they shall multiply.

    Returns:
        The numbers in the type of the rows.
    """
    array = jnp.asarray(values, rows.dtype)
    return array if array.ndim == 0 else array.reshape(-1, *(1,) * (rows.ndim - 1))


def chosen(
    mask: Bool[Array, " n"], new: Float[Array, "n *s"], old: Float[Array, "n *s"]
) -> Float[Array, "n *s"]:
    """Some rows from one array, the others from another.

    Args:
        mask: Which rows are new.
        new: One array.
        old: The other.

    Returns:
        The rows.
    """
    return jnp.where(mask.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def inside(
    points: Float[Array, "n *s"],
    centres: Float[Array, "n *s"],
    radius: Numbers,
    norm: Norm,
) -> Float[Array, "n *s"]:
    r"""The same, so that the distances are at most the radius however they are summed.

    Points go to a ball that is smaller by a few roundings, $4 + \sqrt d$ in the l2
    norm, and more if that does not do; those within that ball stay where they are.

    Args:
        points: One per row.
        centres: Centre of every ball.
        radius: Radius of all, or of each.
        norm: Their norm.

    Returns:
        Points within the balls.
    """
    if norm == "linf":
        limit = per_row(radius, points)
        limit = limit * (1 - 2 * float(jnp.finfo(points.dtype).eps))
        low, high = centres - limit, centres + limit
        low = jnp.where(centres - low > limit, jnp.nextafter(low, centres), low)
        high = jnp.where(high - centres > limit, jnp.nextafter(high, centres), high)
        return jnp.clip(points, low, high)
    flat = points.reshape(len(points), -1)
    start = centres.reshape(flat.shape)
    (kept,) = shrunk(
        (flat,), (start,), radius, lambda arrays: euclidean(arrays[0], 1), axis=1
    )
    return kept.reshape(points.shape)


def shrunk(
    points: tuple[Float[Array, "..."], ...],
    centres: tuple[Float[Array, "..."], ...],
    radius: Numbers,
    norms: Callable[[tuple[Array, ...]], Float[Array, " k"]],
    *,
    axis: int,
    realised: Callable[[tuple[Array, ...]], tuple[Array, ...]] = lambda points: points,
) -> tuple[Float[Array, "..."], ...]:
    """Vectors pulled towards their centres until they are within a radius.

    A vector may be spread over several arrays, as a unit's weights and its bias are.

    Args:
        points: The arrays; entries of one vector lie along all axes but one.
        centres: Arrays of the same shapes.
        radius: Of all balls, or of each.
        norms: The norm of every vector, from the arrays less their centres.
        axis: 1 if the first axis counts vectors, 0 if the last does.
        realised: What arrays become before they are compared, if that rounds.

    Returns:
        What is within the ball, before it is `realised`.
    """
    entries = sum(math.prod(p.shape) for p in points)
    dtype = points[0].dtype
    eps = float(jnp.finfo(dtype).eps)

    def at(factor):
        return tuple(
            jnp.where(
                _along(factor, p, axis) == 1, p, c + _along(factor, p, axis) * (p - c)
            )
            for p, c in zip(points, centres, strict=True)
        )

    def outside(factor, limit):
        now = realised(at(factor))
        moved = tuple(q - c for q, c in zip(now, centres, strict=True))
        return ~(norms(moved) <= limit)

    whole = norms(tuple(p - c for p, c in zip(points, centres, strict=True)))
    roundings = (4 + math.sqrt(entries / max(len(whole), 1))) * eps
    limit = jnp.asarray(radius, dtype) * (1 - roundings)
    factor = jnp.where(whole > limit, limit / jnp.where(whole > 0, whole, 1.0), 1.0)
    start = (factor, jnp.asarray(eps, dtype), outside(factor, limit))

    def pull(state):
        factor, slack, far = state
        factor = jnp.where(far, factor * jnp.maximum(1 - slack, 0), factor)
        return factor, 4 * slack, outside(factor, limit) & (factor > 0)

    factor, _, _ = jax.lax.while_loop(lambda state: jnp.any(state[2]), pull, start)
    return at(factor)


def _along(factor: Array, array: Array, axis: int) -> Array:
    shape = (-1,) + (1,) * (array.ndim - 1) if axis else factor.shape
    return jnp.reshape(factor, shape)
