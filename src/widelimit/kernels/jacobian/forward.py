"""Moments of a pair with their mixed derivatives by both inputs, layer by layer."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.jacobian.means import means
from widelimit.kernels.jacobian.partials import AnyPartials, compose, grid, product
from widelimit.kernels.jacobian.plan import Branches, Step, Steps, repetition
from widelimit.layers import Activation, Dense, Moments, Readout, Scale
from widelimit.layers.moments import add

LINEAR = (Dense, Readout, Scale)  # layers whose moments are linear in those before


class State(eqx.Module):
    """Moments, and how they move with the inputs.

    Attributes:
        value: The moments; their tangent kernels in one block.
        cross: Derivatives of `value.cross`.
        ntk: Derivatives of the tangent kernel; `None` where there is none.
        first: Slope of `value.first` in direction 1.
        second: Slope of `value.second` in direction 1'.
        mean_first: Slope of `value.mean_first` in direction 1.
        mean_second: Slope of `value.mean_second` in direction 1'.
    """

    value: Moments
    cross: AnyPartials
    ntk: AnyPartials | None
    first: Float[Array, " n"]
    second: Float[Array, " m"]
    mean_first: Float[Array, " n"] | None = None
    mean_second: Float[Array, " m"] | None = None


def through(steps: Steps, s: State) -> State:
    """The state behind some steps, equal groups of which are one compiled loop.

    Smooth activations are differentiated by Price's theorem, linear layers once, any
    other layer by nested forward-mode differentiation of its `moments`.

    Args:
        steps: The steps, as `steps_of` a network.
        s: The state of the input.

    Returns:
        The state of the output.
    """
    while steps:
        period, times = repetition(steps)
        group = steps[:period]
        if times > 1 and _structure(group, s.value) == _kind(s.value):
            s, _ = jax.lax.scan(
                lambda s, _, group=group: (_in_turn(group, s), None), s, length=times
            )
            steps = steps[period * times :]
        else:
            s, steps = _step(steps[0], s), steps[1:]
    return s


def _in_turn(steps: Steps, s: State) -> State:
    for step in steps:
        s = _step(step, s)
    return s


def _step(step: Step, s: State) -> State:
    if isinstance(step, Activation):
        return _activate(step, s)
    if isinstance(step, Branches):
        held = len(s.value.ntk or ())
        ends = [through(part, s) for part in (step.branch, step.shortcut)]
        return _differentiated(lambda x, y: add(x, y, held), *ends)
    if isinstance(step.layer, LINEAR):
        return _mapped(step.moments, s)
    return _differentiated(step.moments, s)


def _structure(steps: Steps, m: Moments):
    """The kind of moments behind some steps."""

    def moments(steps: Steps, m: Moments) -> Moments:
        for step in steps:
            if isinstance(step, Branches):
                ends = [moments(part, m) for part in (step.branch, step.shortcut)]
                m = add(ends[0], ends[1], len(m.ntk or ()))
            elif isinstance(step, Activation) and step.function.smooth:
                # All but the means keeps its shape: no need to trace the duals.
                step.check(m)
                b1, b2 = map(step.function.mean, (m.first, m.second))
                m = m.replace(mean_first=b1, mean_second=b2, gaussian=False)
            else:
                m = step.moments(m)
        return m

    return _kind(jax.eval_shape(functools.partial(moments, steps), m))


def _kind(m: Moments):
    leaves, structure = jax.tree.flatten(m)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _activate(layer: Activation, s: State) -> State:
    phi, m = layer.function, s.value
    if not phi.smooth:  # its second derivatives are infinite one by one
        return _differentiated(layer.moments, s)
    layer.check(m)
    p, q = m.variances()
    slopes = s.first[:, None], s.second[None, :]
    found = means(phi, m.cross, p, q)
    ntk, cross = None, compose(found.dual(), s.cross, *slopes)
    if s.ntk is not None:
        assert m.ntk
        bend = found.dual_derivative()
        ntk = product(bend.value, compose(bend, s.cross, *slopes), m.ntk[0], s.ntk)
    first, second = _with_slopes(phi.second_moment, s)
    mean_first, mean_second = _with_slopes(phi.mean, s)
    return State(
        value=m.replace(
            cross=found.m00,
            first=first[0],
            second=second[0],
            mean_first=mean_first[0],
            mean_second=mean_second[0],
            ntk=m.ntk and (found.m11 * m.ntk[0],),
            gaussian=False,
        ),
        cross=cross,
        ntk=ntk,
        first=first[1],
        second=second[1],
        mean_first=mean_first[1],
        mean_second=mean_second[1],
    )


def _with_slopes(f: Callable[[Array], Any], s: State) -> Any:
    # A function of the variances of both batches, each with its slope; in one piece,
    # which is quicker to compile than two.
    n = len(s.first)
    v, slope = (
        jnp.concatenate(pair)
        for pair in ((s.value.first, s.value.second), (s.first, s.second))
    )
    found = jax.jvp(f, (v,), (slope,))
    return tuple(
        tuple(None if z is None else z[part] for z in found)
        for part in (slice(None, n), slice(n, None))
    )


def _differentiated(f: Callable[..., Moments], *states: State) -> State:
    """Any function of moments, by nested forward mode in every pair of directions."""
    values = tuple(s.value for s in states)

    def by(x: tuple[Moments, ...], y: tuple[Moments, ...], xy: tuple[Moments, ...]):
        def inner(values, x):
            return jax.jvp(f, values, x)

        (out, out_x), (out_y, out_xy) = jax.jvp(inner, (values, x), (y, xy))
        return out, out_x, out_y, out_xy

    def mixed(i: int, j: int):
        return by(
            tuple(_moved(s, "x", i) for s in states),
            tuple(_moved(s, "y", j) for s in states),
            tuple(_moved(s, "xy", i, j) for s in states),
        )

    table = grid(mixed)
    out, along_x, along_y, _ = table[0][0]
    still = tuple(_still(s) for s in states)
    across = None
    if states[0].cross.across is not None:
        across = by(still, still, tuple(_moved(s, "across") for s in states))[3]
    of = states[0].cross.of

    def partials(read: Callable[[Moments], Array]) -> AnyPartials:
        return of(
            (read(table[0][0][1]), read(table[1][0][1])),
            (read(table[0][0][2]), read(table[0][1][2])),
            grid(lambda i, j: read(table[i][j][3])),
            None if across is None else read(across),
        )

    return State(
        value=out,
        cross=partials(lambda m: m.cross),
        ntk=partials(lambda m: m.ntk[0]) if out.ntk else None,  # pyright: ignore[reportOptionalSubscript]
        first=along_x.first,
        second=along_y.second,
        mean_first=along_x.mean_first,
        mean_second=along_y.mean_second,
    )


def _mapped(f: Callable[[Moments], Moments], s: State) -> State:
    """A linear map of moments, plus a constant: derivatives follow the map alone."""
    out, push = jax.linearize(f, s.value)

    def moved(*direction: Any) -> Moments:
        return push(_moved(s, *direction))

    x, y = ([moved(group, i) for i in range(2)] for group in ("x", "y"))
    xy = grid(lambda i, j: moved("xy", i, j))
    across = None if s.cross.across is None else moved("across")

    def partials(read: Callable[[Moments], Array]) -> AnyPartials:
        return s.cross.of(
            (read(x[0]), read(x[1])),
            (read(y[0]), read(y[1])),
            grid(lambda i, j: read(xy[i][j])),
            None if across is None else read(across),
        )

    return State(
        value=out,
        cross=partials(lambda m: m.cross),
        ntk=partials(lambda m: m.ntk[0]) if out.ntk else None,  # pyright: ignore[reportOptionalSubscript]
        first=x[0].first,
        second=y[0].second,
        mean_first=x[0].mean_first,
        mean_second=y[0].mean_second,
    )


def _still(s: State) -> Moments:
    return jax.tree.map(jnp.zeros_like, s.value)


def _moved(s: State, group: str, *direction: int) -> Moments:
    """The tangent of a state's moments in one direction, or in two."""

    def entry(partials: AnyPartials) -> Any:
        found = getattr(partials, group)
        for i in direction:
            found = found[i]
        return found

    changes: dict[str, Any] = {"cross": entry(s.cross)}
    if s.ntk is not None:
        changes["ntk"] = (entry(s.ntk),)
    if (group, direction) == ("x", (0,)):
        changes |= {"first": s.first, "mean_first": s.mean_first}
    if (group, direction) == ("y", (0,)):
        changes |= {"second": s.second, "mean_second": s.mean_second}
    return _still(s).replace(**changes)
