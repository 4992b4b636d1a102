"""How tiles of a finite network's Jacobian NTK are computed, and what they take."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.empirical_checks import check_function
from widelimit.kernels.empirical_work import Work, shapes_of, sizes_of, work_for
from widelimit.kernels.jacobian_products import Function
from widelimit.kernels.stages import (
    backward,
    finished_jets,
    forward,
    stage_factors,
    stages_of,
    unit_jets,
)
from widelimit.layers import AbstractLayer, Params
from widelimit.layers.jets import carried, input_jets

TEMPORARIES = 3  # times what a stage returns: what it needs on the way
PAIRS = 3  # arrays of the size of a tile, beside those that hold layers
STAGES, BYTES = 8, 2**26  # most that are computed in one program


@dataclass(frozen=True)
class ValueAndPartials:
    r"""The function $[f; \partial_x f]$ of a network: a value, then $d$ derivatives.

    It is equal to another of the same network, so that programs compiled for the one
    serve the other.

    Attributes:
        network: Description of the network, or a function of parameters and a batch.
    """

    network: AbstractLayer | Function

    def __call__(
        self, params: Params, x: Float[Array, "n *s"]
    ) -> Float[Array, "n r o"]:
        """The values and input derivatives, forwards, so that it can be pulled back.

        Args:
            params: The parameters.
            x: Inputs, one per row.

        Returns:
            Outputs, counted flat, behind the axis of the value and the derivatives.
        """

        def outputs(x):
            return jnp.reshape(self.network(params, x), (len(x), -1))

        return jnp.moveaxis(carried(outputs, input_jets(x)), 0, 1)


def jacobian_work(
    caller: str,
    network: AbstractLayer | Function,
    params: Params,
    row: jax.ShapeDtypeStruct,
    *,
    output_axes: bool,
    per_layer: bool,
    rows: int,
    columns: int | None = None,
    budget: float = 2.0**60,
) -> Work:
    """How to compute tiles of a network's Jacobian NTK.

    Args:
        caller: Function to name.
        network: Description of the network, or a function of parameters and a batch.
        params: Its parameters.
        row: Shape and type of a batch of one.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart.
        rows: Inputs of the kernel's rows.
        columns: Inputs of its columns; those of its rows if `None`.
        budget: Bytes that a tile may take.

    Returns:
        The way.
    """
    entries = 1 + math.prod(row.shape)
    if not isinstance(network, AbstractLayer):
        check_function(network, params, row, caller)
        return work_for(
            ValueAndPartials(network),
            params,
            row,
            output_axes=output_axes,
            per_layer=False,
            rows=rows,
            columns=columns,
            budget=budget,
            entries=entries,
        )
    shapes = shapes_of(params)
    layers, _, outputs = sizes_of(network, shapes, row)
    kept, passing = _stage_sizes(network, shapes, row)
    blocks = layers if per_layer else 1
    pair = row.dtype.itemsize * entries**2 * (outputs**2 if output_axes else 1)
    options = (outputs, output_axes, per_layer)
    at_once = Work(
        lambda x: x,
        lambda one, two, same: _at_once(
            network, params, one, None if same else two, *options
        ),
        outputs,
        layers=blocks,
        row=kept + TEMPORARIES * sum(passing),
        pair=pair * (PAIRS * blocks + 2 * layers),
        entries=entries,
    )
    needed = max(at_once.whole(rows, columns), at_once.least)
    if len(passing) <= STAGES and needed <= min(budget, BYTES):
        return at_once
    stages = stages_of(network, params)
    return Work(
        lambda x: forward(stages, x),
        lambda one, two, same: _tile(stages, one, two, *options, same),
        outputs,
        layers=blocks,
        row=kept + TEMPORARIES * max(passing),
        pair=pair * (PAIRS * blocks + 2),
        entries=entries,
    )


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6))
def _at_once(network, params, x1, x2, outputs, output_axes, per_layer):
    """A tile of few inputs in one program: to start many takes longer than these."""
    stages = stages_of(network, params)
    one = forward(stages, x1)
    two = one if x2 is None else forward(stages, x2)
    return _tile(stages, one, two, outputs, output_axes, per_layer, x2 is None)


def _tile(stages, one, two, outputs, output_axes, per_layer, same):
    """A tile: the stages' shares, while cotangents go back through them."""
    options = {"output_axes": output_axes, "per_layer": per_layer}
    found = backward(stages, one, None if same else two, **options)
    return finished_jets(found, outputs, *options.values(), same)


@functools.lru_cache(maxsize=256)
def _stage_sizes(network, shapes, row) -> tuple[int, tuple[int, ...]]:
    """Bytes that a row keeps of all stages, and those that each of them needs."""
    tree, leaves = shapes
    params = jax.tree.unflatten(tree, leaves)

    def arrays(params, x):
        stages, passing = stages_of(network, params), []
        kept = forward(stages, x)
        cotangents = unit_jets(*stages[-1], kept[-1])
        for stage, jets in zip(reversed(stages), reversed(kept), strict=True):
            found = zip(jets, cotangents, strict=True)
            found = [stage_factors(*stage, *part) for part in found]
            cotangents, factors = zip(*found, strict=True)
            passing.append(factors)
        return kept, passing

    kept, factors = jax.eval_shape(arrays, params, row)
    return _bytes(kept), tuple(map(_bytes, factors))


def _bytes(arrays: Any) -> int:
    leaves = jax.tree.leaves(arrays)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
