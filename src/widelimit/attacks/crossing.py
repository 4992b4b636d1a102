"""Where functions of a distance first turn negative, and points safely behind it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Along = Callable[[Float[Array, " n"]], Float[Array, " n"]]
DECADES = 6.0  # that the grid of bracketing points spans


class Crossing(eqx.Module):
    """Where functions first turn negative.

    Attributes:
        found: Whether they do, within the range.
        place: Infimum of the places where they are negative, or a bound of it from
            above; the range if there is none.
        end: A place up to which they are known to stay negative.
        finite: Whether all values that were needed are numbers.
    """

    found: Bool[Array, " n"]
    place: Float[Array, " n"]
    end: Float[Array, " n"]
    finite: Bool[Array, " n"]


def bracketed_crossing(
    h: Along,
    limit: Float[Array, " n"],
    *,
    points: Int[Array, ""],
    tolerance: Float[Array, ""],
) -> Crossing:
    r"""A crossing by bracketing and bisection, for all functions at once.

    The functions are evaluated at $T \cdot 10^{-6 (1 - k / K)}$, $k = 1 \ldots K$, up
    to the first negative value, and the interval in front of it is halved. A function
    that turns negative and back between two of these points is not seen to do so.

    Args:
        h: The functions, not negative at 0, each at its own place.
        limit: $T$.
        points: $K$.
        tolerance: Length of the last interval over its right end.

    Returns:
        The crossings; the place is negative, as is the end, which is the same.
    """

    def advance(state):
        k, low, high, found, finite = state
        left = ((points - k) / points).astype(limit.dtype)
        place = limit * 10.0 ** (-DECADES * left)
        value = h(place)
        negative = value < 0
        finite &= found | ~jnp.isnan(value)
        high = jnp.where(found, high, place)
        low = jnp.where(found | negative, low, place)
        return k + 1, low, high, found | negative, finite

    zero, no = jnp.zeros_like(limit), limit < 0
    _, low, high, found, finite = jax.lax.while_loop(
        lambda s: (s[0] <= points) & ~jnp.all(s[3]),
        advance,
        (jnp.ones_like(points), zero, limit, no, ~no),
    )

    def unfinished(low, high):
        middle = low + (high - low) / 2
        wide = high - low > tolerance * high
        return found & wide & (low < middle) & (middle < high)

    def halve(state):
        low, high = state
        middle = low + (high - low) / 2
        negative = h(middle) < 0
        go = unfinished(low, high)
        high = jnp.where(go & negative, middle, high)
        return jnp.where(go & ~negative, middle, low), high

    low, high = jax.lax.while_loop(
        lambda s: jnp.any(unfinished(*s)), halve, (low, high)
    )
    place = jnp.where(found, high, limit)
    return Crossing(found=found, place=place, end=place, finite=finite)


def rounding(h: Along, scale: Float[Array, " n"]) -> Float[Array, " n"]:
    """How far rounding moves values, from those at points on a short straight line.

    Args:
        h: The functions.
        scale: Distance over which they are nearly straight.

    Returns:
        Twice the largest of a few second differences over thousandths of the scale.
    """
    values = jnp.stack([h(scale * (k * 1e-3)) for k in range(5)])
    return 2 * jnp.max(jnp.abs(jnp.diff(values, n=2, axis=0)), 0)


def place_behind(
    h: Along,
    crossing: Crossing,
    *,
    noise: Float[Array, " n"],
    slope: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Bool[Array, " n"]]:
    """Places just behind crossings where functions are negative beyond rounding.

    The first try is 1e-6 of the crossing behind it, or as much more as rounding asks
    for, but not behind the end of what is known to be negative; the next ones are
    farther, up to 1 % of the crossing or 1000 times what rounding asks for.

    Args:
        h: The functions.
        crossing: The crossings.
        noise: Rounding of the values.
        slope: Size of the functions' slopes, roughly.

    Returns:
        The places, and whether they serve.
    """
    eps = jnp.finfo(noise.dtype).eps
    place = crossing.place
    needed = noise / jnp.where(slope > 0, slope, 1.0)
    most = jnp.maximum(1e-2 * place, 1000 * needed)
    first = jnp.maximum(1e-6 * place, 4 * needed)
    first = jnp.minimum(first, jnp.maximum(crossing.end - place, 0.0))

    def serves(by):
        return h(place + by) < -noise

    def farther(state):
        by, served = state
        more = jnp.maximum(4 * by, jnp.maximum(4 * eps * place, needed))
        by = jnp.where(served, by, jnp.minimum(more, most))
        return by, served | serves(by)

    by, served = jax.lax.while_loop(
        lambda s: jnp.any(crossing.found & ~s[1] & (s[0] < most)),
        farther,
        (first, serves(first)),
    )
    return place + by, served & crossing.found
