"""Optimizers that keep a network in the lazy ball."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from widelimit._checks import check_count, check_positive
from widelimit.layers import Params
from widelimit.training.lazy_ball import check_lazy_radius, projected


class LazyProjectionState(NamedTuple):
    """What the projection remembers: where training started, and the step."""

    centre: Params
    step: Array


def lazy_projection(
    radius: float | Float[Array, ""], *, every: int = 1
) -> optax.GradientTransformationExtraArgs:
    r"""An Optax transformation that keeps the network in a lazy ball.

    Put it last: `optax.chain(optax.sgd(0.1), lazy_projection(radius))`. The centre is
    what the optimizer was initialised with. What `optax.apply_updates` then gives is in
    the ball to the last bit.

    Args:
        radius: $V$ of $B_{2,\infty}(W_0, V)$.
        every: Steps from one projection to the next; the number of an epoch's steps
            projects where Algorithm 1 of wang2022 does, behind the epoch.

    Returns:
        The transformation.

    Raises:
        ValueError: If a number is out of range.
    """
    check_lazy_radius("lazy_projection", radius)
    check_count("lazy_projection", "every", every, 1)

    def init(params: Params) -> LazyProjectionState:
        return LazyProjectionState(params, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **_):
        if params is None:
            raise ValueError(
                "`lazy_projection` needs the parameters in `update`. Got none. Call "
                "`optimizer.update(gradient, state, params)`."
            )
        step = state.step + 1
        kept = jax.lax.cond(
            step % every == 0,
            lambda: projected(
                optax.apply_updates(params, updates), state.centre, radius, params
            ),
            lambda: updates,
        )
        return kept, LazyProjectionState(state.centre, step)

    return optax.GradientTransformationExtraArgs(init, update)


def projected_sgd(
    learning_rate: float, radius: float | None, *, every: int = 1
) -> optax.GradientTransformation:
    """SGD in a lazy ball, of any rate and radius in one program.

    The same as `optax.chain(optax.sgd(...), lazy_projection(...))`, which is equal to
    no other and makes `train` compile anew for every rate and radius. Here both are
    arrays, which share one program.

    Args:
        learning_rate: The rate.
        radius: $V$ of the ball; `None` for no projection.
        every: Steps from one projection to the next.

    Returns:
        The transformation.

    Raises:
        ValueError: If a number is out of range.
    """
    check_positive("projected_sgd", "learning_rate", learning_rate)
    check_count("projected_sgd", "every", every, 1)
    if radius is not None:
        check_lazy_radius("projected_sgd", radius)
    return optax.GradientTransformationExtraArgs(
        _stateless if radius is None else _started,
        _ProjectedStep(
            jnp.asarray(learning_rate, float),
            None if radius is None else jnp.asarray(radius, float),
            every,
        ),
    )


class _ProjectedStep(eqx.Module):
    """The update of `projected_sgd`, whose numbers are arrays."""

    rate: Float[Array, ""]
    radius: Float[Array, ""] | None
    every: int = eqx.field(static=True)

    def __call__(self, updates: Any, state: Any, params: Any = None, **_: Any) -> Any:
        updates = jax.tree.map(lambda g: -self.rate.astype(g.dtype) * g, updates)
        if self.radius is None:
            return updates, state
        radius = self.radius.astype(jax.tree.leaves(updates)[0].dtype)
        project = lazy_projection(radius, every=self.every)
        return project.update(updates, state, params)


def _stateless(params: Params) -> optax.EmptyState:
    return optax.EmptyState()


def _started(params: Params) -> LazyProjectionState:
    return LazyProjectionState(params, jnp.zeros((), jnp.int32))
