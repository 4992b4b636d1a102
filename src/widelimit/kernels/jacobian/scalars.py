r"""What the block of a pair of inputs is made of.

A kernel that depends on $x$ and $x'$ through $a = \langle x, x \rangle$,
$b = \langle x', x' \rangle$ and $c = \langle x, x' \rangle$ has the derivatives

$$\partial_{x'} k = 2 k_b x' + k_c x, \quad \partial_x k = 2 k_a x + k_c x', \quad
  \partial_x \partial_{x'} k = k_c I + (\text{a form of the plane of } x, x'),$$

the last with rows for $x$. So a matrix of such blocks times a vector takes a few matrix
products, and is never formed.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Pairs = Float[Array | np.ndarray, "n m"]
Numbers = Float[Array, "*#s"]


class AbstractScalars(eqx.Module):
    """Eight numbers for every pair of inputs.

    Attributes:
        k: The kernel.
        k_a: $k_a$.
        k_b: $k_b$.
        k_c: $k_c$.
    """

    k: eqx.AbstractVar[Pairs]
    k_a: eqx.AbstractVar[Pairs]
    k_b: eqx.AbstractVar[Pairs]
    k_c: eqx.AbstractVar[Pairs]

    @abc.abstractmethod
    def plane(self, p: Numbers, q: Numbers) -> tuple[Any, Any]:
        r"""The form of the plane, applied to a vector $g$.

        With the vectors $y = s(x) x$ and $y' = s(x') x'$, which span the plane, it is
        $y w + y' w'$.

        Args:
            p: $\langle y, g \rangle$.
            q: $\langle y', g \rangle$.

        Returns:
            $w$ and $w'$, in the shape to which pairs, `p` and `q` broadcast.
        """

    @abc.abstractmethod
    def scale(self, x: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        """The factors $s(x)$ of some inputs."""

    @abc.abstractmethod
    def transposed(self) -> "AbstractScalars":
        """The same numbers with the two inputs exchanged."""

    @classmethod
    def names(cls) -> list[str]:
        """Names of the eight arrays."""
        return [field.name for field in dataclasses.fields(cls)]


class JacobianScalars(AbstractScalars):
    r"""The kernel of every pair and its derivatives by the inner products.

    The form of the plane is
    $4 k_{ab}\,x x'^\top + 2 k_{ac}\,x x^\top + 2 k_{bc}\,x' x'^\top
    + k_{cc}\,x' x^\top$.

    Attributes:
        k: $k(a, b, c)$, the kernel itself.
        k_a: $k_a$, the derivative by $\langle x, x \rangle$.
        k_b: $k_b$, by $\langle x', x' \rangle$.
        k_c: $k_c$, by $\langle x, x' \rangle$.
        k_ab: $k_{ab}$.
        k_ac: $k_{ac}$.
        k_bc: $k_{bc}$.
        k_cc: $k_{cc}$.
    """

    k: Pairs
    k_a: Pairs
    k_b: Pairs
    k_c: Pairs
    k_ab: Pairs
    k_ac: Pairs
    k_bc: Pairs
    k_cc: Pairs

    def plane(self, p: Numbers, q: Numbers) -> tuple[Any, Any]:
        w = self.k_ac * (2 * p) + self.k_ab * (4 * q)
        return w, self.k_cc * p + self.k_bc * (2 * q)

    def scale(self, x: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        return jnp.ones_like(x, shape=x.shape[:-1])

    def transposed(self) -> "JacobianScalars":
        return JacobianScalars(
            k=self.k.T,
            k_a=self.k_b.T,
            k_b=self.k_a.T,
            k_c=self.k_c.T,
            k_ab=self.k_ab.T,
            k_ac=self.k_bc.T,
            k_bc=self.k_ac.T,
            k_cc=self.k_cc.T,
        )


class FrameScalars(AbstractScalars):
    r"""The same for kernels with kinks, whose $k_{cc}$ is infinite for parallel inputs.

    With $y$, $y'$ the directions of the inputs (zero for a zero input),
    $m = (y + y') / 2$ and $h = (y - y') / 2$, the form of the plane is
    $\mu_{mm}\,m m^\top + \mu_{mh}\,m h^\top + \mu_{hm}\,h m^\top + \mu_{hh}\,h h^\top$.
    As the inputs become parallel $\mu_{hh}$ grows like $1 / |h|$, but products with it
    keep their digits, since $h$ enters twice.

    Attributes:
        k: $k(a, b, c)$, the kernel itself.
        k_a: $k_a$.
        k_b: $k_b$.
        k_c: $k_c$.
        mm: $\mu_{mm}$.
        mh: $\mu_{mh}$.
        hm: $\mu_{hm}$.
        hh: $\mu_{hh}$.
    """

    k: Pairs
    k_a: Pairs
    k_b: Pairs
    k_c: Pairs
    mm: Pairs
    mh: Pairs
    hm: Pairs
    hh: Pairs

    def plane(self, p: Numbers, q: Numbers) -> tuple[Any, Any]:
        m, h = (p + q) / 2, (p - q) / 2
        along = self.mm * m + self.mh * h
        apart = self.hm * m + self.hh * h
        return (along + apart) / 2, (along - apart) / 2

    def scale(self, x: Float[Array, "*n d"]) -> Float[Array, "*n"]:
        unit = jnp.max(jnp.abs(x), axis=-1)  # so that squares stay in range
        proper = unit > 0
        unit = jnp.where(proper, unit, 1.0)
        rest = x / unit[..., None]
        length = unit * jnp.sqrt(jnp.sum(rest * rest, axis=-1))
        return jnp.where(proper, 1 / jnp.where(proper, length, 1.0), 0.0)

    def transposed(self) -> "FrameScalars":
        return FrameScalars(
            k=self.k.T,
            k_a=self.k_b.T,
            k_b=self.k_a.T,
            k_c=self.k_c.T,
            mm=self.mm.T,
            mh=-self.hm.T,
            hm=-self.mh.T,
            hh=self.hh.T,
        )
