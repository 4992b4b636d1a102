"""Theorem 1: perturbation stability of a deep network in the lazy regime."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_at_least
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.relu_chain import ReLUChain
from widelimit.bounds.zhu2022.initial import LINEARIZED, trivial_stability
from widelimit.bounds.zhu2022.inputs import rows, unit_norm
from widelimit.bounds.zhu2022.rates import theorem1_terms
from widelimit.layers import AbstractLayer


@dataclass(frozen=True, kw_only=True)
class Theorem1(Bound):
    """Theorem 1 for one network and data set.

    Args:
        training_term: First term, from the change of the weights (Lemma 4).
        initial_term: Second term, from the initialisation (Lemma 5).
        trivial: The Lipschitz bound at initialisation, per unit radius.
    """

    training_term: float
    initial_term: float
    trivial: float


def theorem1(
    network: AbstractLayer,
    inputs: Float[Array | np.ndarray, "n d"],
    *,
    lazy_ratio: float | None = None,
    lazy_below: float = 0.1,
) -> Theorem1:
    r"""Perturbation stability of a network trained in the lazy regime.

    $$\frac{P(f, \epsilon)}{\epsilon} \lesssim
      \left(\sqrt{L^3 m^2 \beta_1^2 \beta_L^2}\, e^{-m / L^3}
      + \sqrt{m o \beta_1^2 \beta_L^2}\right) \gamma^{L-2}, \quad
      \gamma = \beta \sqrt{m / 2}.$$

    `value` is the right side per unit radius, divided by $\alpha$, which the paper
    fixes at 1. It is linear in $\beta_1$ and $\beta_L$. Hidden layers of unequal
    $\beta_l$ enter by $\gamma^{L-2} = \prod_{1<l<L} \beta_l \sqrt{m/2}$. The definition
    of $P$ is linear in $\epsilon$, so "small" $\epsilon$ plays no role. The remark
    $\gamma \gtrsim 1$ is not a hypothesis either: the paper itself goes on to
    LeCun's $\gamma = 1/\sqrt 2$.

    The second term is sound: Lemma 5 proves it at initialisation, with the constant
    $1/\sqrt 2$. The first rests on Lemma 4, whose proof has three gaps, so it is
    better read as a conjecture than as a bound:

    - its tail bound over the size $\omega$ of the weights' movement is integrated as if
      $\omega$ were random, though training fixes it;
    - the tail is shown for deviations above $m \beta_1 \beta_L \gamma^{L-2} / \sqrt 2$
      and integrated from zero. Probability at most 1 below that point would add this
      number itself, of order $\sqrt{m/d}$ for He weights, which does not decay;
    - the lemma it uses needs $s$ between $d / \log m$ and $m / (L^3 \log m)$, hence
      $m \gtrsim d L^3$: no under-parameterized network, and not the width
      $L^3 / 2$ at which the first term peaks.

    Args:
        network: Bias-free ReLU network with equal hidden widths, as at initialisation.
        inputs: The data, one input per row.
        lazy_ratio: Measured $\kappa$ of the trained network, to check the lazy regime.
        lazy_below: What counts as lazy, $\kappa$ below this; a convention.

    Returns:
        The bound per unit radius, and its two terms.

    Raises:
        ValueError: If `network` is not a bias-free ReLU chain, if `inputs` are not
            finite rows, or if `lazy_ratio` is negative.

    Assumes:
        - Inputs of unit norm (Assumption 1), $\alpha = 1$, equal $\beta_l$ between
          the first and the last layer: checked.
        - Lazy training: checked if `lazy_ratio` is given, else declared.
        - $m \gtrsim L d \log m$ and $m \gtrsim d L^3$, which only the proof has:
          declared, with the ratios, since the constants are not known.
        - The tail bound of Lemma 4 everywhere: declared.

    Constant:
        One factor in front of each term. The proofs have $\sqrt{\pi/8}$ times an
        unspecified constant for the first, and $1/\sqrt 2$ for the second.

    References:
        zhu2022, Theorem 1 and App. B.
    """
    caller = "theorem1"
    x = rows(caller, inputs)
    chain = ReLUChain.of(network, x.shape[1])
    if lazy_ratio is not None:
        check_at_least(caller, "lazy_ratio", lazy_ratio, 0)
    terms = theorem1_terms(
        chain.m, chain.L - 1, chain.o, chain.betas[0], chain.betas[-1], chain.gamma
    )
    training, initial = (float(term) / chain.alpha for term in terms)
    value, trivial = training + initial, trivial_stability(chain)
    middle = chain.betas[1:-1]
    equal = all(math.isclose(beta, middle[0], rel_tol=1e-9) for beta in middle)
    return Theorem1(
        name="Theorem 1",
        source="zhu2022, Eq. (3)",
        kind="upper",
        quantity=LINEARIZED,
        value=value,
        assumptions=(
            unit_norm(x),
            Assumption.checked(
                "alpha = 1",
                math.isclose(chain.alpha, 1, rel_tol=1e-9),
                f"alpha = {chain.alpha:.6g}",
            ),
            Assumption.checked(
                "beta_2 = ... = beta_(L-1)", equal, f"{len(middle)} such layers"
            ),
            _lazy(lazy_ratio, lazy_below),
            *_proof_conditions(chain),
        ),
        constants=("the factor of each of the two terms",),
        vacuous=value >= trivial,
        reason=f"the Lipschitz bound at initialisation is {trivial:.6g}",
        training_term=training,
        initial_term=initial,
        trivial=trivial,
    )


def _lazy(ratio: float | None, below: float) -> Assumption:
    if ratio is None:
        return Assumption.declared("training is lazy", "no measured ratio was given")
    return Assumption.checked(
        "training is lazy", ratio < below, f"kappa = {ratio:.6g}, lazy below {below:g}"
    )


def _proof_conditions(chain: ReLUChain) -> tuple[Assumption, Assumption]:
    m, d, L = chain.m, chain.d, chain.L
    return (
        Assumption.declared(
            "the width is at least of order L d log m and d L^3 (proof of Lemma 4)",
            f"over m these are {L * d * math.log(m) / m:.3g} and {d * L**3 / m:.3g}",
        ),
        Assumption.declared(
            "the tail bound in the proof of Lemma 4 holds for all deviations",
            "it is shown for large ones, and for a movement that training fixes",
        ),
    )
