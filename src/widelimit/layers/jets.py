r"""Values with their derivatives along several directions, carried through functions.

A jet of an array `n *s` is an array `r n *s` with $r = d + 1$: at index 0 the value,
then the derivatives along $d$ directions, which here are the coordinates of each row's
own input. Rows do not meet, so one forward pass per direction serves all rows.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def input_jets(x: Float[Array, "n *s"]) -> Float[Array, "r n *s"]:
    """Jets of the inputs themselves, along their coordinates counted flat.

    Args:
        x: Inputs, one per row.

    Returns:
        The inputs and the unit vectors.
    """
    d = math.prod(x.shape[1:])
    units = jnp.eye(d + 1, d, -1, dtype=x.dtype).reshape(d + 1, 1, *x.shape[1:])
    return with_value(x, jnp.broadcast_to(units, (d + 1, *x.shape)))


def constant_jets(x: Float[Array, "n *s"], directions: int) -> Float[Array, "r n *s"]:
    """Jets of arrays that do not depend on the input.

    Args:
        x: The values.
        directions: How many derivatives, which are zero.

    Returns:
        The jets.
    """
    return with_value(x, jnp.zeros((directions + 1, *x.shape), x.dtype))


def carried(f: Callable[..., Any], *jets: Any) -> Any:
    """Jets of a function's value, from those of its arguments.

    Args:
        f: Function of pytrees of arrays, one entry per row, that does not mix rows.
        *jets: Jets of its arguments.

    Returns:
        Jets of what `f` returns.
    """
    values = jax.tree.map(lambda a: a[0], jets)
    push = jax.vmap(lambda slopes: jax.jvp(f, values, slopes), out_axes=(None, 0))
    # The values go along as one more direction: what became of it is written over.
    # That costs less than to cut the jets here and to join them again below.
    return jax.tree.map(with_value, *push(jets))


def with_value(value: Float[Array, "n *s"], jets: Float[Array, "r n *s"]) -> Array:
    """Jets with another value in its place, in one pass over them.

    Args:
        value: The value.
        jets: Jets, of which the derivatives stay.

    Returns:
        The jets.
    """
    first = jnp.arange(len(jets)).reshape(-1, *(1,) * value.ndim) == 0
    return jnp.where(first, value, jets)


def paired(
    product: Callable[[Any, Any], Float[Array, "n m *o"]], one: Any, two: Any
) -> Float[Array, "r n r m *o"]:
    r"""Values and derivatives of a function of pairs, along directions of either side.

    Entry $(\alpha, \beta)$ is $\partial_\alpha \partial_\beta' k(x, x')$, and index 0
    means no derivative.

    Args:
        product: Function $k$ of two pytrees, one entry per row each.
        one: Jets of the first.
        two: Jets of the second.

    Returns:
        The jets by both sides.
    """

    def by_second(one):
        found = carried(lambda two: product(one, two), two)
        return jnp.moveaxis(found, 0, 1)

    return carried(by_second, one)


def leibniz(
    p: Float[Array, "r n r m *#o"], q: Float[Array, "r n r m *o"]
) -> Float[Array, "r n r m *o"]:
    r"""Jets by both sides of a product of two functions of pairs.

    Args:
        p: Jets $P$ of the one.
        q: Jets $Q$ of the other.

    Returns:
        $P_{\alpha\beta} Q_{00} + P_{\alpha 0} Q_{0\beta} + P_{0\beta} Q_{\alpha 0} +
        P_{00} Q_{\alpha\beta}$; where $\alpha$ or $\beta$ is 0, equal terms count once.
    """
    total = p * q[:1, :, :1] + p[:, :, :1] * q[:1]
    total = total + p[:1] * q[:, :, :1] + p[:1, :, :1] * q
    once = (1 - 0.5 * _first(p, 0)) * (1 - 0.5 * _first(p, 2))
    return total * once


def at_values(p: Float[Array, "r n r m *o"]) -> Float[Array, "r n r m *o"]:
    """Jets of a constant 1: that at the pair of values, 0 at derivatives."""
    return jnp.broadcast_to(_first(p, 0) * _first(p, 2), p.shape)


def _first(p: Array, axis: int) -> Array:
    shape = [1] * p.ndim
    shape[axis] = p.shape[axis]
    return (jnp.arange(p.shape[axis]) == 0).astype(p.dtype).reshape(shape)
