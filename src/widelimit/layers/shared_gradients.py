r"""Inner products of the gradients of weights that are shared over positions.

The gradient of such weights is a sum over positions $p$ of outer products,
$\sum_p x_{i, p + \delta}\,g_{iap}^\top$ for offset $\delta$ of the window. Either it is
formed, row by row, or the sum is taken over pairs of positions:
$\sum_{pq} K_{pq} \langle g_{iap}, g_{jbq} \rangle$ with
$K_{pq} = \sum_\delta \langle x_{i, p + \delta}, x_{j, q + \delta} \rangle$.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.layers.windows import Windows

AT_ONCE = 2**22  # numbers that pairs of positions may take at a time


def pairs_are_cheaper(
    windows: Windows, x: Float[Array, "n *p d"], cotangents: Float[Array, "n o *q w"]
) -> bool:
    """Whether pairs of positions take fewer operations than gradients, per two rows.

    Args:
        windows: Where weights meet the input.
        x: Inputs.
        cotangents: Derivatives by outputs.

    Returns:
        The answer.
    """
    _, *inner, features = x.shape
    _, outputs, *outer, channels = cotangents.shape
    p, q = math.prod(inner), math.prod(outer)
    pairs = p**2 * features + q**2 * (windows.size + outputs * channels)
    return pairs <= outputs * windows.size * features * channels


def window_gradients(
    windows: Windows, x: Float[Array, "n *p d"], cotangents: Float[Array, "n o *q w"]
) -> Float[Array, "n o delta d w"]:
    """The gradients, one offset after another.

    Args:
        windows: Where weights meet the input.
        x: Inputs.
        cotangents: Derivatives by outputs.

    Returns:
        The gradients at every row and output.
    """
    rank = len(windows.shape)
    positions = cotangents.shape[2:-1]
    x = windows.padded(x, [(1 + axis, axis) for axis in range(rank)])
    g = _flat(cotangents)
    found = []
    for offset in itertools.product(*map(range, windows.shape)):
        part = x
        for axis, start in enumerate(offset):
            step = windows.strides[axis]
            end = start + (positions[axis] - 1) * step + 1
            part = jax.lax.slice_in_dim(part, start, end, step, 1 + axis)
        part = part.reshape(len(x), -1, x.shape[-1])
        found.append(jnp.einsum("npd,napw->nadw", part, g))
    return jnp.stack(found, 2)


def paired_positions(
    windows: Windows,
    factor: float,
    shift: float,
    one: tuple[Float[Array, "n *p d"], Float[Array, "n o *q w"]],
    two: tuple[Float[Array, "m *p d"], Float[Array, "m o *q w"]],
    *,
    output_axes: bool,
) -> Float[Array, "n m *o"]:
    r"""Sums over pairs of positions, with $c K_{pq} + s$ in place of $K_{pq}$.

    Args:
        windows: Where weights meet the input.
        factor: $c$.
        shift: $s$, for a bias.
        one: Inputs and derivatives by outputs of one batch.
        two: The like of another.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.

    Returns:
        The products, `n m o o` or `n m`.
    """
    rank = len(windows.shape)
    x2, g2 = two[0], _flat(two[1])
    m, _, q, _ = g2.shape

    def row(batch):
        x, g = batch
        k = jnp.tensordot(x2, x, (-1, -1))
        for axis in range(rank):
            k = windows.sums(k, axis, (1 + axis, 1 + rank + axis))
        k = factor * k.reshape(m, q, q) + shift
        near = jnp.einsum("mqp,apw->maqw", k, g)
        return jnp.einsum("maqw,mbqw->mab" if output_axes else "maqw,maqw->m", near, g2)

    size = m * (math.prod(x2.shape[1:-1]) ** 2 + g2[0].size)
    rows = max(min(AT_ONCE // size, len(one[0])), 1)
    return jax.lax.map(row, (one[0], _flat(one[1])), batch_size=rows)


def _flat(cotangents: Float[Array, "n o *q w"]) -> Float[Array, "n o r w"]:
    return cotangents.reshape(*cotangents.shape[:2], -1, cotangents.shape[-1])
