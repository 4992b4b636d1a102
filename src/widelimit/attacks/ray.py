"""Where a sum of kinks first turns negative along a ray, without sorting the kinks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from widelimit.attacks.crossing import Crossing
from widelimit.attacks.kinks import Kinks


def deep_crossing(
    h: Kinks,
    value: Float[Array, " n"],
    limit: Float[Array, " n"],
    *,
    noise: Float[Array, " n"],
) -> Crossing:
    r"""Where each function crosses zero on its way below rounding, on $[0, T)$.

    It is $h + b$ that first turns negative, with $b$ twice the rounding of $h$. From
    there the line of the last piece leads back to its zero, but not in front of the
    piece, at whose start $h$ is not below $-b$. What only touches zero, or is zero on
    whole pieces, is passed over; a crossing is where the last of this ends.

    Args:
        h: The functions.
        value: Their values at 0, as of `first_crossing`.
        limit: $T$.
        noise: Rounding of the values.

    Returns:
        The crossings.
    """
    lift = 2 * noise
    lifted = eqx.tree_at(lambda h: h.lift, h, lift)
    deep = first_crossing(lifted, value + lift, limit)
    place = jnp.where(deep.found, deep.place, 0.0)
    places = h.places()
    start = jnp.max(jnp.where(places <= place, places, 0.0), 0)
    ahead = deep.end - place
    fall = -lifted.at(deep.end)
    back = jnp.where((fall > 0) & (ahead > 0), lift * _ratio(ahead, fall), 0.0)
    back = jnp.maximum(place - back, start)
    return eqx.tree_at(lambda c: c.place, deep, jnp.where(deep.found, back, limit))


class _Search(eqx.Module):
    """How far the search has come, for each function.

    Attributes:
        low: The function is not negative up to here.
        value: Its value at `low`.
        slope: Its slope there, from the right.
        kink: The first kink behind `low`.
        cap: The search ends here: the range, or a place found to be negative.
        capped: The value at such a place; 0 for the range.
        width: Longest next cell.
        crossing: What is found.
        done: Whether the search is over.
    """

    low: Float[Array, " n"]
    value: Float[Array, " n"]
    slope: Float[Array, " n"]
    kink: Float[Array, " n"]
    cap: Float[Array, " n"]
    capped: Float[Array, " n"]
    width: Float[Array, " n"]
    crossing: Crossing
    done: Bool[Array, " n"]


def first_crossing(
    h: Kinks, value: Float[Array, " n"], limit: Float[Array, " n"]
) -> Crossing:
    r"""Where each function first turns negative on $[0, T)$, exactly.

    The search goes from the left, one cell $[l, r]$ at a time. With $s$ the slope at
    $l$, and $U$ and $D$ the sums of the slope's rises and falls at kinks in the cell,

    $$h(t) \ge h(l) + (s - D)(t - l), \quad h(t) \ge h(r) - (s + U)(r - t).$$

    Where the greater of the two is never negative the cell is passed over; otherwise it
    is made smaller, down to a single straight piece. Cells end where the line from $l$
    has its zero, or the secant once a negative place is known; if the line has its
    zero in front of the next kink, this is the crossing.

    Each step costs a few sums over the units. A function that is nearly straight, as
    those of wide networks are, takes about ten; the worst case is a few steps per
    piece. Values are summed afresh at every step and not carried along the pieces, so
    that a crossing is as accurate as one evaluation of the function, divided by its
    slope. A function that touches 0 and turns back has not crossed it; it is taken for
    one that has if rounding says so.

    Args:
        h: The functions.
        value: Their values at 0, not negative; those that are not finite end at once.
        limit: $T$.

    Returns:
        The crossings; functions are negative from there to the end of the piece.
    """
    places, jumps = h.places(), h.jumps()

    def step(s: _Search) -> _Search:
        newton = s.low + _ratio(s.value, -s.slope)
        straight = (newton < s.kink) & (newton < s.cap)
        right = _next_end(s, newton)

        new = h.at(right)
        # A slope that is all rounding leads nowhere: the piece's end has to agree.
        straight &= ~(new >= 0)
        inside = (places > s.low) & (places <= right)
        rises = jnp.sum(jnp.where(inside & (jumps > 0), jumps, 0.0), 0)
        falls = jnp.sum(jnp.where(inside & (jumps < 0), -jumps, 0.0), 0)
        following = jnp.min(jnp.where(places > right, places, jnp.inf), 0)

        size = right - s.low
        piece = right <= s.kink
        # The bound from the left reaches so far, that from the right goes so far back.
        reach = _ratio(s.value, falls - s.slope) + _ratio(new, s.slope + rises)
        passed = ~straight & (new >= 0) & (piece | (reach >= size))
        # Both ends of a piece say all; rounding may have hidden it from `straight`.
        ends = ~straight & (new < 0) & piece
        between = s.low + size * _ratio(s.value, s.value - new)

        negative = new < 0
        found = (straight | ends) & ~s.done
        crossing = Crossing(
            found=s.crossing.found | found,
            place=jnp.where(
                found, jnp.where(straight, newton, between), s.crossing.place
            ),
            end=jnp.where(found, jnp.minimum(s.kink, s.cap), s.crossing.end),
            finite=s.crossing.finite & (s.done | straight | ~jnp.isnan(new)),
        )
        return _Search(
            low=jnp.where(passed, right, s.low),
            value=jnp.where(passed, new, s.value),
            slope=jnp.where(passed, s.slope + rises - falls, s.slope),
            kink=jnp.where(passed, following, s.kink),
            cap=jnp.where(negative, right, s.cap),
            capped=jnp.where(negative, new, s.capped),
            width=jnp.where(passed, 2 * jnp.maximum(size, s.width), size / 4),
            crossing=crossing,
            done=s.done | found | (passed & (right >= limit)) | ~crossing.finite,
        )

    zero, no = jnp.zeros_like(value), limit < 0
    start = _Search(
        low=zero,
        value=value,
        slope=h.first_slope(),
        kink=jnp.min(places, 0),
        cap=limit,
        capped=zero,
        width=limit,
        crossing=Crossing(found=no, place=limit, end=limit, finite=~no),
        done=~jnp.isfinite(value),
    )
    end = jax.lax.while_loop(lambda s: ~jnp.all(s.done), step, start)
    return end.crossing


def _next_end(s: _Search, newton: Float[Array, " n"]) -> Float[Array, " n"]:
    """Where the next cell ends: on the first piece's end at least, at `cap` at most."""
    drop = s.low + (s.cap - s.low) * _ratio(s.value, s.value - s.capped)
    secant = (s.capped < 0) & (newton >= s.cap)
    guess = jnp.minimum(jnp.where(secant, drop, newton), s.low + s.width)
    return jnp.minimum(jnp.maximum(guess, s.kink), s.cap)


def _ratio(part: Float[Array, " n"], whole: Float[Array, " n"]) -> Float[Array, " n"]:
    """Their ratio; infinity unless the whole is positive."""
    positive = whole > 0
    return jnp.where(positive, part / jnp.where(positive, whole, 1.0), jnp.inf)
