"""Theorem 2: how far the weights of a deep network must move to fit the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_at_least, check_finite, check_positive
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.relu_chain import ReLUChain
from widelimit.bounds.zhu2022.inputs import rows, targets_of, unit_norm
from widelimit.layers import AbstractLayer


@dataclass(frozen=True, kw_only=True)
class Theorem2(Bound):
    r"""Theorem 2 for one network and data set.

    Args:
        condition_ratio: $\alpha / (m^{3/2} \sum_l \beta_l)^L$; large means non-lazy.
        probability: Over the initialisation, at least; 1 with measured norms.
    """

    condition_ratio: float
    probability: float


def theorem2(
    network: AbstractLayer,
    inputs: Float[Array | np.ndarray, "n d"],
    targets: Float[Array | np.ndarray, "n *o"],
    *,
    training_loss: float | None = None,
    initial_norms: Sequence[float] | None = None,
) -> Theorem2:
    r"""Least relative movement of every weight matrix during successful training.

    By the theorem, $\alpha \gg (m^{3/2} \sum_l \beta_l)^L$ makes training non-lazy:

    $$\sup_t \frac{\|W_l(t) - W_l(0)\|_F}{\|W_l(0)\|_F} \gg 1 \quad \text{for all } l.$$

    `value` is the explicit bound of its proof, which no constant is missing from,

    $$\frac{(\alpha / 4)^{1/L}}{\sqrt{3 m^3 / 2} \sum_l \beta_l} - \frac1L - 1.$$

    The proof bounds $\|W_l(0)\|_F$ from above by $\sqrt{3 m^3 / 2}\, \beta_l$, which is
    about $\sqrt m$ times too large for the layers between the first and the last, and
    $m$ times for the last. With `initial_norms` $F_l$, its other steps give more, and
    with certainty:

    $$\min_l \frac{(\alpha / 4)^{1/L} - \frac1L \sum_k F_k}{F_l} - 1.$$

    The bounds on the norms are taken from another paper, with unspecified constants in
    the probability. A chi-square tail proves them for the Frobenius norms directly, so
    `probability` is explicit: with $c = (1/2 - \log(3/2)) / 2 = 0.047$, at least
    $1 - (L-2) e^{-c m^2} - e^{-c m d} - e^{-c m}$, of the form that the theorem has.

    Scaling $\alpha$ by $s^L$ and every $\beta_l$ by $s$ changes nothing. With forward
    scales on the layers, $\beta_l$ are those of the parameters themselves
    (`ReLUChain.of(..., trained=True)`), since these are what moves.

    Args:
        network: Bias-free ReLU network with equal hidden widths, as at initialisation.
        inputs: Training inputs, one per row.
        targets: Training targets, one per row.
        training_loss: Least loss that training reached,
            $\frac{1}{2n} \sum_i \|f(x_i) - y_i\|^2$, to check Assumption 2.
        initial_norms: Measured $\|W_l(0)\|_F$ of the weight parameters, first to last.

    Returns:
        The lower bound, the theorem's condition and its probability.

    Raises:
        ValueError: If `network` is not a bias-free ReLU chain, if the data are not
            finite or do not match, or if there are not $L$ positive `initial_norms`.

    Assumes:
        - One output, inputs of unit norm (Assumption 1), a target of at least 1/2
          (Assumption 2; the paper's $C_1$, "without loss of generality"): checked.
        - The loss falls to $1/(32 n)$ (Assumption 2): checked if `training_loss` is
          given, else declared.
        - $m \ge d$: checked, without `initial_norms`.
        - Gradient flow on the weights: declared; the proof has all $\|W_l\|_F^2$ grow
          alike (Du et al., 2018), which discrete steps satisfy only nearly.

    Constant:
        None in `value`. $\gg$ in the condition has no number; `condition_ratio` is the
        left side over the right one.

    References:
        zhu2022, Theorem 2 and App. C.
    """
    caller = "theorem2"
    x = rows(caller, inputs)
    y = targets_of(caller, targets, x)
    chain = ReLUChain.of(network, x.shape[1], trained=True)
    L, m = chain.L, chain.m
    reach = (chain.alpha / 4) ** (1 / L)
    assumptions = [
        Assumption.checked("one output", chain.o == 1, f"o = {chain.o}"),
        unit_norm(x),
        Assumption.checked(
            "the largest target is at least 1/2 (Assumption 2)",
            bool(y.max() >= 0.5),
            f"it is {y.max():.6g}",
        ),
        _fitted(caller, training_loss, len(x)),
        Assumption.declared("training is gradient flow on the squared loss"),
    ]
    if initial_norms is None:
        scale = math.sqrt(1.5 * m**3) * sum(chain.betas)
        value, probability = reach / scale - 1 / L - 1, _probability(chain)
        assumptions.append(
            Assumption.checked("m >= d", m >= chain.d, f"m = {m}, d = {chain.d}")
        )
    else:
        norms = _norms(caller, initial_norms, L)
        value, probability = float(min((reach - norms.mean()) / norms)) - 1, 1.0
    return Theorem2(
        name="Theorem 2",
        source="zhu2022, App. C",
        kind="lower",
        quantity="largest relative movement in time, of each weight matrix",
        value=value,
        assumptions=tuple(assumptions),
        constants=(),
        vacuous=value <= 0 or probability <= 0,
        reason=f"movement is at least 0 anyway; probability at least {probability:.6g}",
        condition_ratio=_condition_ratio(chain),
        probability=probability,
    )


def _fitted(caller: str, loss: float | None, n: int) -> Assumption:
    statement = "the training loss falls to 1 / (32 n) (Assumption 2)"
    if loss is None:
        return Assumption.declared(statement, f"1 / (32 n) = {1 / (32 * n):.6g}")
    check_at_least(caller, "training_loss", loss, 0)
    return Assumption.checked(
        statement, loss <= 1 / (32 * n), f"{loss:.6g} against {1 / (32 * n):.6g}"
    )


def _norms(caller: str, initial_norms: Sequence[float], L: int) -> np.ndarray:
    norms = np.asarray(initial_norms, dtype=float)
    if norms.shape != (L,):
        raise ValueError(
            f"`{caller}` needs one norm per weight matrix in `initial_norms`, {L} of "
            f"them. Got shape {norms.shape}. Pass the Frobenius norm of each."
        )
    check_finite(caller, "initial_norms", norms)
    check_positive(caller, "min(initial_norms)", float(norms.min()))
    return norms


def _condition_ratio(chain: ReLUChain) -> float:
    # In logarithms: powers of L would overflow in deep networks.
    scale = chain.m**1.5 * sum(chain.betas)
    log_ratio = math.log(chain.alpha) - chain.L * math.log(scale)
    return math.exp(log_ratio) if log_ratio < 700 else math.inf


def _probability(chain: ReLUChain) -> float:
    rate = (0.5 - math.log(1.5)) / 2  # P(chi2_k >= 1.5 k) <= exp(-rate * k)
    m, d, L = chain.m, chain.d, chain.L
    sizes = [m * m] * (L - 2) + [m * d, m]
    return 1 - sum(math.exp(-rate * size) for size in sizes)
