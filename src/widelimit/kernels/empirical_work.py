"""How tiles of a finite network's tangent kernel are computed, and what they take."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.empirical_checks import check_function
from widelimit.kernels.jacobian_products import (
    Cost,
    Function,
    contracted,
    cost_of,
    multiplied,
    outputs_of,
    row_jacobians,
)
from widelimit.kernels.structured import (
    factor_products,
    layer_arrays,
    network_factors,
)
from widelimit.layers import AbstractLayer, Params

COLUMNS = 16  # columns of a function's kernel that are worked on at once
FEW_ROWS = 16  # rows of a tile below which fewer columns are taken


@dataclass(frozen=True)
class Work:
    """How tiles are computed, and the bytes that this takes.

    Attributes:
        factors: From rows to what a tile needs of them.
        products: From the factors of two sets of rows, and whether these are the same,
            to the tile, `h k l *o` with layers in front.
        outputs: Number of outputs.
        layers: Number of blocks.
        row: Bytes for each row on either side of a tile.
        pair: Bytes for each pair.
        fixed: Bytes whatever the tile.
        entries: Rows of the kernel for each input.
    """

    factors: Callable[[Any], Any]
    products: Callable[[Any, Any, bool], Array]
    outputs: int
    layers: int
    row: int | float
    pair: int | float
    fixed: int | float = 0
    entries: int = 1

    @property
    def least(self) -> int | float:
        """Bytes for a tile of one pair."""
        return self.fixed + 2 * self.row + self.pair

    def whole(self, rows: int, columns: int | None) -> int | float:
        """Bytes for one tile of all pairs; of rows with themselves without columns."""
        if columns is None:
            return self.fixed + rows * self.row + rows**2 * self.pair
        return self.fixed + (rows + columns) * self.row + rows * columns * self.pair

    def side(self, budget: float) -> int:
        """Most rows of a square tile within so many bytes, 0 if none."""
        if budget < self.least:
            return 0
        rest = budget - self.fixed
        # The root of pair r^2 + 2 row r = rest, without cancellation.
        root = math.sqrt(self.row**2 + self.pair * rest)
        return max(int(rest / (self.row + root)), 1)


def work_for(
    network: AbstractLayer | Function,
    params: Params,
    row: jax.ShapeDtypeStruct,
    *,
    output_axes: bool,
    per_layer: bool,
    rows: int,
    columns: int | None = None,
    budget: float = 2.0**60,
    entries: int = 1,
) -> Work:
    """The cheapest way to compute tiles of a network's tangent kernel.

    Args:
        network: Description of the network, or a function of parameters and a batch.
        params: Its parameters.
        row: Shape and type of a batch of one.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart.
        rows: Inputs of the kernel's rows.
        columns: Inputs of its columns; those of its rows if `None`.
        budget: Bytes that a tile may take.
        entries: Rows of the kernel for each input, where a function gives so many times
            its outputs.

    Returns:
        The way.
    """
    shapes = shapes_of(params)
    if isinstance(network, AbstractLayer):
        return _layered(network, params, shapes, row, output_axes, per_layer)
    cost = _cost(network, shapes, row)
    outputs, weights = cost.outputs, row.dtype.itemsize * cost.parameters
    one = outputs // entries
    options = (one, entries, output_axes, per_layer)
    pairs = one * entries if output_axes else entries
    pair = row.dtype.itemsize * entries * pairs * (one if output_axes else 1)
    contraction = Work(
        lambda x: _jacobians(network, params, x),
        lambda one, two, same: _contracted(one, two, *options, same),
        one,
        layers=1,
        row=outputs * (weights + cost.activations),
        pair=3 * pair,
        entries=entries,
    )
    rows = rows if columns is None else min(rows, columns)
    at_once = min(rows, contraction.side(budget))
    if cost.contraction_is_cheaper(at_once, pairs=pairs):
        return contraction

    def multiplication(columns: int) -> Work:
        return Work(
            lambda x: x,
            lambda one, two, same: _multiplied(
                network, params, one, two, columns, *options, same
            ),
            one,
            layers=1,
            row=(1 + columns) * cost.activations / 2,
            pair=3 * pair,
            fixed=2 * columns * (weights + cost.activations),
            entries=entries,
        )

    columns = COLUMNS
    while columns > 1 and multiplication(columns).side(budget) < min(rows, FEW_ROWS):
        columns //= 2
    return multiplication(columns)


def shapes_of(params: Params) -> tuple[Any, tuple[jax.ShapeDtypeStruct, ...]]:
    """The structure of parameters, and the shapes and types: something to look up by.

    Args:
        params: The parameters.

    Returns:
        Both.
    """
    leaves, tree = jax.tree.flatten(params)
    return tree, tuple(jax.ShapeDtypeStruct(p.shape, p.dtype) for p in leaves)


def _layered(network, params, shapes, row, output_axes, per_layer) -> Work:
    layers, bytes_of_row, outputs = sizes_of(network, shapes, row)
    options = (outputs, output_axes, per_layer)
    blocks = layers if per_layer else 1
    pair = row.dtype.itemsize * (outputs**2 if output_axes else 1)
    return Work(
        lambda x: _layer_factors(network, params, x),
        lambda one, two, same: _layer_products(one, two, *options, same),
        outputs,
        layers=blocks,
        row=bytes_of_row,
        pair=pair * (2 + blocks),
    )


@functools.lru_cache(maxsize=256)
def sizes_of(network, shapes, row) -> tuple[int, int, int]:
    """Number of layers, bytes for a row of a tile, and number of outputs.

    Args:
        network: The network.
        shapes: Structure of its parameters, and their shapes and types.
        row: Shape and type of a batch of one.

    Returns:
        The three.

    Raises:
        ValueError: If no layer has parameters that are trained.
    """

    def arrays(p, x):
        return network_factors(network, p, x), layer_arrays(network, p, x)

    tree, leaves = shapes
    params = jax.tree.unflatten(tree, leaves)
    factors, kept = jax.eval_shape(arrays, params, row)
    size = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves((factors, kept))
    )
    if not factors:
        raise ValueError(
            "A tangent kernel needs a network with parameters that are trained. Got "
            f"`{network}`. Add a layer that has some, such as `Dense`."
        )
    return len(factors), size, outputs_of(network, params, row)


@functools.lru_cache(maxsize=16)  # functions may hold large arrays
def _cost(f, shapes, row) -> Cost:
    tree, leaves = shapes
    params = jax.tree.unflatten(tree, leaves)
    check_function(f, params, row)
    return cost_of(f, params, row)


def precisely():
    """Matrix products in the type of their factors, which some devices would round.

    Returns:
        A context manager.
    """
    return jax.default_matmul_precision("highest")


@functools.partial(jax.jit, static_argnums=0)
def _layer_factors(network, params, x):
    with precisely():
        return network_factors(network, params, x)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _layer_products(one, two, outputs, output_axes, per_layer, same):
    with precisely():
        blocks = factor_products(one, two, output_axes=output_axes)
    return finished(blocks, outputs, output_axes, per_layer, same)


@functools.partial(jax.jit, static_argnums=0)
def _jacobians(f, params, x):
    with precisely():
        return row_jacobians(f, params, x)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _contracted(one, two, outputs, entries, output_axes, per_layer, same):
    with precisely():
        block = contracted(one, two, output_axes=output_axes, entries=entries)
    return finished((block,), outputs, output_axes, per_layer, same)


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6, 7, 8, 9))
def _multiplied(
    f, params, x1, x2, columns, outputs, entries, output_axes, per_layer, same
):
    options = {"output_axes": output_axes, "columns": columns, "entries": entries}
    with precisely():
        block = multiplied(f, params, x1, x2, **options)
    return finished((block,), outputs, output_axes, per_layer, same)


def finished(
    blocks: tuple[Float[Array, "n m *o"], ...],
    outputs: int,
    output_axes: bool,
    per_layer: bool,
    same: bool,
) -> Float[Array, "h n m *o"]:
    """The mean over outputs, the layers' sum if they are not kept, and symmetry.

    Args:
        blocks: What each layer adds to the kernel.
        outputs: Number of outputs.
        output_axes: Whether all outputs are paired.
        per_layer: Whether to keep layers apart.
        same: Whether the kernel is symmetric.

    Returns:
        The kernel, layers in front.
    """
    if per_layer:
        kernel = jnp.stack(blocks)
    else:
        kernel = functools.reduce(jnp.add, blocks)[None]
    if not output_axes:
        kernel = kernel / outputs
    return mirrored(kernel, outputs) if same else kernel


def mirrored(
    kernel: Float[Array, "h n n *o"], outputs: int
) -> Float[Array, "h n n *o"]:
    """A symmetric kernel made so to the last bit: its upper triangle decides.

    Args:
        kernel: The kernel, layers in front.
        outputs: Length of its axes of outputs, if it has some.

    Returns:
        The same up to rounding.
    """
    order = jnp.arange(kernel.shape[1])
    if kernel.ndim == 3:
        above = order[:, None] <= order[None, :]
        return jnp.where(above, kernel, kernel.transpose(0, 2, 1))
    order = order[:, None] * outputs + jnp.arange(outputs)
    above = order[:, None, :, None] <= order[None, :, None, :]
    return jnp.where(above, kernel, kernel.transpose(0, 2, 1, 4, 3))
