"""Rectifiers: piecewise linear activations with one kink at zero."""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.base import AbstractActivation, Constants, Pairs
from widelimit.activations.moments import height as height_of
from widelimit.activations.orthant import (
    TAU,
    Blurred,
    angle,
    bend,
    centred_angle,
    centred_ramp,
    ramp,
)


class AbstractRectifier(AbstractActivation):
    r"""$\phi(z) = \max(z, 0) + a \min(z, 0)$, with a slope $a$ that a subclass names.

    With $h = \sqrt{pq - c^2}$ and $\alpha = \mathrm{atan2}(h, -c)$,

    $$E[\phi(u)\phi(v)] = a c + \frac{(1-a)^2}{2\pi}(h + \alpha c), \quad
      E[\phi'(u)\phi'(v)] = a + \frac{(1-a)^2}{2\pi} \alpha;$$

    at $a = 0$ these are half the arc-cosine kernels of Cho & Saul (2009), Sec. 2. Where
    $p$ or $q$ is zero, $\phi'(0)$ is that of `jax.grad`.

    The second has a cusp at $c = p = q$. Its derivatives there are infinite; they are
    given as zero, which is right along the diagonal only.
    """

    smooth: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def slope(self) -> float:
        """Slope $a$ of the negative half-line, dimensionless."""

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        a = self.slope
        m = Blurred(c, p, q, height_of(c, p, q, height))
        if a < 0:  # the same, but without cancellation at a = -1
            return (1 + a) ** 2 / 4 * c + (1 - a) ** 2 / TAU * centred_ramp(m)
        return a * c + (1 - a) ** 2 / TAU * ramp(m)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        a = self.slope
        m = Blurred(c, p, q, height_of(c, p, q, height))
        if a < 0:  # the same, but without cancellation at a = -1
            slopes = (1 + a) ** 2 / 4 + (1 - a) ** 2 / TAU * centred_angle(m)
        else:
            slopes = a + (1 - a) ** 2 / TAU * angle(m)
        apart = self.mean_derivative(p) * self.mean_derivative(q)
        return jnp.where((p > 0) & (q > 0), slopes, apart)

    def dual_height(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs) -> Pairs | None:
        # With alpha the angle between u and +v or -v, whichever is less, the sine
        # less alpha times the cosine is the ramp of nearly opposite inputs. With the
        # cosine 1 - x behind, the sine there is sqrt(x (2 - x)): `less` is
        # x total / 2. Nothing but the size has a unit.
        c, p, q, height = map(jax.lax.stop_gradient, (c, p, q, height))
        a, size = self.slope, jnp.sqrt(p) * jnp.sqrt(q)
        one = jnp.where(size > 0, size, 1.0)
        m = Blurred(c, p, q, height_of(c, p, q, height))
        sine, cosine = m.H / one, jnp.abs(c) / one
        bent = (1 - a) ** 2 / TAU * (bend(m) / one)
        versine = sine * sine / (1 + cosine)
        total = 1 + a * a  # twice E phi(u)^2 / p
        short = total / 2 * versine - bent  # as c > 0 says
        away = (1 + a) ** 2 / 2 - a * versine - bent  # as c < 0 says
        less = jnp.maximum(jnp.where(c > 0, short, away), 0.0)
        new = size * jnp.sqrt(less * jnp.maximum(total - less, 0.0))
        return jnp.where(size > 0, new, 0.0)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        root = jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1.0) / TAU), 0.0)
        return (1 - self.slope) * root

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        q = jnp.asarray(q)
        return jnp.where(q > 0, (1 + self.slope) / 2, self.slope).astype(q.dtype)

    @property
    def lipschitz_constants(self) -> Constants:
        higher = 0.0 if self.slope == 1 else math.inf
        return max(1.0, abs(self.slope)), higher, higher


@dataclass(frozen=True)
class ReLU(AbstractRectifier):
    r"""Rectifier $\phi(z) = \max(z, 0)$, with $\phi'(0) = 0$."""

    slope: ClassVar[float] = 0.0

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jax.nn.relu(z)


@dataclass(frozen=True)
class LeakyReLU(AbstractRectifier):
    r"""Leaky rectifier $\phi(z) = \max(z, 0) + a \min(z, 0)$, with $\phi'(0) = a$.

    Args:
        slope: Slope $a$ of the negative half-line, dimensionless.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not math.isfinite(self.slope):
            raise ValueError(
                f"`LeakyReLU` needs a finite `slope`. Got `slope={self.slope}`."
            )

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.where(z > 0, z, self.slope * z)


@dataclass(frozen=True)
class Abs(AbstractRectifier):
    r"""Absolute value $\phi(z) = |z|$, with $\phi'(0) = -1$."""

    slope: ClassVar[float] = -1.0

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.where(z > 0, z, -z)
