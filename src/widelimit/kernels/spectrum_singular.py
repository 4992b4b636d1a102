r"""Proofs that the kernel matrix of a network is singular, which need no number.

- A network that is homogeneous of degree $p$ has $\langle x, \nabla f(x) \rangle =
  p f(x)$ (Euler) for all parameters, so $(p, -x)$ at any one input is in the null space
  of its Jacobian kernels. Without biases these are the networks of rectifiers and those
  of monomials: the square of kim2023, Theorem 18, is one. (The proof there pairs
  $\dot\Sigma$ with no $\Sigma^{(0)}$, which its Theorem 7 has; with it, one input is
  enough, and the $v_i$ of Lemma 19 are null vectors of the whole NTK.)
- A polynomial of degree $D$ in $d$ variables has $\binom{d + D}{D}$ coefficients, and
  the kernels of a polynomial network no larger rank.
- Networks that are even or odd give equal or opposite rows to opposite inputs.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from widelimit.activations import AbstractActivation, Identity, Polynomial
from widelimit.activations.base import Scaled
from widelimit.activations.error_function import Erf
from widelimit.activations.logistic import Tanh
from widelimit.activations.rectifier import AbstractRectifier
from widelimit.activations.waves import Cosine, Sine
from widelimit.kernels.spectrum_repeats import equal_rows
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Dense,
    Readout,
    Residual,
    Scale,
    Sequential,
)

MOST = 64  # degrees beyond which no rank is counted
EVEN, ODD = frozenset({0}), frozenset({1})


def why_singular(
    network: AbstractLayer,
    x: Float[np.ndarray, "n d"],
    *,
    jacobian: bool = True,
    regularization: float = 1.0,
) -> str | None:
    """A proof that the Gram matrix of a network's limit kernel is singular.

    Args:
        network: Description of a fully-connected network.
        x: Inputs, one per row.
        jacobian: Whether the kernel is that of values and gradients, or of values.
        regularization: By which gradients are scaled.

    Returns:
        The reason in words; `None` if none is known, which proves nothing.
    """
    n, d = x.shape
    size = n * (d + 1) if jacobian else n
    if jacobian and not regularization:
        return "with regularization 0 the rows of gradients vanish"
    twice = equal_rows(x)
    if twice is not None:
        return f"rows {twice[0]} and {twice[1]} of the inputs are equal"
    opposite = equal_rows(np.concatenate([x, -x]))
    if opposite is not None and _parity(network) in (EVEN, ODD):
        i, j = sorted(k % n for k in opposite)
        if i != j:
            return f"rows {i} and {j} are opposite, and the network is even or odd"
    degrees, polynomial = _degrees(network)
    if degrees is None:
        return None
    if jacobian and len(degrees) == 1:
        (p,) = degrees
        return (
            f"the network is homogeneous of degree {p}, so <x, grad f(x)> = {p} f(x) "
            "for all parameters (Euler)"
        )
    if polynomial and max(degrees, default=0) <= MOST:
        rank = sum(math.comb(d - 1 + p, p) for p in degrees)
        if rank < size:
            return (
                f"the network is a polynomial with at most {rank} coefficients, fewer "
                f"than the {size} rows"
            )
    return None


def _degrees(network: AbstractLayer) -> tuple[frozenset[int] | None, bool]:
    """Degrees of the homogeneous parts of a network's function of its inputs.

    Returns:
        The degrees, or `None` if it is no sum of such parts, or of too many; and
        whether all parts are polynomials.
    """
    return _through(network, (frozenset({1}), True))


def _through(
    layer: Any, state: tuple[frozenset[int] | None, bool]
) -> tuple[frozenset[int] | None, bool]:
    degrees, polynomial = state
    if degrees is None:
        return state
    if isinstance(layer, Sequential):
        for one in layer.layers:
            state = _through(one, state)
        return state
    if isinstance(layer, Dense):
        return degrees | ({0} if layer.bias_std is not None else set()), polynomial
    if isinstance(layer, Scale | Readout):
        return state
    if isinstance(layer, Residual):
        branch, straight = _through(layer.branch, state), state
        if layer.shortcut is not None:
            straight = _through(layer.shortcut, state)
        if branch[0] is None or straight[0] is None:
            return None, False
        return branch[0] | straight[0], branch[1] and straight[1]
    if not isinstance(layer, Activation):
        return None, False
    phi = _plain(layer.function)
    if isinstance(phi, Identity):
        return state
    if isinstance(phi, AbstractRectifier) and len(degrees) == 1:
        return degrees, polynomial and phi.slope == 1
    if isinstance(phi, Polynomial):
        powers = [j for j, a in enumerate(phi.coefficients) if a]
        found = frozenset().union(*(_sums(degrees, power) for power in powers))
        # A rectifier behind another part is no polynomial, but still homogeneous.
        return (found, polynomial) if len(found) <= MOST else (None, False)
    return None, False


def _sums(degrees: frozenset[int], terms: int) -> frozenset[int]:
    """All sums of that many degrees."""
    found = frozenset({0})
    for _ in range(terms):
        found = frozenset(a + b for a in found for b in degrees)
        if len(found) > MOST:
            break
    return found


def _plain(phi: AbstractActivation) -> AbstractActivation:
    while isinstance(phi, Scaled):
        phi = phi.function
    return phi


def _parity(layer: Any, state: frozenset[int] = ODD) -> frozenset[int]:
    """`{0}` for an even function of the inputs, `{1}` for an odd one, else both."""
    both = EVEN | ODD
    if isinstance(layer, Sequential):
        for one in layer.layers:
            state = _parity(one, state)
        return state
    if isinstance(layer, Dense):
        return state | (EVEN if layer.bias_std is not None else frozenset())
    if isinstance(layer, Scale | Readout):
        return state
    if isinstance(layer, Residual):
        straight = state if layer.shortcut is None else _parity(layer.shortcut, state)
        return _parity(layer.branch, state) | straight
    if not isinstance(layer, Activation) or state == both:
        return both
    if state == EVEN:  # any function of an even one is even
        return EVEN
    phi = _plain(layer.function)
    if isinstance(phi, Identity | Erf | Tanh | Sine):
        return ODD
    if isinstance(phi, Cosine) or (
        isinstance(phi, AbstractRectifier) and phi.slope == -1
    ):
        return EVEN
    if isinstance(phi, Polynomial):
        return frozenset(j % 2 for j, a in enumerate(phi.coefficients) if a) or EVEN
    return both
