"""What the convergence theorems return, and what they share."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float, Real

from widelimit._checks import check_at_least, check_positive
from widelimit.bounds.base import Assumption, Bound

ROUNDING = 1 + 1e-9  # the terms come from logarithms, which cannot overflow


@dataclass(frozen=True, kw_only=True)
class Convergence(Bound):
    r"""A convergence theorem for one problem; `value` is the loss over the first one.

    Args:
        rate: $1 - \eta \lambda_0 / 2$, the factor per step.
        steps: $k$.
        probability: $1 - \delta$, over the initialisation.
        width: $m$ as given, or `None`.
        required_width: The largest of the terms below.
        width_for_stability: Keeps the Gram matrix within $\lambda_0 / 4$ of its start
            (Lemmas 4 and 5 of App. A, B, C).
        width_for_radius: Keeps the movement of the weights small as such; `None` in
            Theorem 3.1, whose first term covers it.
        width_for_norms: Keeps the features' norms at initialisation of order 1 (Lemma
            1 of each appendix).
        width_for_initial_gram: Has the Gram matrix start within $\lambda_0 / 4$ of its
            limit (Lemma 2 of each appendix, from App. D).
        step_size: $\eta$, as given or `required_step`.
        required_step: The largest step size.
    """

    rate: float
    steps: int
    probability: float
    width: int | None
    required_width: float
    width_for_stability: float
    width_for_radius: float | None
    width_for_norms: float
    width_for_initial_gram: float
    step_size: float
    required_step: float


def guaranteed_decay(
    steps: Real[ArrayLike, "*#s"],
    *,
    step_size: Real[ArrayLike, "*#s"],
    lambda_0: Real[ArrayLike, "*#s"],
) -> Float[np.ndarray, "*s"]:
    r"""Condition 6.1's factor $(1 - \eta \lambda_0 / 2)^k$, to draw a curve.

    Args:
        steps: $k$.
        step_size: $\eta$.
        lambda_0: $\lambda_0$, above zero: the condition says nothing otherwise.

    Returns:
        The factor of the loss, in the shape to which the arguments broadcast.

    Raises:
        ValueError: If an argument is negative, $\lambda_0$ is zero, or
            $\eta \lambda_0$ above 2.

    References:
        du2019, Condition 6.1.
    """
    caller = "guaranteed_decay"
    for name, x in [("steps", steps), ("step_size", step_size), ("lambda_0", lambda_0)]:
        check_at_least(caller, name, float(np.min(x)), 0)
    if np.min(lambda_0) == 0:
        raise ValueError(
            f"`{caller}` needs `lambda_0 > 0` (Assumptions 3.1, 4.1 and 5.1). Got 0, "
            "for which no decay is guaranteed. Look for parallel inputs."
        )
    half = np.asarray(step_size, float) * np.asarray(lambda_0, float) / 2
    if np.max(half) > 1:
        raise ValueError(
            f"`{caller}` needs `step_size * lambda_0 <= 2`. Got "
            f"{2 * float(np.max(half)):.6g}. Take a smaller step."
        )
    return np.asarray((1 - half) ** np.asarray(steps, float))


def assemble(
    caller: str,
    *,
    name: str,
    stability: float,
    radius: float | None,
    norms: float,
    gram: float,
    step: float,
    factors: tuple[str, ...],
    assumptions: list[Assumption],
    lambda_0: float,
    delta: float,
    width: int | None,
    step_size: float | None,
    steps: int,
) -> Convergence:
    """Assemble a theorem from the logarithms of its terms."""
    terms = [stability, norms, gram] + ([] if radius is None else [radius])
    required, largest_step = _exp(max(terms)), _exp(step)
    if step_size is None:
        step_size = largest_step
    else:
        check_positive(caller, "step_size", step_size)
    meets = [_step_met(step_size, largest_step), _width_met(caller, width, required)]
    rate = 1 - step_size * lambda_0 / 2
    value = rate**steps if lambda_0 > 0 and 0 <= rate < 1 else math.inf
    failing = [a for a in (*assumptions, *meets) if a.holds is False]
    if failing:
        vacuous, reason = True, f"a condition is not met: {failing[0]}"
    elif width is None:
        vacuous, reason = None, f"no width was given; it needs m >= {required:.6g}"
    else:
        vacuous, reason = value >= 1, f"the loss falls by {1 - rate:.6g} in a step"
    return Convergence(
        name=name,
        source=f"du2019, Sec. {name.split()[1][0]}",
        kind="upper",
        quantity=f"loss over the initial loss after k = {steps}",
        value=value,
        assumptions=(
            *assumptions,
            *meets,
            Assumption.declared(
                "Lipschitz and smooth activation, Gaussian weights, fixed read-out"
            ),
        ),
        constants=(
            "the factor of each term of the width",
            "the factor of the step size",
            *factors,
        ),
        vacuous=vacuous,
        reason=reason,
        rate=rate,
        steps=steps,
        probability=1 - delta,
        width=width,
        required_width=required,
        width_for_stability=_exp(stability),
        width_for_radius=None if radius is None else _exp(radius),
        width_for_norms=_exp(norms),
        width_for_initial_gram=_exp(gram),
        step_size=step_size,
        required_step=largest_step,
    )


def _step_met(step_size: float, largest: float) -> Assumption:
    return Assumption.checked(
        "the step size is at most the theorem's",
        0 < step_size <= largest * ROUNDING,
        f"{step_size:.6g} against {largest:.6g}",
    )


def _width_met(caller: str, width: int | None, required: float) -> Assumption:
    statement = "the width is at least the theorem's"
    if width is None:
        return Assumption.declared(statement, f"m >= {required:.6g}")
    check_at_least(caller, "width", width, 1)
    return Assumption.checked(
        statement, width * ROUNDING >= required, f"m = {width} against {required:.6g}"
    )


def logs(*numbers: int | float) -> list[float]:
    """Logarithms; an eigenvalue of zero needs an infinite width and no step."""
    return [math.log(x) if x > 0 else -math.inf for x in numbers]


def gram_log(n: float, H: float, zero: float, delta: float) -> float:
    """Logarithm of $n^2 log(H n^2 / delta) / lambda_0^2$."""
    return 2 * n + math.log(H + 2 * n - math.log(delta)) - 2 * zero


def _exp(log: float) -> float:
    return math.exp(log) if log < 709 else math.inf
