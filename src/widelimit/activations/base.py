"""What every activation offers: its values, and its means over Gaussian pairs."""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_finite, check_one_of
from widelimit.activations import hermite
from widelimit.description import Description

Pairs = Float[Array, "*#s"]  # one entry per pair; the arguments broadcast
Constants = tuple[float | None, float | None, float | None]
HERMITE_TERMS = 256


class AbstractActivation(Description, abc.ABC):
    r"""An elementwise nonlinearity $\phi$ and its Gaussian duals.

    Duals are means over a centred Gaussian pair $(u, v)$ with the moments
    $c = E[uv]$, $p = E[u^2]$, $q = E[v^2]$. They are closed under differentiation
    (Price's theorem): with $V_{\phi\psi}(c, p, q) = E[\phi(u)\psi(v)]$,

    $$\partial_c V_{\phi\psi} = V_{\phi'\psi'}, \quad
      \partial_p V_{\phi\psi} = \tfrac12 V_{\phi''\psi}, \quad
      \partial_q V_{\phi\psi} = \tfrac12 V_{\phi\psi''}.$$

    All methods broadcast, and work under `jit`, `vmap`, `jvp` and `grad`. Derivatives
    of any order are right on the diagonal $c = p = q$ too when $\phi$ is smooth.

    A subclass needs `__call__` and `smooth`. Duals then come from a Hermite series
    (`widelimit.activations.hermite`), which converges only for smooth functions of
    moderate variance: see `check_quadrature`. Override the four means where they have
    a closed form.

    Attributes:
        smooth: Whether $\phi$ is twice differentiable everywhere.
    """

    smooth: ClassVar[bool]

    @abc.abstractmethod
    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$\phi(z)$, entry by entry."""

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        r"""$E[\phi(u)\phi(v)]$.

        Args:
            c: Covariance $E[uv]$; at most $\sqrt{pq}$ in size.
            p: Variance $E[u^2]$.
            q: Variance $E[v^2]$.
            height: $\sqrt{pq - c^2}$, from a caller who knows it better than $c$,
                $p$ and $q$ say after rounding: near $c = \pm\sqrt{pq}$ half of its
                digits are beyond what rounded moments hold. It sharpens the value;
                derivatives are those with respect to $(c, p, q)$, as if `height`
                followed from them. Left out, it is formed without cancellation.

        Returns:
            The mean, in the broadcast shape.
        """
        del height  # a smooth function loses nothing without it
        terms = self._hermite_terms("dual")
        return hermite.pair_mean(self, 0, 0, terms, c, p, q)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        r"""$E[\phi'(u)\phi'(v)]$, which is also $\partial_c$ of `dual`.

        Args:
            c: Covariance, as in `dual`.
            p: Variance of $u$.
            q: Variance of $v$.
            height: $\sqrt{pq - c^2}$ if known better, as in `dual`.

        Returns:
            The mean, in the broadcast shape.
        """
        del height
        terms = self._hermite_terms("dual_derivative")
        return hermite.pair_mean(self, 1, 1, terms, c, p, q)

    def dual_height(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs) -> Pairs | None:
        r"""$\sqrt{E\phi(u)^2\,E\phi(v)^2 - (E\phi(u)\phi(v))^2}$, from that of $u, v$.

        It keeps the digits of small angles from layer to layer. Its derivatives are
        not those of the formula: duals do not use them.

        Args:
            c: Covariance, as in `dual`.
            p: Variance of $u$.
            q: Variance of $v$.
            height: $\sqrt{pq - c^2}$, accurately.

        Returns:
            The height, or `None` where it is not known better than rounded duals say.
        """
        del c, p, q, height
        return None

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$E\,\phi(v)$ for $v$ of variance $q$."""
        return hermite.mean(self, 0, self._hermite_terms("mean"), q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$E\,\phi'(v)$ for $v$ of variance $q$."""
        return hermite.mean(self, 1, self._hermite_terms("mean_derivative"), q)

    def second_moment(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$E\,\phi(v)^2$ for $v$ of variance $q$: `dual` on the diagonal."""
        return self.dual(q, q, q, jnp.zeros_like(q))

    def derivative_second_moment(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        r"""$E\,\phi'(v)^2$ for $v$ of variance $q$."""
        return self.dual_derivative(q, q, q, jnp.zeros_like(q))

    def quadrature_error(self, c: Pairs, p: Pairs, q: Pairs) -> Pairs:
        """Estimated absolute error of `dual`: what a cheaper rule would change.

        Args:
            c: Covariance.
            p: Variance of the first.
            q: Variance of the second.

        Returns:
            A pessimistic estimate, or zero where `dual` is a closed form.
        """
        if type(self).dual is not AbstractActivation.dual:
            return jnp.zeros_like(c + p + q)
        terms = self._hermite_terms("quadrature_error")
        full, less = (
            hermite.pair_mean(self, 0, 0, k, c, p, q) for k in (terms, terms // 2)
        )
        return jnp.abs(full - less)

    def lipschitz(self, order: int = 0) -> float | None:
        r"""Lipschitz constant of the derivative of that order, $\sup|\phi^{(k+1)}|$.

        Args:
            order: Number $k$ of derivatives taken first: 0, 1 or 2. In the letters of
                kim2023, Assumption 1, the constants are $M_1, M_2, M_3$.

        Returns:
            The smallest constant; `inf` if there is none, `None` if it is not known.

        Raises:
            ValueError: If the order is not 0, 1 or 2.
        """
        check_one_of("lipschitz", "order", order, (0, 1, 2))
        return self.lipschitz_constants[order]

    @property
    def lipschitz_constants(self) -> Constants:
        """Those of orders 0, 1 and 2; see `lipschitz`."""
        return None, None, None

    @property
    def c_sigma(self) -> float:
        r"""$c_\sigma = 1 / E\,\phi(z)^2$ with $z \sim N(0, 1)$; du2019, below Eq. (2).

        Raises:
            ValueError: If the mean square is zero or not finite.
        """
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            square = float(self.second_moment(jnp.asarray(1.0, dtype=jnp.float64)))
        if not (math.isfinite(square) and square > 0):
            raise ValueError(
                "`c_sigma` needs an activation with a finite positive mean square "
                f"under N(0, 1). Got {square} for `{self}`."
            )
        return 1 / square

    def normalized(self) -> "AbstractActivation":
        r"""The multiple of $\phi$ with $E\,\phi(z)^2 = 1$ for $z \sim N(0, 1)$."""
        return Scaled(self, math.sqrt(self.c_sigma))

    def _hermite_terms(self, caller: str) -> int:
        if not self.smooth:
            raise ValueError(
                f"`{caller}` needs a smooth activation where no closed form is given. "
                f"Got `{self}`, for whose kink the Hermite series converges too "
                f"slowly. Override `{caller}` in `{type(self).__name__}`."
            )
        return getattr(self, "terms", HERMITE_TERMS)


@dataclass(frozen=True)
class Scaled(AbstractActivation):
    r"""A multiple $b\,\phi$ of another activation.

    Args:
        function: The activation $\phi$.
        factor: The factor $b$, dimensionless.
    """

    function: AbstractActivation
    factor: float

    def __post_init__(self) -> None:
        if not isinstance(self.function, AbstractActivation):
            raise ValueError(
                "`Scaled` needs an activation such as `ReLU()`. Got "
                f"`function={self.function!r}`."
            )
        check_finite("Scaled", "factor", self.factor)

    @property
    def smooth(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.function.smooth

    def __call__(self, z: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self.factor * self.function(z)

    def dual(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None) -> Pairs:
        return self.factor**2 * self.function.dual(c, p, q, height)

    def dual_derivative(
        self, c: Pairs, p: Pairs, q: Pairs, height: Pairs | None = None
    ) -> Pairs:
        return self.factor**2 * self.function.dual_derivative(c, p, q, height)

    def dual_height(self, c: Pairs, p: Pairs, q: Pairs, height: Pairs) -> Pairs | None:
        inner = self.function.dual_height(c, p, q, height)
        return None if inner is None else self.factor**2 * inner

    def mean(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self.factor * self.function.mean(q)

    def mean_derivative(self, q: Float[Array, "*s"]) -> Float[Array, "*s"]:
        return self.factor * self.function.mean_derivative(q)

    def quadrature_error(self, c: Pairs, p: Pairs, q: Pairs) -> Pairs:
        return self.factor**2 * self.function.quadrature_error(c, p, q)

    @property
    def lipschitz_constants(self) -> Constants:
        first, second, third = (
            None if constant is None else abs(self.factor) * constant
            for constant in self.function.lipschitz_constants
        )
        return first, second, third
