"""The error function, and the Gaussian error linear unit."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations import orthant
from widelimit.activations.base import AbstractActivation, Constants, Pairs
from widelimit.activations.moments import gap, squared
from widelimit.activations.orthant import TAU, blur


@dataclass(frozen=True)
class Erf(AbstractActivation):
    r"""Error function $\phi(z) = \mathrm{erf}(z)$.

    $\phi(z) = 2 P(z + g / \sqrt2 > 0) - 1$ is a step, blurred: with $P = p + 1/2$,
    $Q = q + 1/2$ and $H = \sqrt{PQ - c^2}$

    $$E[\phi(u)\phi(v)] = \tfrac2\pi\,\mathrm{atan2}(c, H), \quad
      E[\phi'(u)\phi'(v)] = \frac{2}{\pi H}.$$

    The arctangent is the arcsine of Williams (1997) without its cancellation.
    """

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.scipy.special.erf(z)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return 4 / TAU * orthant.centred_angle(blur(c, p, q, squared(height), 0.5, 0.5))

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return 4 / TAU / blur(c, p, q, squared(height), 0.5, 0.5).H

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.zeros_like(q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return 2 / jnp.sqrt(math.pi * (1 + 2 * q))

    @property
    def lipschitz_constants(self) -> Constants:
        root = math.sqrt(math.pi)
        return 2 / root, math.sqrt(8 / math.e) / root, 4 / root


@dataclass(frozen=True)
class GELU(AbstractActivation):
    r"""Exact Gaussian error linear unit, $\phi(z) = z\,P(N(0, 1) \le z)$.

    With $P = 1 + p$, $Q = 1 + q$, $H = \sqrt{PQ - c^2}$ and
    $\alpha = \mathrm{atan2}(H, -c)$, Stein's lemma gives

    $$2\pi\,E[\phi(u)\phi(v)] = c\alpha + \frac{pq - c^2 + c^2 (1/P + 1/Q)}{H}, \quad
      2\pi\,E[\phi'(u)\phi'(v)] = \alpha + \frac cH
      \left(\frac1{H^2} + \frac1P + \frac1Q\right).$$

    Both change sign at some $c < 0$; near it only the absolute error is small.
    """

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.gelu(z, approximate=False)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        known = gap(c, p, q, squared(height))
        return orthant.gate(c, p, q, known, 1.0, 1.0) / TAU

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return orthant.gate_derivative(c, p, q, squared(height), 1.0, 1.0) / TAU

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return q / jnp.sqrt(TAU * (1 + q))

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.full_like(q, 0.5)

    @property
    def lipschitz_constants(self) -> Constants:
        def density(z):
            return math.exp(-z * z / 2) / math.sqrt(TAU)

        # Extrema are where the next derivative is zero: (2 - z^2), -z (4 - z^2) and
        # -(4 - 7 z^2 + z^4), each times the density.
        y, z = math.sqrt(2), math.sqrt((7 - math.sqrt(33)) / 2)
        first = 0.5 * math.erfc(-1) + y * density(y)
        return first, 2 * density(0), z * (4 - z * z) * density(z)
