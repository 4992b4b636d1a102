r"""The lazy regime as an object: the ball $B_{2,\infty}(W_0, V)$ of wang2022."""

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Bool, Float

from widelimit._checks import check_count, check_finite, check_positive
from widelimit.balls import shrunk
from widelimit.layers import Params

MANY = 2**20  # entries of a matrix that is summed row after row


class LazyBall(eqx.Module):
    r"""Networks all of whose units are near where they started.

    $$B_{2,\infty}(W_0, V) = \{W : \max_s \|w_s - w_{s,0}\|_2 \le V\}$$

    with $w_s$ the weights that enter unit $s$, its bias among them. In a deeper network
    the units of all layers count, each with the weights that enter it. wang2022 has
    $V = C_0 / \sqrt m$ (`lazy_radius`).

    Attributes:
        centre: Parameters $W_0$ at initialisation.
        radius: $V$, in the units of the weights.
    """

    centre: Params
    radius: float | Float[Array, ""]

    def __check_init__(self) -> None:
        check_lazy_radius("LazyBall", self.radius)

    def distance(self, params: Params) -> Float[Array, ""]:
        r"""Distance $\|W - W_0\|_{2,\infty}$ of the unit that has moved most.

        Args:
            params: Parameters of one network.

        Returns:
            It.

        Raises:
            ValueError: If shapes differ from those at initialisation.
        """
        largest = [
            jnp.max(functools.reduce(jnp.add, map(_squares, *pair)))
            for pair in _units(params, self.centre)
        ]
        return jnp.sqrt(jnp.max(jnp.stack(largest)))

    def contains(self, params: Params) -> Bool[Array, ""]:
        """Whether the network is in the ball.

        Args:
            params: Parameters of one network.

        Returns:
            It; never where a parameter is NaN.
        """
        return self.distance(params) <= self.radius

    def leaves(self, params: Params) -> Bool[Array, ""]:
        r"""Whether the network may be outside of the ball, if distances are rounded.

        Args:
            params: Parameters of one network.

        Returns:
            It; never where a parameter is NaN. Where it is not so, the ball contains
            the network in exact arithmetic too.
        """
        distance = self.distance(params)
        widest = max(
            leaf.size // leaf.shape[-1] for leaf in jax.tree.leaves(self.centre)
        )
        roundings = (4 + math.sqrt(widest)) * float(jnp.finfo(distance.dtype).eps)
        return distance > self.radius * (1 - roundings)

    def project(self, params: Params) -> Params:
        r"""The nearest network in the ball: units outside go straight towards $W_0$.

        Args:
            params: Parameters of one network.

        Returns:
            Parameters that the ball contains, to the last bit.
        """
        return projected(params, self.centre, self.radius, None)


def lazy_radius(constant: float, width: int) -> float:
    r"""The radius $V = C_0 / \sqrt m$ of the lazy regime (wang2022, Definition 2.1).

    Args:
        constant: $C_0$.
        width: $m$.

    Returns:
        $V$.

    Raises:
        ValueError: If a number is not positive.
    """
    check_positive("lazy_radius", "constant", constant)
    check_count("lazy_radius", "width", width, 1)
    return constant / math.sqrt(width)


class Cone(NamedTuple):
    r"""Where a network is in the cone over a lazy ball.

    Attributes:
        scale: $r$ that takes $r W$ nearest to $W_0$; 0 where that is no $r > 0$.
        distance: $\|r W - W_0\|_{2,\infty}$ there.
        contains: Whether it is at most the ball's radius.
    """

    scale: float
    distance: float
    contains: bool


def cone(ball: LazyBall, params: Params) -> Cone:
    r"""Where a network is in the cone over a lazy ball.

    $$C = \{W : \exists r > 0, r W \in B_{2,\infty}(W_0, V)\}$$

    A two-layer ReLU network without biases decides alike for $W$ and $r W$, so that
    what holds in the ball holds in its cone. Of several layers those that have moved
    are scaled, by the same $r$, which keeps the decisions of a bias-free ReLU network
    too. Computed in float64, on the host.

    Args:
        ball: The ball.
        params: Parameters of one network.

    Returns:
        The best scale, and how near it comes.

    Raises:
        ValueError: If a number is not finite, or shapes differ.

    References:
        wang2022, Sec. 3 and Fig. 1.
    """
    trained = [
        pair
        for pair in _units(params, ball.centre)
        if not all(np.array_equal(p, c) for p, c in zip(*pair, strict=True))
    ]
    if not trained:
        return Cone(1.0, 0.0, True)
    rows = [
        np.concatenate(
            [np.asarray(a, np.float64).reshape(-1, a.shape[-1]) for a in side]
        )
        for pair in trained
        for side in pair
    ]
    for array in rows:
        check_finite("cone", "params", array)
    start = rows[1::2]
    moved = [now - then for now, then in zip(rows[::2], start, strict=True)]
    own = np.concatenate([np.sum(a * a, axis=0) for a in start])
    mixed = np.concatenate(
        [np.sum(a * b, axis=0) for a, b in zip(start, moved, strict=True)]
    )
    away = np.concatenate([np.sum(b * b, axis=0) for b in moved])

    def squares(r: float) -> Float[np.ndarray, " m"]:
        # |r W - W_0|^2, without the cancellation at r = 1
        return (r - 1) ** 2 * own + 2 * r * (r - 1) * mixed + r * r * away

    def slope(r: float) -> float:  # of the largest, which is convex in r
        s = int(np.argmax(squares(r)))
        return float((r - 1) * own[s] + (2 * r - 1) * mixed[s] + r * away[s])

    high, found = 2.0, 0.0
    while slope(high) < 0:
        high *= 2
    if slope(0.0) < 0:  # else the nearest is at the cone's tip, where r tends to 0
        root: Any = scipy.optimize.bisect(slope, 0.0, high, xtol=1e-300, disp=False)
        found = root
    best = min((1.0, float(found)), key=lambda r: squares(r).max())
    distance = float(np.sqrt(max(squares(best).max(), 0.0)))
    return Cone(best, distance, distance <= float(ball.radius))


