"""Sine and cosine."""

import abc
import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_positive
from widelimit.activations.base import AbstractActivation, Constants, Pairs


class AbstractWave(AbstractActivation):
    r"""$\sin(az)$ or $\cos(az)$, whose derivatives are each other.

    $$E[\sin au \sin av] = \tfrac12 (e^{-a^2 r/2} - e^{-a^2 s/2}), \quad
      E[\cos au \cos av] = \tfrac12 (e^{-a^2 r/2} + e^{-a^2 s/2}),$$

    with $r = E(u-v)^2$ and $s = E(u+v)^2$. Once $a^2 r$ and $a^2 s$ are large, rounding
    of the moments moves the exponentials: relative errors grow like $a^2 \max(p, q)$
    roundings.
    """

    smooth: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def frequency(self) -> float:
        """Angular frequency $a$."""

    def __post_init__(self) -> None:
        check_positive(type(self).__name__, "frequency", self.frequency)

    @property
    def lipschitz_constants(self) -> Constants:
        return self.frequency, self.frequency**2, self.frequency**3

    def _sines(self, c, p, q):
        return _sines(self.frequency, c, p, q)

    def _cosines(self, c, p, q):
        return _cosines(self.frequency, c, p, q)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sines(a: float, c: Pairs, p: Pairs, q: Pairs) -> Pairs:
    """Mean of the product of two sines, by a difference that does not cancel."""
    size = jnp.abs(c)
    near = jnp.exp(-0.5 * a**2 * ((p - size) + (q - size)))
    return -0.5 * jnp.sign(c) * near * jnp.expm1(-2 * a**2 * size)


@_sines.defjvp
def _sines_jvp(a, primals, tangents):
    dc, dp, dq = tangents  # by Price's theorem; that of |c| has no value at zero
    here, there = _sines(a, *primals), _cosines(a, *primals)
    return here, a**2 * (there * dc - 0.5 * here * (dp + dq))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _cosines(a: float, c: Pairs, p: Pairs, q: Pairs) -> Pairs:
    """Mean of the product of two cosines."""
    near = jnp.exp(-0.5 * a**2 * ((p - c) + (q - c)))
    return 0.5 * (near + jnp.exp(-0.5 * a**2 * ((p + c) + (q + c))))


@_cosines.defjvp
def _cosines_jvp(a, primals, tangents):
    dc, dp, dq = tangents
    here, there = _cosines(a, *primals), _sines(a, *primals)
    return here, a**2 * (there * dc - 0.5 * here * (dp + dq))


@dataclass(frozen=True)
class Sine(AbstractWave):
    r"""$\phi(z) = \sin(a z)$.

    Args:
        frequency: Angular frequency $a$.
    """

    frequency: float = 1.0

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.sin(self.frequency * z)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return self._sines(c, p, q)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return self.frequency**2 * self._cosines(c, p, q)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.zeros_like(q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self.frequency * jnp.exp(-0.5 * self.frequency**2 * q)


@dataclass(frozen=True)
class Cosine(AbstractWave):
    r"""$\phi(z) = \cos(a z)$.

    Args:
        frequency: Angular frequency $a$.
    """

    frequency: float = 1.0

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.cos(self.frequency * z)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return self._cosines(c, p, q)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return self.frequency**2 * self._sines(c, p, q)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.exp(-0.5 * self.frequency**2 * q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.zeros_like(q)
