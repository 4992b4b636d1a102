"""Functions of one variable that are sums of kinks."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Kinks(eqx.Module):
    r"""Functions $h(t) = b \pm (c + \sum_s a_s\,\phi(p_s + t q_s))$, one per column.

    $\phi(z) = \max(z, 0) + \alpha \min(z, 0)$. Units come first, so that sums over them
    run along whole rows of memory.

    Attributes:
        start: $p$, at $t = 0$.
        speed: $q$.
        weight: $a$, equal in all columns.
        sign: Of each column.
        offset: $c$.
        slope: $\alpha$.
        lift: $b$, of each column.
    """

    start: Float[Array, "m n"]
    speed: Float[Array, "m n"]
    weight: Float[Array, " m"]
    sign: Float[Array, " n"]
    offset: Float[Array, ""]
    slope: float = eqx.field(static=True)
    lift: Float[Array, " n"] | float = 0.0

    def at(self, t: Float[Array, " n"]) -> Float[Array, " n"]:
        """Each function at its own $t$."""
        z = self.start + t * self.speed
        terms = jnp.where(z > 0, z, self.slope * z) * self.weight[:, None]
        return self.lift + self.sign * (self.offset + jnp.sum(terms, 0))

    def first_slope(self) -> Float[Array, " n"]:
        """Derivative at $t = 0$ from the right."""
        p, q = self.start, self.speed
        active = (p > 0) | ((p == 0) & (q > 0))
        terms = jnp.where(active, q, self.slope * q) * self.weight[:, None]
        return self.sign * jnp.sum(terms, 0)

    def size(self, t: Float[Array, " n"] | float = 0.0) -> Float[Array, " n"]:
        """Sum of the sizes of the terms, which rounding at $t$ is relative to."""
        z = self.start + t * self.speed
        terms = jnp.abs(jnp.where(z > 0, z, self.slope * z) * self.weight[:, None])
        return jnp.abs(self.offset) + jnp.sum(terms, 0)

    def full_size(self) -> Float[Array, " n"]:
        """As `size` at 0, of all units: the rounding at their kinks goes with it."""
        terms = jnp.abs(self.start * self.weight[:, None])
        return jnp.abs(self.offset) + jnp.sum(terms, 0)

    def places(self) -> Float[Array, "m n"]:
        """Where each unit has its kink; infinity if there is none at $t > 0$."""
        moves = self.speed != 0
        places = -self.start / jnp.where(moves, self.speed, 1.0)
        return jnp.where(moves & (places > 0), places, jnp.inf)

    def jumps(self) -> Float[Array, "m n"]:
        r"""By how much the slope rises at each kink, $\pm a (1 - \alpha) |q|$."""
        return self.sign * (1 - self.slope) * self.weight[:, None] * jnp.abs(self.speed)
