r"""Derivatives by two inputs at once, of numbers that belong to a pair of them.

Each input moves in two directions: $x$ in directions 1 and 2, $x'$ in 1' and 2'. A
number of the pair then has two derivatives by $x$, two by $x'$ and four mixed ones; a
variance of one input has one, along that input's direction 1. These sets are closed
under products and functions, since no input moves twice.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import equinox as eqx
from jaxtyping import Array, Float

Block = Float[Array, "n m"]
Entry = TypeVar("Entry")
Grid: TypeAlias = tuple[tuple[Entry, Entry], tuple[Entry, Entry]]


class Partials(eqx.Module):
    r"""Derivatives of a number $f(a, b, c)$ of the three inner products of two inputs.

    $a = \langle x, x \rangle$ is direction 1, $b = \langle x', x' \rangle$ is 1', and
    $c = \langle x, x' \rangle$ is both direction 2 and direction 2'.

    Attributes:
        a: $f_a$.
        b: $f_b$.
        c: $f_c$.
        ab: $f_{ab}$.
        ac: $f_{ac}$.
        bc: $f_{bc}$.
        cc: $f_{cc}$.
    """

    a: Block
    b: Block
    c: Block
    ab: Block
    ac: Block
    bc: Block
    cc: Block

    @property
    def x(self) -> tuple[Block, Block]:
        """Derivatives in directions 1 and 2."""
        return self.a, self.c

    @property
    def y(self) -> tuple[Block, Block]:
        """Derivatives in directions 1' and 2'."""
        return self.b, self.c

    @property
    def xy(self) -> Grid[Block]:
        """Mixed derivatives, the direction of the first input named first."""
        return (self.ab, self.ac), (self.bc, self.cc)

    @property
    def across(self) -> None:
        """Out of the plane of the two inputs, $f_c$ says all."""

    @classmethod
    def of(cls, x, y, xy, across) -> "Partials":
        """Partials from the groups above."""
        del across
        (ab, ac), (bc, cc) = xy
        return cls(x[0], y[0], x[1], ab, ac, bc, cc)


class FramePartials(eqx.Module):
    r"""Derivatives along two orthonormal frames of the plane of two inputs.

    Direction 1 is along $x$, direction 2 orthogonal to it towards $x'$, and likewise
    for $x'$. `across` is the mixed derivative when both inputs move along one unit
    vector that is orthogonal to the plane, which is $f_c$.
    """

    x: tuple[Block, Block]
    y: tuple[Block, Block]
    xy: Grid[Block]
    across: Block

    @classmethod
    def of(cls, x, y, xy, across) -> "FramePartials":
        """Partials from the groups above."""
        return cls(x, y, xy, across)


AnyPartials = Partials | FramePartials


class Second(NamedTuple):
    """A function of $(c, p, q)$ with the derivatives that a mixed one needs."""

    value: Block
    c: Block
    p: Block
    q: Block
    cc: Block
    cp: Block
    cq: Block
    pq: Block


def grid(entry: Callable[[int, int], Entry]) -> Grid[Entry]:
    """What belongs to two directions, from a function of both."""
    return (entry(0, 0), entry(0, 1)), (entry(1, 0), entry(1, 1))


def compose(f: Second, c: AnyPartials, p: Array, q: Array) -> AnyPartials:
    """The chain rule for $f(c, p, q)$.

    Args:
        f: The outer function's derivatives.
        c: Those of the covariance.
        p: The slope of the first variance in direction 1.
        q: The slope of the second variance in direction 1'.

    Returns:
        The derivatives of the composition.
    """
    by_c = [f.cc * c.x[0] + f.cp * p, f.cc * c.x[1]]
    by_q = [f.cq * c.x[0] + f.pq * p, f.cq * c.x[1]]

    def mixed(i: int, j: int) -> Block:
        total = f.c * c.xy[i][j] + by_c[i] * c.y[j]
        return total if j else total + by_q[i] * q

    return c.of(
        (f.c * c.x[0] + f.p * p, f.c * c.x[1]),
        (f.c * c.y[0] + f.q * q, f.c * c.y[1]),
        grid(mixed),
        None if c.across is None else f.c * c.across,
    )


def product(f: Block, df: AnyPartials, g: Block, dg: AnyPartials) -> AnyPartials:
    """The product rule.

    Args:
        f: One number.
        df: Its derivatives.
        g: Another.
        dg: Its derivatives.

    Returns:
        The derivatives of the product.
    """

    def mixed(i: int, j: int) -> Block:
        ends = f * dg.xy[i][j] + df.xy[i][j] * g
        return ends + (df.x[i] * dg.y[j] + dg.x[i] * df.y[j])

    across = None
    if df.across is not None and dg.across is not None:
        across = f * dg.across + df.across * g
    return df.of(
        (f * dg.x[0] + df.x[0] * g, f * dg.x[1] + df.x[1] * g),
        (f * dg.y[0] + df.y[0] * g, f * dg.y[1] + df.y[1] * g),
        grid(mixed),
        across,
    )
