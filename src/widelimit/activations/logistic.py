"""Tanh, sigmoid, softplus and SiLU, through the logistic mixture."""

import abc
import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations import logistic_mixture, orthant
from widelimit.activations.base import AbstractActivation, Constants, Pairs
from widelimit.activations.moments import gap as gap_of
from widelimit.activations.moments import squared
from widelimit.activations.orthant import TAU, blur


class AbstractLogistic(AbstractActivation):
    r"""A mean over blurs $\tau = bK$ of functions whose duals are known.

    See `widelimit.activations.logistic_mixture`. Duals are sums over pairs of blurs.
    """

    smooth: ClassVar[bool] = True
    blur_factor: ClassVar[float] = 2.0
    r"""The factor $b$: 2 for a function of $\sigma(z)$, 1 for one of $\sigma(2z)$."""

    @abc.abstractmethod
    def component(self, c: Pairs, p: Pairs, q: Pairs, gap: Pairs, s, t) -> Pairs:
        r"""The dual of the components with the squared blurs $s$ and $t$."""

    @abc.abstractmethod
    def component_derivative(self, c, p, q, gap, s, t) -> Pairs:
        r"""$\partial_c$ of `component`."""

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return _mix(self, "component", None, c, p, q, height)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return _mix(self, "component_derivative", None, c, p, q, height)

    def quadrature_error(self, c: Pairs, p: Pairs, q: Pairs) -> Pairs:
        fewer = logistic_mixture.NODES[jnp.asarray(c).dtype.name] - 2
        less = _mix(self, "component", fewer, c, p, q, None)
        return jnp.abs(self.dual(c, p, q) - less)

    def _mean(self, component, q):
        b2 = self.blur_factor**2
        return logistic_mixture.mean(lambda s: component(q[..., None], b2 * s), q.dtype)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mix(activation, component, nodes, c, p, q, height):
    """The mean of a component; compiled once for each activation and shape."""
    known = gap_of(c, p, q, squared(height))
    dual, b2 = getattr(activation, component), activation.blur_factor**2
    return logistic_mixture.pair_mean(
        lambda s, t: dual(c, p, q, known, b2 * s, b2 * t), c.dtype, nodes
    )


@dataclass(frozen=True)
class Sigmoid(AbstractLogistic):
    r"""Logistic function $\sigma(z) = 1 / (1 + e^{-z})$, a mean of blurred steps."""

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.sigmoid(z)

    def component(self, c, p, q, gap, s, t):
        return orthant.angle(blur(c, p, q, gap, s, t)) / TAU

    def component_derivative(self, c, p, q, gap, s, t):
        return 1 / (TAU * blur(c, p, q, gap, s, t).H)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.full_like(q, 0.5)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._mean(lambda q, s: 1 / jnp.sqrt(TAU * (q + s)), q)

    @property
    def lipschitz_constants(self) -> Constants:
        return 1 / 4, 1 / (6 * math.sqrt(3)), 1 / 8


@dataclass(frozen=True)
class Tanh(AbstractLogistic):
    r"""Hyperbolic tangent $\phi(z) = \tanh z = 2\sigma(2z) - 1$."""

    blur_factor: ClassVar[float] = 1.0

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.tanh(z)

    def component(self, c, p, q, gap, s, t):
        return 4 / TAU * orthant.centred_angle(blur(c, p, q, gap, s, t))

    def component_derivative(self, c, p, q, gap, s, t):
        return 4 / (TAU * blur(c, p, q, gap, s, t).H)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.zeros_like(q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._mean(lambda q, s: 2 / jnp.sqrt(TAU * (q + s)), q)

    @property
    def lipschitz_constants(self) -> Constants:
        return 1.0, 4 / (3 * math.sqrt(3)), 2.0


@dataclass(frozen=True)
class Softplus(AbstractLogistic):
    r"""$\phi(z) = \log(1 + e^z)$, du2019's example: a mean of blurred ramps."""

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.softplus(z)

    def component(self, c, p, q, gap, s, t):
        return orthant.ramp(blur(c, p, q, gap, s, t)) / TAU

    def component_derivative(self, c, p, q, gap, s, t):
        return orthant.angle(blur(c, p, q, gap, s, t)) / TAU

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._mean(lambda q, s: jnp.sqrt((q + s) / TAU), q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.full_like(q, 0.5)

    @property
    def lipschitz_constants(self) -> Constants:
        return 1.0, 1 / 4, 1 / (6 * math.sqrt(3))


@dataclass(frozen=True)
class SiLU(AbstractLogistic):
    r"""Sigmoid linear unit (swish), $\phi(z) = z\,\sigma(z)$: a mean of blurred gates.

    Both duals change sign at some $c < 0$; near it only the absolute error is small.
    """

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.silu(z)

    def component(self, c, p, q, gap, s, t):
        return orthant.gate(c, p, q, gap, s, t) / TAU

    def component_derivative(self, c, p, q, gap, s, t):
        return orthant.gate_derivative(c, p, q, gap, s, t) / TAU

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._mean(lambda q, s: q / jnp.sqrt(TAU * (q + s)), q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.full_like(q, 0.5)

    @property
    def lipschitz_constants(self) -> Constants:
        z = 2.4  # close to where z tanh(z / 2) = 2, and the second derivative is zero
        for _ in range(6):
            t = math.tanh(z / 2)
            z -= (z * t - 2) / (t + z * (1 - t * t) / 2)
        s = 1 / (1 + math.exp(-z))
        return s * (1 + z * (1 - s)), 0.5, None
