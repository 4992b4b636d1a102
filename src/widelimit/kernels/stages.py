r"""Forward tangents and backward cotangents of a network, one stage at a time.

A network is cut behind each of its layers with parameters. Jets of the inputs of every
stage are kept on the way forward; on the way back a stage gets the jets of the
cotangents of what it gives, from which follow those of what it takes and the factors of
its layers' gradients: $\dot x \delta^\top + x \dot\delta^\top$ is the derivative of the
gradient $x \delta^\top$ along an input coordinate (kim2023, App. H). So no more than
one stage's factors are alive, and equal stages share one compiled program.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.empirical_work import finished, precisely
from widelimit.kernels.structured import Factors, output_units, pulled_back
from widelimit.layers import AbstractLayer, Params, Sequential
from widelimit.layers.jets import carried, constant_jets, input_jets

Stage = tuple[Sequential, Params]


def stages_of(network: AbstractLayer, params: Params) -> list[Stage]:
    """A network in stages, each but the last ending in a layer with parameters.

    Args:
        network: The network.
        params: Its parameters.

    Returns:
        The stages with their parameters, in order.
    """
    stages, layers = [], []
    for layer, p in _flat(network, params):
        layers.append((layer, p))
        if jax.tree.leaves(p):
            stages.append(layers)
            layers = []
    if layers:
        stages.append(layers)
    return [
        (Sequential(tuple(layer for layer, _ in s)), tuple(p for _, p in s))
        for s in stages
    ]


def forward(stages: list[Stage], x: Float[Array, "n *s"]) -> list[Array]:
    """Jets of what enters each stage.

    Args:
        stages: The network.
        x: Inputs, one per row.

    Returns:
        One array `r n *t` for each stage.
    """
    jets = [_input_jets(x)]
    for stage, params in stages[:-1]:
        jets.append(stage_jets(stage, params, jets[-1]))
    return jets


def backward(
    stages: list[Stage], *jets: list[Array]
) -> Iterator[list[tuple[Factors, ...]]]:
    """Jets of the factors of every stage, the last stage first.

    Args:
        stages: The network.
        *jets: What `forward` returned, for one or more batches.

    Yields:
        Jets of the factors of the stage's layers, in order, for each batch.
    """
    (last, params), ends = stages[-1], [j[-1] for j in jets]
    cotangents = [unit_jets(last, params, x) for x in ends]
    for number in reversed(range(len(stages))):
        stage, params = stages[number]
        entering = [j[number] for j in jets]
        found = [
            stage_factors(stage, params, x, g)
            for x, g in zip(entering, cotangents, strict=True)
        ]
        cotangents, factors = (list(part) for part in zip(*found, strict=True))
        del found
        yield factors
        factors.clear()  # before those of the next stage are made


@functools.partial(jax.jit, static_argnums=0)
def stage_jets(stage: Sequential, params: Params, jets: Array) -> Array:
    """Jets of what leaves a stage, from those of what enters it."""
    with precisely():
        return carried(lambda x: stage.apply(params, x), jets)


@functools.partial(jax.jit, static_argnums=0)
def unit_jets(stage: Sequential, params: Params, jets: Array) -> Array:
    """Jets of the outputs' derivatives by themselves, which are constant."""
    x = jax.ShapeDtypeStruct(jets.shape[1:], jets.dtype)
    units = output_units(jax.eval_shape(stage.apply, params, x))
    return constant_jets(units, len(jets) - 1)


@functools.partial(jax.jit, static_argnums=0)
def stage_factors(
    stage: Sequential, params: Params, jets: Array, cotangents: Array
) -> tuple[Array, tuple[Factors, ...]]:
    """Jets of the cotangents by what enters a stage, and of its layers' factors."""

    def back(x: Array, g: Array) -> Any:
        found, inputs, slopes, slope = pulled_back(stage, params, x, g)
        parts = zip(found, inputs, slopes, strict=True)
        factors = (
            Factors(layer.jacobian_factors(p, x, g), layer)
            for (layer, p), x, g in parts
        )
        return slope, tuple(factors)

    with precisely():
        return carried(back, jets, cotangents)


@functools.partial(jax.jit, static_argnums=3, donate_argnums=0)
def stage_products(
    total: Array | None,
    one: tuple[Factors, ...],
    two: tuple[Factors, ...],
    output_axes: bool,
) -> Float[Array, "r n r m *o"]:
    """The shares of a stage's layers in the kernel.

    Args:
        total: What they are added to.
        one: Jets of the factors of one batch.
        two: Jets of those of another.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.

    Returns:
        The sum.
    """
    with precisely():
        shares = [
            a.layer.jacobian_products(a.parts, b.parts, output_axes=output_axes)
            for a, b in zip(one, two, strict=True)
        ]
    return functools.reduce(jnp.add, shares if total is None else [total, *shares])


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def finished_jets(
    blocks: tuple[Float[Array, "r n r m *o"], ...],
    outputs: int,
    output_axes: bool,
    per_layer: bool,
    same: bool,
) -> Float[Array, "h k l *o"]:
    """`finished`, with rows by input and then by derivative.

    Args:
        blocks: What each layer adds to the kernel, or the sum.
        outputs: Number of outputs.
        output_axes: Whether all outputs are paired.
        per_layer: Whether to keep layers apart.
        same: Whether the kernel is symmetric.

    Returns:
        The kernel, layers in front.
    """
    r, n, _, m, *axes = blocks[0].shape
    order = (1, 0, 3, 2, *range(4, 4 + len(axes)))
    blocks = tuple(b.transpose(order).reshape(n * r, m * r, *axes) for b in blocks)
    return finished(blocks, outputs, output_axes, per_layer, same)


_input_jets = jax.jit(input_jets)


def _flat(network: AbstractLayer, params: Params) -> Iterator[tuple[Any, Params]]:
    if isinstance(network, Sequential):
        for layer, p in zip(network.layers, params, strict=True):
            yield from _flat(layer, p)
    else:
        yield network, params
