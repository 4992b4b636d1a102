"""The attack of wang2022: a single step along the gradient."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from widelimit._checks import check_one_of
from widelimit.attacks.base import AbstractAttack, Found, Value, check_step
from widelimit.attacks.steps import RULES, Rule, losses_and_gradients, steepest
from widelimit.balls import Norm, Numbers, per_row


class GradientStep(AbstractAttack):
    r"""A single gradient step of a given size.

    $$x' = x + \eta\,\nabla_x \ell(f(x), y)$$

    With the loss `margin`, $-y f$, and labels that the network has right, this is the
    step of wang2022, Theorem 3.1, $\delta = -\mathrm{sign}(f)\,\eta \nabla f$.

    Attributes:
        step: $\eta$. In the units of the input with the rule `"normalized"`, of the
            squared input per loss with `"raw"`.
        radius: Points beyond it are pulled back to the ball.
        norm: Norm of the ball, and of the step if it is normalised.
        rule: `"raw"` as in the paper, or `"normalized"`.
        low: Smallest allowed entry of a point.
        high: Largest allowed entry.
    """

    step: Numbers
    radius: Numbers
    norm: Norm = eqx.field(static=True, default="l2")
    rule: Rule = eqx.field(static=True, default="raw")
    low: float | None = None
    high: float | None = None

    def search(
        self, value: Value, x: Float[Array, "n *s"], keys: Key[Array, " n"]
    ) -> Found:
        _, gradients = losses_and_gradients(value, x)
        move = steepest(gradients, self.norm, self.rule)
        return Found(x + per_row(self.step, x) * move, _no(x))

    def check(self, caller: str) -> None:
        super().check(caller)
        check_step(caller, "step", self.step)
        check_one_of(caller, "rule", self.rule, RULES)


def _no(x: Float[Array, "n *s"]) -> Bool[Array, " n"]:
    return jnp.zeros(len(x), bool)