def check_lazy_radius(caller: str, radius: Any) -> None:
    """Raise unless a radius that is known now, outside of programs, is positive."""
    try:
        known = float(radius)
    except jax.errors.ConcretizationTypeError:
        return  # inside a compiled program
    except (TypeError, ValueError):
        known = radius  # which is refused by name
    check_positive(caller, "radius", known)


def projected(params: Params, centre: Params, radius: Any, before: Any) -> Any:
    """The projection onto a lazy ball, or the updates that lead there.

    Args:
        params: Parameters to project.
        centre: Those at the start.
        radius: $V$.
        before: Parameters to which the updates will be added; `None` for the projection
            itself.

    Returns:
        Parameters in the ball, or updates whose sum with `before` is.
    """
    leaves, tree = jax.tree.flatten(params)
    found = list(leaves)
    steps = leaves if before is None else jax.tree.leaves(before)
    for names in _groups(params, centre):
        points, centres, starts = (
            tuple(side[i] for i in names)
            for side in (leaves, jax.tree.leaves(centre), steps)
        )

        def updates(arrays, starts=starts):
            return tuple(a - s for a, s in zip(arrays, starts, strict=True))

        def realised(arrays, starts=starts):
            moved = updates(arrays, starts)
            return tuple(s + u for s, u in zip(starts, moved, strict=True))

        rounding = {} if before is None else {"realised": realised}
        kept = shrunk(points, centres, radius, _norms, axis=0, **rounding)
        for i, array in zip(
            names, kept if before is None else updates(kept), strict=True
        ):
            found[i] = array
    return jax.tree.unflatten(tree, found)


def _norms(arrays: tuple[Array, ...]) -> Float[Array, " m"]:
    """Norms of vectors whose entries are spread over arrays, all but the last axis.

    Where squares overflow a unit is outside, and where they vanish it is inside.

    Args:
        arrays: Arrays whose last axes count the same vectors.

    Returns:
        One norm per vector.
    """
    return jnp.sqrt(functools.reduce(jnp.add, map(_squares, arrays)))


def _squares(array: Array, centre: Array | None = None) -> Float[Array, " m"]:
    """Sums of squares over all axes but the last, less a centre's entries if given.

    Row after row where there are many: on a CPU a sum over the first axis of a large
    matrix takes ten times longer.

    Args:
        array: The array.
        centre: Another of its shape.

    Returns:
        One sum for every entry of the last axis.
    """
    both = [array] if centre is None else [array, centre]
    rows = [jnp.reshape(a, (-1, a.shape[-1])) for a in both]

    def square(entries: list[Array]) -> Array:
        return jnp.square(functools.reduce(jnp.subtract, entries))

    if array.size < MANY:
        return jnp.sum(square(rows), axis=0)
    start = jnp.zeros_like(array, shape=array.shape[-1:])
    total, _ = jax.lax.scan(lambda t, row: (t + square(row), None), start, rows)
    return total


def _units(params: Params, centre: Params) -> list[tuple[tuple[Array, ...], ...]]:
    """The arrays of each layer, now and at the start."""
    now, then = jax.tree.leaves(params), jax.tree.leaves(centre)
    return [
        (tuple(now[i] for i in names), tuple(then[i] for i in names))
        for names in _groups(params, centre)
    ]


def _groups(params: Params, centre: Params) -> list[list[int]]:
    """Positions of the leaves that belong to the units of one layer."""
    paths, tree = jax.tree.flatten_with_path(params)
    others = jax.tree.leaves(centre)
    shapes = [leaf.shape for _, leaf in paths], [leaf.shape for leaf in others]
    if jax.tree.structure(centre) != tree or shapes[0] != shapes[1] or not paths:
        raise ValueError(
            "`LazyBall` needs parameters of one network, of the shapes at its start. "
            f"Got {shapes[0]} and {shapes[1]}. Take one seed at a time, or `jax.vmap`."
        )
    groups: dict[Any, list[int]] = {}
    for i, (path, leaf) in enumerate(paths):
        if leaf.ndim == 0:
            raise ValueError("`LazyBall` needs weights in arrays. Got a single number.")
        groups.setdefault((path[:-1], leaf.shape[-1]), []).append(i)
    return list(groups.values())
