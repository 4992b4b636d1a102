"""Lemma 5: the exact mean square of the perturbation at initialisation."""

import math
from dataclasses import dataclass

from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.relu_chain import ReLUChain
from widelimit.layers import AbstractLayer

LINEARIZED = "perturbation stability per unit radius"


@dataclass(frozen=True, kw_only=True)
class Lemma5(Bound):
    r"""Lemma 5 for one network, in three equivalent units.

    Args:
        mean_square_gradient: $E\|\nabla_x f\|_F^2$, exact: `value` times $d + 2$.
        upper_value: The paper's right side, which puts $\epsilon^2$ for
            $E\|x - \hat x\|^2$: `value` times $(d + 2) / d$.
        stability: Square root of `value`, an upper bound on the perturbation stability
            at initialisation per unit radius, by Jensen's inequality.
    """

    mean_square_gradient: float
    upper_value: float
    stability: float


def lemma5_mean_square(network: AbstractLayer, in_features: int) -> Lemma5:
    r"""Exact mean square of the linearized change at initialisation.

    $$E\|\nabla_x f(x)^\top (x - \hat x)\|_2^2
      = \frac{m\, o\, \beta_1^2 \beta_L^2}{2 \alpha^2} \gamma^{2(L-2)}
        \frac{d\, \epsilon^2}{d + 2},$$

    over the weights and $\hat x$ uniform in the ball of radius $\epsilon$ around any
    $x \ne 0$. `value` is for $\epsilon = 1$ and scales as $\epsilon^2$ and as
    $\alpha^{-2}$. It holds at every width, and for hidden layers of unequal $\beta_l$
    with $\gamma^{2(L-2)} = \prod_{1 < l < L} m \beta_l^2 / 2$.

    The paper states an inequality, because it bounds $E\|x - \hat x\|^2$ by
    $\epsilon^2$; in the ball it is $\epsilon^2 d / (d + 2)$. It fixes $\alpha = 1$. It
    excludes $h_{l-1} = 0$, where Lemma 2 does not apply; this costs nothing, since a
    layer without an active unit also stops the perturbation, on both sides.

    Args:
        network: Bias-free ReLU network with equal hidden widths.
        in_features: Number of input features, $d$.

    Returns:
        The mean square per unit squared radius, also as a gradient norm and as an
        upper bound on the perturbation stability.

    Raises:
        ValueError: If `network` is not a bias-free ReLU chain.

    Assumes:
        Gaussian weights at their initial values, and an input that is not zero:
        declared.

    Constant:
        None.

    Example:
        >>> from widelimit.networks import zhu2022_network
        >>> net = zhu2022_network(depth=1, width=7, outputs=3, initialization="he")
        >>> round(lemma5_mean_square(net, 5).mean_square_gradient, 9)  # 2 * outputs
        6.0

    References:
        zhu2022, Lemma 5, Eq. (12).
    """
    chain = ReLUChain.of(network, in_features)
    d, first, last = chain.d, chain.betas[0], chain.betas[-1]
    # For a fixed unit perturbation.
    one = chain.m * chain.o * (first * last * chain.gamma_power / chain.alpha) ** 2 / 2
    value = one * d / (d + 2)
    return Lemma5(
        name="Lemma 5",
        source="zhu2022, Eq. (12)",
        kind="exact",
        quantity="mean square of the linearized change per unit squared radius",
        value=value,
        assumptions=(
            Assumption.declared("the weights are at their Gaussian initial values"),
            Assumption.declared("no input is zero"),
        ),
        constants=(),
        vacuous=False,
        reason="an equality",
        mean_square_gradient=one * d,
        upper_value=one,
        stability=math.sqrt(value),
    )


def lipschitz_bound(network: AbstractLayer, in_features: int) -> Bound:
    r"""Perturbation stability at initialisation by the layers' operator norms.

    $$\frac{P(f, \epsilon)}{\epsilon} \le \frac{d}{d+1} \frac1\alpha
      \prod_{l=1}^L \beta_l (\sqrt{m_l} + \sqrt{m_{l-1}}),$$

    what is known without any theory of the network: ReLU does not expand, a Gaussian
    matrix has $E\|W_l\|_2 \le \beta_l (\sqrt{m_l} + \sqrt{m_{l-1}})$, and a point of
    the ball is $\epsilon d / (d+1)$ away from the centre in the mean. The theorems
    count as vacuous where they are above it.

    Args:
        network: Bias-free ReLU network with equal hidden widths.
        in_features: Number of input features, $d$.

    Returns:
        The bound per unit radius.

    Raises:
        ValueError: If `network` is not a bias-free ReLU chain.

    Assumes:
        Gaussian weights at their initial values: declared.

    Constant:
        None.

    References:
        Vershynin (2018), High-Dimensional Probability, Sec. 7.3.
    """
    chain = ReLUChain.of(network, in_features)
    return Bound(
        name="Lipschitz bound",
        source="Gordon's inequality",
        kind="upper",
        quantity=LINEARIZED + " at initialisation",
        value=trivial_stability(chain),
        assumptions=(
            Assumption.declared("the weights are at their Gaussian initial values"),
        ),
        constants=(),
        vacuous=None,
        reason="the yardstick of the other bounds",
    )


def trivial_stability(chain: ReLUChain) -> float:
    """The value of `lipschitz_bound`."""
    return chain.lipschitz * chain.d / (chain.d + 1)
