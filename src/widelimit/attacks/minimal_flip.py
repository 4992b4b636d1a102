"""The smallest step along the gradient that flips a prediction."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from widelimit._checks import (
    check_count,
    check_finite,
    check_fits_type,
    check_number,
    check_positive,
    finite_inputs,
)
from widelimit.attacks.crossing import (
    Along,
    Crossing,
    bracketed_crossing,
    place_behind,
    rounding,
)
from widelimit.attacks.flip import FlipStatus, MinimalFlip
from widelimit.attacks.kinks import Kinks
from widelimit.attacks.margins import lead, margin, rival_of, side_of
from widelimit.attacks.ray import deep_crossing, first_crossing
from widelimit.attacks.two_layer import activation_at, along
from widelimit.balls import per_row
from widelimit.kernels.empirical_checks import (
    check_function,
    check_params,
    params_dtype,
)
from widelimit.kernels.jacobian_products import cost_of
from widelimit.layers import AbstractLayer, Params
from widelimit.layers.evaluation import evaluating

CALLER = "minimal_flip"
ROWS = 256  # inputs at a time beyond which nothing is gained
MEMORY = 2**28  # bytes for them
COPIES = 3  # of what a forward pass reads and writes for a row

Function = Callable[[Any, Any], Any]


def minimal_flip(
    apply: AbstractLayer | Function,
    params: Params,
    x: ArrayLike,
    *,
    max_distance: float,
    threshold: float = 0.0,
    exact: bool | None = None,
    points: int = 100,
    tolerance: float = 1e-6,
) -> MinimalFlip:
    r"""Smallest step along the input gradient that flips each prediction.

    With one output, the smallest $|\eta|$ such that $\delta = \eta \nabla f(x)$ changes
    its sign, $f(x)\,f(x + \delta) < 0$ (wang2022, Sec. 5.1, which prints $\nabla_w$ for
    the gradient by the input). The step goes to where $f$ falls in size at first,
    $\eta$ of the sign of $-f(x)$. With several outputs the gradient is that of the
    margin $f_\text{top} - f_\text{second}$, both chosen at $x$, and a flip is a change
    of the largest output, to whichever other.

    A network with one layer of ReLU units (or leaky ones, or absolute values), affine
    layers around it and one output is piecewise linear along the ray: its first
    crossing is found **exactly**, up to the rounding of one evaluation. In float32 that
    is some 1e-7 of $\sum_s |a_s \sigma(w_s^\top x)|$, divided by the gradient norm.
    A touch of zero, or a stretch at zero, that rounding cannot tell from a crossing is
    passed over if a crossing beyond rounding is behind it.
    Anything else is evaluated at `points` distances and **bisected** at the first that
    flips. A flip and a flip back between two of these distances are missed, so the
    distance is then an upper bound of the smallest one.

    Each input is attacked by itself: the function must treat rows apart.

    Args:
        apply: Description of a network, or a function of parameters and a batch that
            JAX can compile, such as `training.Linearised`.
        params: Its parameters.
        x: Inputs, one per row, of any shape.
        max_distance: Largest $\|\delta\|$ that is tried, in the units of `x`. Inputs
            that do not flip within it are censored, not dropped.
        threshold: What the one output must cross. Outputs of regression have no sign:
            give the level that matters to you.
        exact: Whether to find first crossings exactly; by default if it is possible.
        points: Distances to bracket at, geometric from 1e-6 of `max_distance`.
        tolerance: Relative length of the last bracket.

    Returns:
        Distances, steps, adversarial points and what became of each input. Adversarial
        points are 1e-6 of the distance behind the crossing, or as much more as the
        output's rounding asks for.

    Raises:
        ValueError: If an argument is out of range, the parameters do not fit, or
            `exact` is asked of a network that is not of that kind.

    Example:
        >>> w = jnp.array([[3.0], [4.0]])
        >>> x = jnp.array([[1.0, 1.0]])
        >>> flip = minimal_flip(lambda w, x: x @ w, w, x, max_distance=5.0)
        >>> float(flip.distance[0])  # 7 / 5
        1.40000...

    References:
        Wang et al. (2022), Sec. 5.1, https://arxiv.org/abs/2207.00411
    """
    check_positive(CALLER, "max_distance", max_distance)
    check_number(CALLER, "threshold", threshold)
    check_finite(CALLER, "threshold", threshold)
    check_count(CALLER, "points", points, 1)
    check_positive(CALLER, "tolerance", tolerance)
    dtype = params_dtype(CALLER, params) if jax.tree.leaves(params) else None
    rows = finite_inputs(CALLER, "x", x, dtype or jnp.result_type(float).name)
    for name, value in {"max_distance": max_distance, "threshold": threshold}.items():
        check_fits_type(CALLER, name, value, rows.dtype)
    if isinstance(apply, AbstractLayer):
        check_params(CALLER, apply, params, rows.shape[1:])
    row = jax.ShapeDtypeStruct((1, *rows.shape[1:]), rows.dtype)
    with evaluating(CALLER):
        check_function(apply, params, row, CALLER)
    outputs = jax.eval_shape(apply, params, row).size
    _check_outputs(outputs, threshold)
    possible = outputs == 1 and activation_at(apply) is not None
    if exact and not possible:
        raise ValueError(
            f"`{CALLER}` needs a network of one rectifier layer between affine ones, "
            f"with one output, for `exact=True`. Got {apply!r} with {outputs} outputs. "
            "Leave `exact` out to bracket and bisect."
        )
    settings = [
        jnp.asarray(v, rows.dtype) for v in (max_distance, threshold, tolerance)
    ]
    settings.append(jnp.asarray(points))
    side = min(_rows_at_once(apply, params, row), len(rows))
    exactly = possible and exact is not False
    blocks, done = [], 0
    while done < len(rows):
        # The last block overlaps the one before it: one shape, one program.
        start = min(done, len(rows) - side)
        block = jnp.asarray(rows[start : start + side])
        new = _flip(apply, params, block, *settings, exact=exactly)
        blocks.append({name: leaf[done - start :] for name, leaf in new.items()})
        done = start + side
    whole = {name: jnp.concatenate([b[name] for b in blocks]) for name in blocks[0]}
    return MinimalFlip(**whole, max_distance=float(max_distance), exact=exactly)


@eqx.filter_jit
def _flip(
    apply: AbstractLayer | Function,
    params: Params,
    x: Float[Array, "n *s"],
    max_distance: Float[Array, ""],
    threshold: Float[Array, ""],
    tolerance: Float[Array, ""],
    points: Int[Array, ""],
    *,
    exact: bool,
) -> dict[str, Array]:
    """The arrays of `MinimalFlip` for a block."""

    def outputs(x):
        return jnp.reshape(apply(params, x), (len(x), -1)) - threshold

    # On GPUs products are rounded to 10 bits by default, too few for a crossing.
    with jax.default_matmul_precision("highest"):
        y = outputs(x)
        side = side_of(y)
        value, rival = margin(y, side), rival_of(y, side)
        gradient = jax.grad(lambda x: jnp.sum(lead(outputs(x), side, rival)))(x)
        norm, direction = _unit(-gradient)

        def at(t):
            return x + per_row(t, x) * direction

        def h(t):
            return margin(outputs(at(t)), side)

        limit = jnp.full_like(value, max_distance)
        least = 2 * jnp.finfo(x.dtype).eps
        if exact:
            sign = side.astype(x.dtype)
            kinks = along(apply, params, x, direction, sign, threshold)
            crossing = first_crossing(kinks, value, limit)
            # Terms grow along the ray, and their rounding with them.
            there = jnp.where(crossing.found, crossing.place, 0.0)
            noise = least * jnp.maximum(kinks.size(), kinks.size(there))
            behind, served = place_behind(h, crossing, noise=noise, slope=norm)
            crossing, behind, served = _past_touches(
                h, kinks, value, limit, norm, (crossing, behind, served)
            )
        else:
            crossing = bracketed_crossing(h, limit, points=points, tolerance=tolerance)
            straight = value / jnp.where(norm > 0, norm, 1.0)
            noise = least * jnp.max(jnp.abs(y), 1) + rounding(h, straight)
            behind, served = place_behind(h, crossing, noise=noise, slope=norm)

    finite = jnp.isfinite(value) & jnp.isfinite(norm) & crossing.finite
    cases = {
        FlipStatus.NOT_FINITE: ~finite,
        FlipStatus.ON_BOUNDARY: value == 0,
        FlipStatus.VANISHING_GRADIENT: norm == 0,
        FlipStatus.FLIPPED: crossing.found & served,
        FlipStatus.UNCONFIRMED: crossing.found,
    }
    status = jnp.select(list(cases.values()), list(cases), FlipStatus.CENSORED)
    distance = jnp.where(value == 0, 0.0, jnp.where(finite, crossing.place, jnp.nan))
    step = distance / jnp.where(norm > 0, norm, 1.0)
    return {
        "step": jnp.where((norm == 0) & (value != 0), jnp.inf, step),
        "distance": distance,
        "gradient_norm": norm,
        "value": y[:, 0] if y.shape[1] == 1 else value,
        "input_norm": _unit(x)[0],
        "adversarial": at(jnp.where(status == FlipStatus.FLIPPED, behind, 0.0)),
        "status": status,
    }


def _past_touches(
    h: Along,
    kinks: Kinks,
    value: Float[Array, " n"],
    limit: Float[Array, " n"],
    slope: Float[Array, " n"],
    found: tuple[Crossing, Float[Array, " n"], Bool[Array, " n"]],
) -> tuple[Crossing, Float[Array, " n"], Bool[Array, " n"]]:
    """Crossings behind those that no point near them confirms, where there are any."""
    touch, point, served = found
    least = 2 * jnp.finfo(value.dtype).eps
    noise = least * kinks.full_size()
    by = point - touch.place
    # A point far behind the negative stretch may belong to another crossing.
    far = (point > touch.end) & (by > 1e-4 * touch.place) & (by * slope > 32 * noise)
    open_ = touch.found & touch.finite & (~served | far)

    def search(found):
        noise = least * jnp.maximum(kinks.full_size(), kinks.size(touch.place))
        start = jnp.where(open_, value, jnp.nan)  # ends the others at once
        deep = deep_crossing(kinks, start, limit, noise=noise)
        noise = jnp.maximum(noise, least * kinks.size(deep.place))
        behind, served = place_behind(h, deep, noise=noise, slope=slope)
        new = open_ & served
        return jax.tree.map(
            lambda new_, old: jnp.where(new, new_, old), (deep, behind, served), found
        )

    return jax.lax.cond(jnp.any(open_), search, lambda found: found, found)


def _unit(v: Float[Array, "n *s"]) -> tuple[Float[Array, " n"], Float[Array, "n *s"]]:
    """Norms and directions (0 of 0), without overflow of squares."""
    axes, ones = tuple(range(1, v.ndim)), (-1,) + (1,) * (v.ndim - 1)
    size = jnp.max(jnp.abs(v), axis=axes)
    some = jnp.where(size > 0, size, 1.0)
    v = v / some.reshape(ones)
    root = jnp.sqrt(jnp.sum(v * v, axis=axes))
    return some * root, v / jnp.where(root > 0, root, 1.0).reshape(ones)


def _check_outputs(outputs: int, threshold: float) -> None:
    if outputs > 1 and threshold:
        raise ValueError(
            f"`{CALLER}` needs one output for a `threshold`. Got `threshold="
            f"{threshold}` and {outputs} outputs, which are compared with each other. "
            "Attack one output at a time."
        )


def _rows_at_once(
    apply: AbstractLayer | Function, params: Params, row: jax.ShapeDtypeStruct
) -> int:
    bytes_of_row = COPIES * cost_of(apply, params, row).activations
    return max(min(int(MEMORY / bytes_of_row), ROWS), 1)
