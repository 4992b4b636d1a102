"""Rectifiers: piecewise linear activations with one kink at zero."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.base import AbstractActivation


@dataclass(frozen=True)
class ReLU(AbstractActivation):
    r"""Rectifier $\phi(z) = \max(z, 0)$, with $\phi'(0) = 0$."""

    smooth: ClassVar[bool] = False

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.relu(z)


@dataclass(frozen=True)
class LeakyReLU(AbstractActivation):
    r"""Leaky rectifier $\phi(z) = \max(z, 0) + a \min(z, 0)$.

    Args:
        slope: Slope $a$ of the negative half-line, dimensionless.
    """

    slope: float = 0.01
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.slope):
            raise ValueError(
                f"`LeakyReLU` needs a finite `slope`. Got `slope={self.slope}`."
            )

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.where(z > 0, z, self.slope * z)
