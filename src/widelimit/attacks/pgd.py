"""Projected gradient descent: many steps, pulled back into the ball."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_one_of
from widelimit.attacks.base import AbstractAttack, Found, Value, check_step
from widelimit.attacks.steps import RULES, Rule, losses_and_gradients, steepest
from widelimit.balls import Norm, Numbers, chosen, nearest, per_row

LATE = 0.1  # the last part of the steps, which should not bring much any more
MUCH = 0.01  # share of the whole rise of the loss


class PGD(AbstractAttack):
    r"""Projected gradient ascent on the loss, within a ball (Madry et al., 2018).

    $$x_{k+1} = \Pi\left(x_k + \alpha\,\frac{g}{\|g\|_2}\right), \quad
      g = \nabla_x \ell(f(x_k), y),$$

    and $\mathrm{sign}(g)$ in the $\ell_\infty$ ball; $\Pi$ projects onto the ball, then
    the box. The best point of all steps and restarts is returned. wang2022, Algorithm
    1, has 100 steps of $\alpha = 2.5 R / 100$; as printed it adds $\alpha g$ itself
    (`rule="raw"`), whose steps are short where the network is sure.

    Attributes:
        radius: $R$, in the units of the inputs: one number, or one per input.
        norm: `"l2"` or `"linf"`.
        steps: Number of steps.
        step_size: $\alpha$; $2.5 R / \text{steps}$ if `None`.
        restarts: How often to start; the first time at the input, unless
            `random_start`, then at random points of the ball.
        random_start: Whether the first start is random too.
        rule: `"normalized"` or `"raw"`.
        low: Smallest allowed entry of a point, such as 0 for pixels.
        high: Largest allowed entry.

    References:
        Madry et al. (2018), https://arxiv.org/abs/1706.06083
    """

    radius: Numbers
    norm: Norm = eqx.field(static=True, default="l2")
    steps: int = eqx.field(static=True, default=100)
    step_size: Numbers | None = None
    restarts: int = eqx.field(static=True, default=1)
    random_start: bool = eqx.field(static=True, default=False)
    rule: Rule = eqx.field(static=True, default="normalized")
    low: float | None = None
    high: float | None = None

    def search(
        self, value: Value, x: Float[Array, "n *s"], keys: Key[Array, " n"]
    ) -> Found:
        size = self.step_size
        if size is None:
            size = 2.5 * jnp.asarray(self.radius, x.dtype) / self.steps

        def step(points, best):
            losses, gradients = losses_and_gradients(value, points)
            best = _better(best, losses, points)
            move = per_row(size, x) * steepest(gradients, self.norm, self.rule)
            points = nearest(points + move, x, self.radius, self.norm)
            return self.into_box(points), best

        def climb(_, state, /):
            return step(*state)

        def run(carry, restart):
            best, rising = carry
            start = self._start(x, keys, restart)
            early = self.steps - max(1, round(LATE * self.steps))
            points, before = jax.lax.fori_loop(0, early, climb, (start, nothing))
            points, own = jax.lax.fori_loop(early, self.steps, climb, (points, before))
            own = _better(own, value(points), points)
            first = value(start)
            late = own[0] - before[0] > MUCH * (own[0] - first)
            rising = jnp.where(own[0] > best[0], late, rising)
            losses, points, undefined = own
            best = _better(best, losses, points)
            return ((best[0], best[1], best[2] | undefined), rising), None

        no = jnp.zeros(len(x), bool)
        nothing = jnp.full(len(x), -jnp.inf, x.dtype), x, no
        (best, rising), _ = jax.lax.scan(run, (nothing, no), jnp.arange(self.restarts))
        return Found(best[1], rising, best[2])

    def _start(self, x: Array, keys: Array, restart: Array) -> Array:
        """The input, or a random point of the ball."""
        if self.restarts == 1 and not self.random_start:
            return x
        drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, restart)
        shape = x.shape[1:]
        if self.norm == "linf":

            def draw(key):
                return jax.random.uniform(key, shape, x.dtype, -1.0, 1.0)

            away = jax.vmap(draw)(drawn)
        else:
            gaussian = jax.vmap(lambda key: jax.random.normal(key, shape, x.dtype))
            share = jax.vmap(
                lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (), x.dtype)
            )(drawn)
            away = steepest(gaussian(drawn), "l2", "normalized")
            away = away * per_row(share ** (1 / x[0].size), x)
        points = x + per_row(self.radius, x) * away
        points = self.into_box(nearest(points, x, self.radius, self.norm))
        return points if self.random_start else jnp.where(restart == 0, x, points)

    def check(self, caller: str) -> None:
        super().check(caller)
        check_count(caller, "steps", self.steps, 1)
        check_count(caller, "restarts", self.restarts, 1)
        check_one_of(caller, "rule", self.rule, RULES)
        if self.step_size is not None:
            check_step(caller, "step_size", self.step_size)


def _better(
    best: tuple[Array, Array, Array],
    losses: Float[Array, " n"],
    points: Float[Array, "n *s"],
) -> tuple[Array, Array, Array]:
    """The larger losses with their points, and where a loss was NaN, never larger."""
    more = losses > best[0]
    return (
        jnp.where(more, losses, best[0]),
        chosen(more, points, best[1]),
        best[2] | jnp.isnan(losses),
    )
