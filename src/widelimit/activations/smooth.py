"""Smooth activations."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.base import AbstractActivation


@dataclass(frozen=True)
class Identity(AbstractActivation):
    r"""$\phi(z) = z$: a deep linear network."""

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return z


@dataclass(frozen=True)
class Erf(AbstractActivation):
    r"""Error function $\phi(z) = \mathrm{erf}(z)$."""

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.scipy.special.erf(z)


@dataclass(frozen=True)
class GELU(AbstractActivation):
    r"""Exact Gaussian error linear unit, $\phi(z) = z\,P(N(0, 1) \le z)$."""

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.gelu(z, approximate=False)


@dataclass(frozen=True)
class Tanh(AbstractActivation):
    r"""Hyperbolic tangent $\phi(z) = \tanh z$."""

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.tanh(z)
