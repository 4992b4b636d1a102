r"""Norms at initialisation: $c_{w,0}$, $c_{x,0}$, and the width that they need."""

import math

from widelimit._checks import check_at_least, check_positive
from widelimit.bounds.du2019.checks import check_probability
from widelimit.bounds.du2019.constants import (
    ActivationConstants,
    geometric_sum,
    power,
)

MEAN_SIZE = math.sqrt(2 / math.pi)  # E|X| for a standard Gaussian X; E|X|^3 is twice it


def weight_norm_constant(
    *, width: int, depth: int, delta: float, patch: int = 1
) -> float:
    r"""Constant $c_{w,0}$ with $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$ for all $h$.

    $$c_{w,0} = 1 + \sqrt q + \sqrt{2 \log(H / \delta) / m}$$

    with probability at least $1 - \delta$: Lemma E.4 and a union over the layers. The
    tail $e^{t^2/2}$ in its proof lacks a minus sign.

    Args:
        width: $m$.
        depth: Number of hidden layers $H$.
        delta: Probability $\delta$ of failure.
        patch: $q$; a matrix is $m \times q m$.

    Returns:
        The constant, between 2 and about 2 for wide layers and `patch=1`.

    Raises:
        ValueError: If a size is below 1 or `delta` not between 0 and 1.

    Assumes:
        - Standard Gaussian weights: not checked.
        - No more inputs to the first layer than to the others: not checked.

    Constant:
        None is missing.

    References:
        du2019, Lemma E.4.
    """
    caller = "weight_norm_constant"
    for name, size in [("width", width), ("depth", depth), ("patch", patch)]:
        check_at_least(caller, name, size, 1)
    check_probability(caller, "delta", delta)
    return 1 + math.sqrt(patch) + math.sqrt(2 * math.log(depth / delta) / width)


def feature_norm_constant(
    activation: ActivationConstants,
    *,
    branch: float,
    c_w0: float,
    pixels: int = 1,
    patch: int = 1,
) -> float:
    r"""Constant $c_{x,0}$ of residual networks: $\|x^{(h)}(0)\| \le c_{x,0}$.

    $$c_{x,0} = (a + \kappa \sqrt p\, |\sigma(0)|)\, e^{\kappa c_{w,0} L \sqrt q},
      \quad a = 2 \text{ or } \sqrt{c_\sigma} (\sqrt p\, |\sigma(0)| +
      \sqrt q\, L c_{w,0}),$$

    the first for $p = q = 1$, where $\|x^{(1)}(0)\|_2 \le 2$ by `lemma_b1_width`. The
    proofs of Lemmas B.1 and C.1 have no $|\sigma(0)|$, as they take $|\sigma(z)| \le
    L |z|$: false for softplus, the paper's example. Their lower bound, $1 / c_{x,0}$,
    is not needed here. It takes a small $\kappa |\sigma(0)|$ and, for the exponential,
    $\kappa c_{w,0} L \sqrt q \le 1$. For fully-connected networks $c_{x,0} = 2$.

    Args:
        activation: $L$, $c_\sigma$, $|\sigma(0)|$.
        branch: $\kappa = c_\lambda \lambda^{3/2}$.
        c_w0: See `weight_norm_constant`.
        pixels: $p$.
        patch: $q$.

    Returns:
        The constant.

    Raises:
        ValueError: If an argument is out of range.

    Assumes:
        - $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$ and inputs of unit norm: not checked.

    Constant:
        None is missing.

    References:
        du2019, Lemmas B.1 and C.1.
    """
    caller = "feature_norm_constant"
    check_positive(caller, "branch", branch)
    check_positive(caller, "c_w0", c_w0)
    check_at_least(caller, "pixels", pixels, 1)
    check_at_least(caller, "patch", patch, 1)
    reach = math.sqrt(patch) * activation.lipschitz * c_w0
    offset = math.sqrt(pixels) * activation.at_zero
    first = math.sqrt(activation.c_sigma) * (offset + reach)
    first = 2.0 if pixels == patch == 1 else first
    return (first + branch * offset) * power(math.e, branch * reach)


def lemma_a1_width(
    activation: ActivationConstants, *, samples: int, depth: int, delta: float
) -> float:
    r"""Width from which $\frac12 \le \|x_i^{(h)}(0)\|_2 \le \frac32$ in Eq. (2).

    $$m = 4 c_\sigma^2 C_2 \frac{n H g_C(H)^2}{\delta}, \quad
      C = c_\sigma L \left(2 |\sigma(0)| \sqrt{2/\pi} + \tfrac52 L\right), \quad
      C_2 = E\left(|\sigma(0)| + \tfrac32 L |X|\right)^4$$

    for all $i$ and $h$, with probability at least $1 - \delta$. The paper has $2 L$ in
    $C$, where its proof gives $(\alpha + 1) L$ with norms $\alpha$ up to $3/2$; $C_2$
    with $512 L^4$ where norms up to 2 give 48; and a variance without $c_\sigma^2$.

    Args:
        activation: $L$, $c_\sigma$, $|\sigma(0)|$.
        samples: Inputs, $n$.
        depth: Number of hidden layers $H$.
        delta: Probability $\delta$ of failure.

    Returns:
        The width.

    Raises:
        ValueError: If a size is below 1 or `delta` not between 0 and 1.

    Assumes:
        - Inputs of unit norm, standard Gaussian weights: not checked.

    Constant:
        None is missing.

    References:
        du2019, Lemma A.1 and its proof.
    """
    caller = "lemma_a1_width"
    check_at_least(caller, "samples", samples, 1)
    check_at_least(caller, "depth", depth, 1)
    check_probability(caller, "delta", delta)
    c, L, zero = activation.c_sigma, activation.lipschitz, activation.at_zero
    growth = geometric_sum(c * L * (2 * zero * MEAN_SIZE + 2.5 * L), depth)
    return 4 * c**2 * _fourth(zero, 1.5 * L) * samples * depth * growth**2 / delta


def lemma_b1_width(
    activation: ActivationConstants, *, samples: int, delta: float
) -> float:
    r"""Width from which $\frac12 \le \|x_i^{(1)}(0)\|_2 \le 2$ in Eq. (3).

    $$m = \frac{16}{9} c_\sigma^2 C_2 \frac n\delta, \quad
      C_2 = E\left(|\sigma(0)| + L |X|\right)^4$$

    for all $i$, with probability at least $1 - \delta$, by Chebyshev's inequality. The
    paper's $C_2$ has $32 L^4$ for $3 L^4$, and its variance no $c_\sigma^2$.

    Args:
        activation: $L$, $c_\sigma$, $|\sigma(0)|$.
        samples: Inputs, $n$.
        delta: Probability $\delta$ of failure.

    Returns:
        The width.

    Raises:
        ValueError: If `samples` is below 1 or `delta` not between 0 and 1.

    Assumes:
        - Inputs of unit norm, standard Gaussian weights: not checked.

    Constant:
        None is missing.

    References:
        du2019, Lemma B.1 and its proof.
    """
    caller = "lemma_b1_width"
    check_at_least(caller, "samples", samples, 1)
    check_probability(caller, "delta", delta)
    fourth = _fourth(activation.at_zero, activation.lipschitz)
    return 16 / 9 * activation.c_sigma**2 * fourth * samples / delta


def _fourth(a: float, b: float) -> float:
    """Mean of `(a + b |X|) ** 4` over a standard Gaussian `X`."""
    odd = 4 * a**3 * b + 8 * a * b**3
    return a**4 + 6 * a**2 * b**2 + 3 * b**4 + odd * MEAN_SIZE
