"""What the lemmas of du2019 know of the activation, and their geometric series."""

import math
from dataclasses import dataclass

import jax.numpy as jnp

from widelimit._checks import check_at_least, check_positive
from widelimit.activations import AbstractActivation


@dataclass(frozen=True)
class ActivationConstants:
    r"""The constants of an activation $\sigma$ that enter the lemmas.

    Args:
        lipschitz: $L = \sup |\sigma'|$.
        smoothness: $\beta = \sup |\sigma''|$; infinite for a kink, which the lemmas
            on the Gram matrix exclude.
        c_sigma: $c_\sigma = 1 / E\,\sigma(z)^2$, $z \sim N(0, 1)$.
        at_zero: $|\sigma(0)|$.

    Raises:
        ValueError: If a constant is out of range.
    """

    lipschitz: float
    smoothness: float
    c_sigma: float
    at_zero: float

    def __post_init__(self) -> None:
        caller = "ActivationConstants"
        check_positive(caller, "lipschitz", self.lipschitz)
        check_at_least(caller, "smoothness", self.smoothness, 0)
        check_positive(caller, "c_sigma", self.c_sigma)
        check_at_least(caller, "at_zero", self.at_zero, 0)

    @classmethod
    def of(cls, activation: AbstractActivation) -> "ActivationConstants":
        """The constants of a known activation.

        Args:
            activation: Activation that knows its Lipschitz constants.

        Returns:
            Its constants.

        Raises:
            ValueError: If a Lipschitz constant is unknown, or `lipschitz(0)` infinite.
        """
        lipschitz, smoothness = activation.lipschitz(0), activation.lipschitz(1)
        if lipschitz is None or smoothness is None or not math.isfinite(lipschitz):
            raise ValueError(
                "`ActivationConstants.of` needs an activation with a finite Lipschitz "
                f"constant and a known one of its derivative. Got {lipschitz} and "
                f"{smoothness} for `{activation}`. Pass the numbers to "
                "`ActivationConstants` if you know them."
            )
        at_zero = abs(float(activation(jnp.asarray(0.0))))
        return cls(lipschitz, smoothness, activation.c_sigma, at_zero)


def geometric_sum(ratio: float, count: int) -> float:
    r"""The series $g_\alpha(n) = \sum_{i=0}^{n-1} \alpha^i$ of du2019's appendix.

    Args:
        ratio: $\alpha \ge 0$.
        count: Number of terms $n$.

    Returns:
        The sum, infinite where it overflows.

    Raises:
        ValueError: If an argument is negative.

    References:
        du2019, Appendix, first paragraph.
    """
    check_at_least("geometric_sum", "ratio", ratio, 0)
    check_at_least("geometric_sum", "count", count, 0)
    return math.fsum(power(ratio, i) for i in range(count))


def power(base: int | float, exponent: int | float) -> float:
    """`base ** exponent` for a base of at least 0, infinite where it overflows."""
    try:
        return float(base) ** exponent
    except OverflowError:
        return math.inf
