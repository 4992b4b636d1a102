"""Corollary 3.2: the robust error of every network in the lazy ball."""

import math
from dataclasses import dataclass

from widelimit._checks import check_positive
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.wang2022.checks import Inputs
from widelimit.bounds.wang2022.flip import KNOWN, theorem31


@dataclass(frozen=True, kw_only=True)
class Corollary32(Bound):
    r"""Corollary 3.2; `value` bounds the robust error $L_R$ of all networks from below.

    Args:
        delta: The budget $R$.
        flip: The size of Theorem 3.1, which the budget has to reach.
        probability: Over the initialisation, at least.
    """

    delta: float
    flip: float
    probability: float


def corollary32(
    *,
    width: int,
    features: int,
    c_0: float,
    gamma: float,
    delta: float | None = None,
    level: float = 0.9,
    inputs: Inputs | None = None,
    repaired: bool = False,
) -> Corollary32:
    r"""Corollary 3.2: the robust error of every network in the lazy ball.

    With probability at least $1 - 10 \gamma$, $L_R(W) \ge 0.9$ for all $W$ within
    $C_0 / \sqrt m$, on any data on the sphere. For another `level` $l$ it is $1 -
    \gamma / (1 - l)$, by Markov's inequality.

    The proof bounds the probability of $\sup_W L_R(W) < 0.9$, which is about one
    network, not about all; and its ball is $C_0 / \sqrt d$. With an infimum in its
    place every line stands, as Theorem 3.1 holds for all $W$ at once.

    Args:
        width: $m$.
        features: $d$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ with which Theorem 3.1 fails at one input.
        delta: The budget $R$; the size of Theorem 3.1 if `None`.
        level: The robust error $l$.
        inputs: Inputs, to check their norm.
        repaired: Whether to use the repaired values of the lemmas.

    Returns:
        The bound on the robust error.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - All that Theorem 3.1 does, and a budget no less than its size: checked.
        - Data on the sphere: checked on `inputs`, else declared.

    Constant:
        $C_3$ and $C_4$.

    References:
        wang2022, Corollary 3.2.
    """
    caller = "corollary32"
    if not 0 < level < 1:
        raise ValueError(f"`{caller}` needs `0 < level < 1`. Got `level={level}`.")
    if delta is not None:
        check_positive(caller, "delta", delta)
    theorem = theorem31(
        width=width,
        features=features,
        c_0=c_0,
        gamma=gamma,
        inputs=inputs,
        repaired=repaired,
    )
    budget = theorem.value if delta is None else float(delta)
    reached = math.isfinite(theorem.value) and budget >= theorem.value
    probability = 1 - gamma / (1 - level)
    detail = f"{budget:.6g} against {theorem.value:.6g}"
    return Corollary32(
        name="Corollary 3.2, repaired" if repaired else "Corollary 3.2",
        source="wang2022, Sec. 3",
        kind="lower",
        quantity="robust error of every network in the lazy ball",
        value=level if reached else 0.0,
        assumptions=(
            *theorem.assumptions,
            Assumption.checked(
                "the budget is at least the size of Theorem 3.1", reached, detail
            ),
        ),
        constants=("C_3", "C_4"),
        vacuous=not reached or probability <= 0 or budget >= 1,
        reason=(
            f"probability at least {probability:.6g}; {KNOWN}"
            if reached
            else "the budget is not known to flip anything"
        ),
        delta=budget,
        flip=theorem.value,
        probability=probability,
    )
