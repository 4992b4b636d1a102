"""Polynomials, the identity among them."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_finite
from widelimit.activations.base import AbstractActivation, Constants, Pairs


@dataclass(frozen=True)
class Identity(AbstractActivation):
    r"""$\phi(z) = z$: a deep linear network."""

    smooth: ClassVar[bool] = True

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return z

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return c + jnp.zeros_like(p + q)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return jnp.ones_like(c + p + q)

    def dual_height(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs) -> Pairs | None:
        return height

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.zeros_like(q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return jnp.ones_like(q)

    @property
    def lipschitz_constants(self) -> Constants:
        return 1.0, 0.0, 0.0


@dataclass(frozen=True)
class Polynomial(AbstractActivation):
    r"""$\phi(z) = \sum_j a_j z^j$; the square is `Polynomial((0, 0, 1))`.

    From Mehler's series, which ends here,

    $$E[\phi(u)\phi(v)] = \sum_k \frac{c^k}{k!}\, m_k(p)\, m_k(q), \quad
      m_k(q) = E\,\phi^{(k)}(v)
             = \sum_i a_{k+2i} \frac{(k+2i)!}{2^i\,i!} q^i.$$

    Args:
        coefficients: $a_0, a_1, \dots$, lowest power first.
    """

    coefficients: tuple[float | int, ...]
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        numbers = tuple(self.coefficients)
        if not numbers:
            raise ValueError(
                "`Polynomial` needs at least one coefficient. Got `coefficients=()`. "
                "The square is `Polynomial((0, 0, 1))`."
            )
        check_finite("Polynomial", "coefficients", numbers)
        object.__setattr__(self, "coefficients", tuple(map(float, numbers)))

    @property
    def degree(self) -> int:
        """The highest power whose coefficient is not zero."""
        return max((j for j, a in enumerate(self.coefficients) if a), default=0)

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return _horner(self.coefficients, z)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return self._mehler(0, c, p, q)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return self._mehler(1, c, p, q)

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._derivative_mean(0, q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self._derivative_mean(1, q)

    @property
    def lipschitz_constants(self) -> Constants:
        # The derivative of order k is constant for degree k, and then k! times a_k.
        a = (*self.coefficients, 0.0, 0.0, 0.0)
        first, second, third = (
            math.inf if self.degree > k else math.factorial(k) * abs(a[k])
            for k in (1, 2, 3)
        )
        return first, second, third

    def _mehler(self, order, c, p, q):
        total = jnp.zeros_like(c + p + q)
        for k in reversed(range(order, self.degree + 1)):
            pair = self._derivative_mean(k, p) * self._derivative_mean(k, q)
            total = total * c + pair / math.factorial(k - order)
        return total

    def _derivative_mean(self, k, q):
        higher = self.coefficients[k : self.degree + 1 : 2]
        factors = [
            a * math.factorial(k + 2 * i) / (2**i * math.factorial(i))
            for i, a in enumerate(higher)
        ]
        return _horner(factors, q)


def _horner(coefficients, z):
    total = jnp.zeros_like(z)
    for a in reversed(coefficients):
        total = total * z + a
    return total
