"""Lemmas A.5, B.5 and C.5: how far gradient descent moves the weights."""

import math
from dataclasses import dataclass

from widelimit._checks import check_at_least, check_finite
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.du2019.architectures import AbstractArchitecture
from widelimit.bounds.du2019.checks import above_zero, divide
from widelimit.bounds.du2019.perturbation import stable_radius


@dataclass(frozen=True, kw_only=True)
class WeightMovement(Bound):
    r"""How far every weight matrix moves at most, in all and in a step.

    Args:
        first_radius: $R'$ of the first layer.
        later_radius: $R'$ of the layers after it: the paper's.
        first_step_factor: $Q'(s) / \|y - u(s)\|_2$ of the first layer.
        later_step_factor: That of the layers after it: the paper's.
        largest_radius: The $R$ up to which the proof's conditions hold.
        gram_radius: The $R$ up to which moreover $\|G^{(H)}(k) - G^{(H)}(0)\|_2 \le
            \lambda_0 / 4$.
        movement_width: Width from which `value` is at most `largest_radius`.
        gram_width: Width from which `value` is at most `gram_radius`: what the first
            terms in the theorems' required widths stand for.
    """

    first_radius: float
    later_radius: float
    first_step_factor: float
    later_step_factor: float
    largest_radius: float
    gram_radius: float
    movement_width: float
    gram_width: float


def weight_movement(
    architecture: AbstractArchitecture,
    *,
    samples: int,
    lambda_0: float,
    width: int,
    residual_norm: float,
) -> WeightMovement:
    r"""Lemmas A.5, B.5, C.5: the radius $R'$ within which all weights stay.

    As long as the loss has fallen as in Condition 6.1,

    $$\frac{\|W^{(h)}(s) - W^{(h)}(0)\|_F}{\sqrt m} \le R'
      = \frac{4\, Q'(0)}{\lambda_0 \sqrt m}, \quad
      \|W^{(h)}(s) - W^{(h)}(s-1)\|_F \le \eta\, Q'(s-1), \quad
      Q'(s) = f \sqrt n\, \|y - u(s)\|_2,$$

    with the factor $f$ by architecture and layer:

    - A.5: $2 c_{x,0} \max(c_x, 1)^H$;
    - B.5, C.5, $h = 1$: $\sqrt{c_\sigma} L \sqrt{pq}\, e$;
    - B.5, C.5, $h \ge 2$: $2 \kappa c_{x,0} L \sqrt{pq}\, e / H$,

    and $e = \exp(2 \kappa c_{w,0} L \sqrt q)$. `value` is the larger $R'$. The paper's
    Lemmas B.5 and C.5 are meant for all layers, but leave the first one out: its factor
    is larger than that of the others by $\sqrt{c_\sigma} H / (2 \kappa c_{x,0})$.
    Lemma B.5 as stated has $c_{x,0} c_{w,0}$ where its proof has $\kappa c_{x,0}$.

    $R'$ is proportional to $\sqrt{n / m}\, \|y - u(0)\|_2 / \lambda_0$.

    Args:
        architecture: `FullyConnected` or `Residual`.
        samples: Inputs, $n$.
        lambda_0: Least eigenvalue $\lambda_0$ of $K^{(H)}$.
        width: $m$.
        residual_norm: $\|y - u(0)\|_2$.

    Returns:
        The bound. `step_factor`s include $\sqrt n$: times $\eta \|y - u(s)\|_2$ they
        bound a step.

    Raises:
        ValueError: If a size is below 1, `lambda_0` not finite, or `residual_norm`
            negative.

    Assumes:
        - $\lambda_0 > 0$; $R'$ so small that weights and features at most double;
          $2 c_{w,0} \ge 1$ (A.5): checked. Without $\lambda_0 > 0$ the value is
          infinite.
        - Condition 6.1 for all steps before: declared.
        - $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$, $\|x^{(h)}(0)\| \le c_{x,0}$ for all
          $h$, inputs of unit norm: declared.

    Constant:
        None is missing. The "small constant $c$" of the statement is `largest_radius`.

    References:
        du2019, Lemmas A.5, B.5 and C.5 with their proofs.
    """
    caller = "weight_movement"
    check_at_least(caller, "samples", samples, 1)
    check_at_least(caller, "width", width, 1)
    check_finite(caller, "residual_norm", residual_norm)
    check_at_least(caller, "residual_norm", residual_norm, 0)
    positive = above_zero(caller, "lambda_0", lambda_0, "lambda_0 > 0")
    factors = [math.sqrt(samples) * f for f in architecture.gradient_factors]
    # R' sqrt(m), which does not depend on the width.
    reach = [4 * residual_norm * f / lambda_0 for f in factors if lambda_0 > 0]
    first, later = reach or [math.inf, math.inf]
    largest = architecture.largest_radius
    gram = stable_radius(architecture, samples, lambda_0)
    value = max(first, later) / math.sqrt(width)
    doubled = "weights and features at most double"
    assumptions = [
        positive,
        Assumption.checked(
            doubled, value <= largest, f"R' = {value:.6g} against {largest:.6g}"
        ),
        Assumption.declared("the loss has fallen as in Condition 6.1 at every step"),
        Assumption.declared("every |W^(h)(0)|_2 <= c_w0 sqrt(m), |x^(h)(0)| <= c_x0"),
        Assumption.declared("inputs of unit norm"),
    ]
    if architecture.letter == "A":
        holds = 2 * architecture.c_w0 >= 1
        assumptions.insert(1, Assumption.checked("2 c_w0 >= 1", holds))
    return WeightMovement(
        name=f"Lemma {architecture.letter}.5",
        source=f"du2019, proof in App. {architecture.letter}.1",
        kind="upper",
        quantity="|W^(h)(s) - W^(h)(0)|_F / sqrt(m) for every layer and step",
        value=value,
        assumptions=tuple(assumptions),
        constants=(),
        vacuous=value > largest,
        reason=f"the proof needs R' of at most {largest:.6g}",
        first_radius=first / math.sqrt(width),
        later_radius=later / math.sqrt(width),
        first_step_factor=factors[0],
        later_step_factor=factors[1],
        largest_radius=largest,
        gram_radius=gram,
        movement_width=divide(max(first, later), largest) ** 2,
        gram_width=divide(max(first, later), gram) ** 2,
    )
