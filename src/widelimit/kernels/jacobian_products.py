r"""Tangent kernels of any function, from gradients row by row or from products.

With $J$ the Jacobian by the parameters, $J_1 J_2^\top$ is contracted from gradients
where these are few numbers; otherwise its column $J_1 (J_2^\top e_{jb})$ is one reverse
and one forward pass, and no Jacobian is formed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.layers.gradients import inner_products, row_gradients

Function = Callable[[Any, Any], Any]
COLUMNS = 16  # columns of the kernel that are worked on at once


def row_jacobians(f: Function, params: Any, x: Float[Array, "n *s"]) -> Any:
    """Gradients of every output at every row.

    Args:
        f: Function of parameters and a batch; its outputs are counted flat.
        params: Parameters, a pytree of float arrays.
        x: Inputs, one per row.

    Returns:
        A pytree as `params`, with axes `n o` in front.
    """
    units = _units(f, params, x)
    units = jnp.broadcast_to(units, (len(x), *units.shape))
    return row_gradients(_flat(f), params, x, units)


def contracted(
    one: Any, two: Any, *, output_axes: bool, entries: int = 1
) -> Float[Array, "k l *o"]:
    """The kernel from `row_jacobians` of two batches; without output axes its trace.

    Args:
        one: Gradients of one batch.
        two: Gradients of another.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.
        entries: Rows of the kernel for each input: a function gives outputs for each.

    Returns:
        The kernel `k l o o`, or its trace `k l`.
    """

    def by_entry(leaf: Array) -> Array:
        n, o, *rest = leaf.shape
        return leaf.reshape(n * entries, o // entries, *rest)

    one, two = (jax.tree.map(by_entry, side) for side in (one, two))
    return inner_products(one, two, output_axes=output_axes)


def multiplied(
    f: Function,
    params: Any,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"],
    *,
    output_axes: bool,
    columns: int = COLUMNS,
    entries: int = 1,
) -> Float[Array, "k l *o"]:
    """The kernel, column by column, without a Jacobian.

    Args:
        f: Function of parameters and a batch; its outputs are counted flat.
        params: Parameters, a pytree of float arrays.
        x1: Inputs, one per row.
        x2: Inputs, one per row.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.
        columns: How many to compute at a time.
        entries: Rows of the kernel for each input: `f` gives outputs for each.

    Returns:
        The kernel `k l o o`, or its trace `k l`.
    """
    units = _units(f, params, x1)
    n, m, each = len(x1), len(x2), len(units)
    o = each // entries
    f = _flat(f)
    _, push = jax.linearize(lambda p: f(p, x1), params)

    def column(at):
        row, unit = x2[at // each], units[at % each]
        _, pull = jax.vjp(lambda p: f(p, row[None]), params)
        column = push(*pull(unit[None])).reshape(n * entries, o)
        return column if output_axes else column @ units[at % o, :o]

    batch = min(columns, m * each)
    flat = jax.lax.map(column, jnp.arange(m * each), batch_size=batch)
    flat = flat.reshape(m * entries, o, n * entries, -1)
    if output_axes:
        return flat.transpose(2, 0, 3, 1)
    return flat[..., 0].sum(1).T


def outputs_of(f: Function, params: Any, x: Any) -> int:
    """Number of outputs at one row."""
    return math.prod(jax.eval_shape(f, params, x).shape[1:])


@dataclass(frozen=True)
class Cost:
    """What one row of a function costs.

    Attributes:
        flops: Operations of one forward pass.
        activations: Bytes that it reads and writes, parameters apart.
        parameters: Number of parameters.
        outputs: Number of outputs.
    """

    flops: float
    activations: float
    parameters: int
    outputs: int

    def contraction_is_cheaper(self, rows: int, *, pairs: int) -> bool:
        """Whether gradients of so many rows at a time take fewer operations.

        Args:
            rows: How many.
            pairs: Entries of the kernel for an output at one row and any at another.

        Returns:
            The answer.
        """
        gradients = 2 * pairs * self.parameters + 6 * self.flops / max(rows, 1)
        return rows > 0 and gradients <= 2 * self.flops


def cost_of(f: Function, params: Any, row: jax.ShapeDtypeStruct) -> Cost:
    """What one row costs, as the compiler counts it.

    Args:
        f: Function of parameters and a batch.
        params: Its parameters.
        row: Shape and type of a batch of one.

    Returns:
        The cost.
    """

    def count(rows):
        batch = jax.ShapeDtypeStruct((rows, *row.shape[1:]), row.dtype)
        found = jax.jit(f).lower(params, batch).cost_analysis()
        return found if isinstance(found, dict) else {}  # a backend may not tell

    one, two = count(1), count(2)
    size = row.dtype.itemsize
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    outputs = outputs_of(f, params, row)

    def per_row(name: str, otherwise: float) -> float:
        return max(two.get(name, 0.0) - one.get(name, 0.0), otherwise)

    least = outputs + math.prod(row.shape)
    return Cost(
        flops=per_row("flops", 2.0 * outputs),
        activations=per_row("bytes accessed", float(size * least)),
        parameters=parameters,
        outputs=outputs,
    )


def _units(f: Function, params: Any, x: Any) -> Float[Array, "o o"]:
    y = jax.eval_shape(f, params, x)
    return jnp.eye(math.prod(y.shape[1:]), dtype=y.dtype)


def _flat(f: Function) -> Function:
    return lambda params, x: jnp.reshape(f(params, x), (len(x), -1))
