"""The smallest radius at which an attack flips each prediction, by bisection."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from widelimit._checks import check_count, check_positive
from widelimit.attacks.arguments import Apply, check_method, check_per_row, rows_of
from widelimit.attacks.base import AbstractAttack, check_step
from widelimit.attacks.call import checked_call
from widelimit.attacks.crossing import bracketed_crossing, place_behind, rounding
from widelimit.attacks.flip import AbstractFlips, FlipStatus
from widelimit.balls import chosen, inside, per_row, sizes
from widelimit.layers import Params
from widelimit.losses import LOSSES, LossName, margin

CALLER = "smallest_radius"
LINE = 1e-6  # relative length of the last interval on the way back to the input
ROUNDS = 100  # attacks at most, for an input that is on the boundary up to rounding


class SmallestRadius(AbstractFlips):
    r"""The nearest flip that an attack found, for every input.

    Attributes:
        distance: Of the nearest adversarial point found from the input, in the attack's
            norm; an upper bound of the distance of the nearest there is. Where
            `censored`, it is the largest radius tried: the attack needs more. 0 where
            `WRONG_BEFORE`, NaN if `NOT_FINITE`.
        failed: A radius below the distance at which the attack does not flip, and which
            ends the bisection; 0 if there is none.
        input_norm: $\|x\|_2$.
        adversarial: The points found; `x` itself where there is none.
        status: A `FlipStatus` each.
        max_distance: Largest radius tried.
    """

    distance: Float[Array, " n"]
    failed: Float[Array, " n"]
    input_norm: Float[Array, " n"]
    adversarial: Float[Array, "n *s"]
    status: Int[Array, " n"]
    max_distance: Float[Array, " n"]


def smallest_radius(
    method: AbstractAttack,
    apply: Apply,
    params: Params,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    high: float | Float[Array | np.ndarray, " n"],
    tolerance: float = 1e-3,
    halvings: int = 3,
    loss: LossName = "margin",
    key: Key[Array, ""] | None = None,
    batch_size: int = 1024,
) -> SmallestRadius:
    r"""The smallest radius of its ball at which an attack makes predictions wrong.

    Every input has a radius of its own, bisected from `high` down; all of it is one
    compiled program. A point found is first drawn back on the line to the input, to
    just behind where the prediction changes, and the search goes on below its distance,
    until the attack fails at a radius within `tolerance`.

    An attack that flips at some radius may fail at a larger one, as its steps are
    longer there. Where it fails at `high`, `halvings` halves of it are tried; the
    bisection ends at *a* radius around which the attack turns from failing to flipping,
    not at the least such radius. For the same reason more steps or restarts are not
    guaranteed to give a smaller distance, though they mostly do.

    The radius of `method` itself is not used. A `step_size` or `step` of the attack is
    kept at all radii; `PGD` without one has steps of $2.5 R / \text{steps}$.

    Args:
        method: The attack.
        apply: Outputs for a batch of inputs, as of `attack`.
        params: Its parameters.
        x: Inputs, one per row.
        targets: +1 or -1 in one column, or one-hot rows. Give the model's own
            predictions to ask when they change; give labels, and what is wrong already
            has distance 0.
        high: Largest radius, in the units of `x`: one number, or one per input.
        tolerance: Relative length of the last interval.
        halvings: How many times to halve a radius at which the attack fails first.
        loss: What the attack raises.
        key: For random starts; the same key gives the same points.
        batch_size: Inputs to work on at once.

    Returns:
        Distances, points and what became of each input. Points are inside the ball of
        radius `high` and the box, and the model is wrong at them by more than the
        rounding of its outputs. Inputs that do not flip are censored, not dropped.

    Raises:
        ValueError: If inputs, targets or settings do not fit, an input is outside the
            attack's box, or a batch does not fit into memory.

    Example:
        >>> from widelimit.attacks import PGD
        >>> w = jnp.array([[3.0], [4.0]])
        >>> x, y = jnp.array([[1.0, 1.0]]), jnp.array([[1.0]])
        >>> linear = lambda w, x: x @ w
        >>> found = smallest_radius(PGD(1.0, steps=5), linear, w, x, y, high=5.0)
        >>> float(found.distance[0])  # 7 / 5
        1.40000...
    """
    check_method(CALLER, method)
    check_step(CALLER, "high", high)
    check_per_row(CALLER, "high", high, len(rows_of(CALLER, x)))
    method = eqx.tree_at(
        lambda m: m.radius, method, high, is_leaf=lambda leaf: leaf is None
    )
    check_positive(CALLER, "tolerance", tolerance)
    check_count(CALLER, "halvings", halvings, 0)
    call = checked_call(
        CALLER,
        method,
        apply,
        params,
        x,
        targets,
        loss=loss,
        key=key,
        batch_size=batch_size,
    )
    dtype = call.rows.dtype
    # A bracket cannot be shorter than the rounding of its ends.
    least = max(float(tolerance), 8 * float(jnp.finfo(dtype).eps))
    ends = jnp.asarray(least, dtype), jnp.asarray(halvings)

    def run(method, rows, goals, numbers):
        given = params, rows, goals, numbers, call.key, *ends
        return _search(method, *given, apply=apply, loss=loss)

    return jax.tree.map(jnp.asarray, call.in_blocks(run))


class _State(eqx.Module):
    """How far the bisection has come.

    Attributes:
        low: Radius at which the attack failed, or 0.
        distance: Of the nearest point found; infinite before.
        points: The points found.
        radius: To try next.
        halved: How often it was halved without success.
        round: Attacks made, for their random numbers.
        done: Whether the search is over.
    """

    low: Float[Array, " n"]
    distance: Float[Array, " n"]
    points: Float[Array, "n *s"]
    radius: Float[Array, " n"]
    halved: Int[Array, ""]
    round: Int[Array, ""]
    done: Bool[Array, " n"]


@eqx.filter_jit
def _search(
    method: AbstractAttack,
    params: Any,
    x: Float[Array, "n *s"],
    targets: Float[Array, "n o"],
    numbers: Int[Array, " n"],
    key: Key[Array, ""],
    tolerance: Float[Array, ""],
    halvings: Int[Array, ""],
    *,
    apply: Apply,
    loss: str,
) -> SmallestRadius:
    """The whole search, of one batch."""
    row_keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
    eps = 2 * jnp.finfo(x.dtype).eps

    def value(points):
        return LOSSES[loss](apply(params, points), targets)

    def right_by(points):
        return -margin(apply(params, points), targets)

    def attempt(radius, keys):
        """The nearest wrong points on the lines to those that the attack returns."""
        now = eqx.tree_at(lambda m: m.radius, method, radius)
        points = now.perturb(value, x, keys).points
        far = sizes(points - x, method.norm)
        there = jnp.where(far > 0, far, 1.0)
        direction = (points - x) / per_row(there, x)

        def at(t):
            return method.into_box(x + per_row(t, x) * direction)

        def h(t):
            return right_by(at(t))

        wrong = right_by(points) < 0
        outputs = jnp.max(jnp.abs(apply(params, points)), axis=1)
        noise = eps * outputs + rounding(h, far)
        crossing = bracketed_crossing(
            h, far, points=jnp.asarray(1), tolerance=jnp.asarray(LINE, x.dtype)
        )
        slope = (before - right_by(points)) / there
        behind, served = place_behind(h, crossing, noise=noise, slope=slope)
        nearer = served & (behind < far)
        points = chosen(nearer, at(behind), points)
        points = method.into_box(inside(points, x, radius, method.norm))
        return points, wrong & (right_by(points) < 0)

    def advance(s):
        keys = jax.vmap(lambda k: jax.random.fold_in(k, s.round))(row_keys)
        points, wrong = attempt(s.radius, keys)
        distance = sizes(points - x, method.norm)
        better = wrong & ~s.done & (distance < s.distance)
        nearest = jnp.where(better, distance, s.distance)
        found = jnp.isfinite(nearest)
        # Radii that fail before any has flipped are above the bracket.
        low = jnp.where(~wrong & found & ~s.done, s.radius, s.low)
        radius = jnp.where(found, (low + nearest) / 2, s.radius / 2)
        close = found & (nearest - low <= tolerance * nearest)
        late = ~found & (s.halved >= halvings)
        return _State(
            low=low,
            distance=nearest,
            points=chosen(better, points, s.points),
            radius=jnp.where(s.done, s.radius, radius),
            halved=s.halved + 1,
            round=s.round + 1,
            done=s.done | close | late | (s.round + 1 >= ROUNDS),
        )

    # On GPUs products are rounded to 10 bits by default, too few for a flip.
    with jax.default_matmul_precision("highest"):
        before = right_by(x)
        finite, wrong_before = jnp.isfinite(before), before <= 0
        zero = jnp.zeros_like(before)
        start = _State(
            low=zero,
            distance=zero + jnp.inf,
            points=x,
            radius=method.radius,
            halved=jnp.asarray(0),
            round=jnp.asarray(0),
            done=~finite | wrong_before,
        )
        end = jax.lax.while_loop(lambda s: ~jnp.all(s.done), advance, start)
    cases = {
        FlipStatus.NOT_FINITE: ~finite,
        FlipStatus.WRONG_BEFORE: wrong_before,
        FlipStatus.FLIPPED: jnp.isfinite(end.distance),
    }
    status = jnp.select(list(cases.values()), list(cases), FlipStatus.CENSORED)
    known = jnp.where(status == FlipStatus.FLIPPED, end.distance, method.radius)
    known = jnp.where(wrong_before, 0.0, known)
    return SmallestRadius(
        distance=jnp.where(finite, known, jnp.nan),
        failed=end.low,
        input_norm=sizes(x, "l2"),
        adversarial=end.points,
        status=status,
        max_distance=method.radius,
    )
