r"""Forward tangents and backward cotangents of a network, one stage at a time.

A network is cut behind each of its layers with parameters. Jets of the inputs of every
stage are kept on the way forward; on the way back a stage gets the jets of the
cotangents of what it gives, from which follow those of what it takes and the factors of
its layers' gradients: $\dot x \delta^\top + x \dot\delta^\top$ is the derivative of the
gradient $x \delta^\top$ along an input coordinate (kim2023, App. H). So no more than
one stage's factors are alive, and equal stages share one compiled program, which goes
from cotangents to their shares in the kernel; unless all is compiled into one, which is
quicker where inputs are few.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.kernels.empirical_work import finished, precisely
from widelimit.kernels.structured import Factors, output_units, pulled_back
from widelimit.layers import AbstractLayer, Dense, Params, Sequential
from widelimit.layers.jets import carried, constant_jets, input_jets

Stage = tuple[Sequential, Params]
Parts = tuple[Array, ...]  # `r n *s`, of some rows each
Shares = tuple[Array, ...]  # `r n r m *o`, of some layers each

PARTS, ROWS = 4, 128  # into which rows are divided; fewest rows of a part, about


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


def forward(stages: list[Stage], x: Float[Array | np.ndarray, "n *s"]) -> list[Parts]:
    """Jets of what enters each stage.

    Args:
        stages: The network.
        x: Inputs, one per row.

    Returns:
        Arrays `r n *t` for each stage, one for each part of the rows.
    """
    entries = len(x) * (1 + math.prod(x.shape[1:]))
    count = max(min(PARTS, len(x), entries // ROWS), 1)
    starts = [len(x) * k // count for k in range(count)]
    ends = [*starts[1:], len(x)]
    jets = [tuple(_input_jets(x[i:j]) for i, j in zip(starts, ends, strict=True))]
    for stage, params in stages[:-1]:
        jets.append(stage_jets(stage, params, jets[-1]))
    return jets


def backward(
    stages: list[Stage],
    one: list[Parts],
    two: list[Parts] | None,
    *,
    output_axes: bool,
    per_layer: bool,
) -> list[list[Shares | None]]:
    """The shares of layers in the kernel, from the last stage to the first.

    Args:
        stages: The network.
        one: What `forward` returned for one batch.
        two: The like for another; `None` for the first again, and then what is below
            the diagonal is left out.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.
        per_layer: Whether to keep layers apart; else their sum is the only share.

    Returns:
        The shares for each pair of parts, row by row; `None` for those left out.
    """
    sides = (one,) if two is None else (one, two)
    rows, columns = len(one[0]), len(sides[-1][0])
    shift = rows if two is not None else 0
    pairs = tuple(
        (i, j + shift)
        for i in range(rows)
        for j in range(i if two is None else 0, columns)
    )
    entering = [sum(parts, ()) for parts in zip(*sides, strict=True)]
    cotangents = unit_jets(*stages[-1], entering[-1])
    found: tuple[Shares, ...] = ((),) * len(pairs)
    options = (pairs, output_axes, per_layer)
    for stage, jets in zip(reversed(stages), reversed(entering), strict=True):
        before = None if per_layer else found
        cotangents, shares = stage_shares(*stage, jets, cotangents, before, *options)
        if per_layer:
            shares = tuple(a + b for a, b in zip(shares, found, strict=True))
        found = shares
    of = dict(zip(pairs, found, strict=True))
    return [[of.get((i, j + shift)) for j in range(columns)] for i in range(rows)]


@functools.partial(jax.jit, static_argnums=0)
def stage_jets(stage: Sequential, params: Params, jets: Parts) -> Parts:
    """Jets of what leaves a stage, from those of what enters it."""
    return tuple(_part_jets(stage, params, part) for part in jets)


@functools.partial(jax.jit, static_argnums=0)
def unit_jets(stage: Sequential, params: Params, jets: Parts) -> Parts:
    """Jets of the outputs' derivatives by themselves, which are constant."""

    def of(part):
        x = jax.ShapeDtypeStruct(part.shape[1:], part.dtype)
        units = output_units(jax.eval_shape(stage.apply, params, x))
        return constant_jets(units, len(part) - 1)

    return tuple(map(of, jets))


@functools.partial(jax.jit, static_argnums=0)
def stage_factors(
    stage: Sequential, params: Params, jets: Array, cotangents: Array
) -> tuple[Array, tuple[Factors, ...]]:
    """Jets of the cotangents by what enters a stage, and of its layers' factors."""
    before, last = _split(stage)
    if type(last) is Dense:
        with precisely():
            slope = last.pull_jets(params[-1], cotangents)
            if before is not None:
                jets, slope = carried(_there_and_back(before, params), jets, slope)
        return slope, (Factors((jets, cotangents), last),)

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


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7), donate_argnums=4)
def stage_shares(
    stage: Sequential,
    params: Params,
    jets: Parts,
    cotangents: Parts,
    before: tuple[Shares, ...] | None,
    pairs: tuple[tuple[int, int], ...],
    output_axes: bool,
    per_layer: bool,
) -> tuple[Parts, tuple[Shares, ...]]:
    """The shares of a stage's layers in the kernel.

    Args:
        stage: The stage.
        params: Its parameters.
        jets: What enters it.
        cotangents: Jets of the cotangents of what it gives.
        before: What the shares are added to.
        pairs: Numbers of the parts that the kernel is between.
        output_axes: Whether to pair all outputs.
        per_layer: Whether to keep layers apart.

    Returns:
        Jets of the cotangents of what enters it, and the shares of every pair.
    """
    found = [
        stage_factors(stage, params, x, g)
        for x, g in zip(jets, cotangents, strict=True)
    ]
    cotangents, factors = zip(*found, strict=True)
    shares = tuple(_pair_shares(factors[i], factors[j], output_axes) for i, j in pairs)
    if before is not None:
        sums = (a + b for a, b in zip(before, shares, strict=True))
        shares = tuple((functools.reduce(jnp.add, p),) if p else () for p in sums)
    return cotangents, shares


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def finished_jets(
    shares: list[list[Shares | None]],
    outputs: int,
    output_axes: bool,
    per_layer: bool,
    same: bool,
) -> Float[Array, "h k l *o"]:
    """`finished`, of all pairs of parts, with rows by input and then by derivative.

    Args:
        shares: What `backward` returned.
        outputs: Number of outputs.
        output_axes: Whether all outputs are paired.
        per_layer: Whether to keep layers apart.
        same: Whether the kernel is symmetric.

    Returns:
        The kernel, layers in front.
    """
    shares = jax.tree.map(_by_column, shares)

    def part(i: int, j: int) -> Float[Array, "h n r m r *o"]:
        layers = shares[i][j]
        if layers is None:
            across = part(j, i)
            return across.transpose((0, 3, 4, 1, 2, 6, 5)[: across.ndim])
        r, n, m, _, *axes = layers[0].shape
        flat = (share.swapaxes(0, 1).reshape(n * r, m * r, *axes) for share in layers)
        options = (outputs, output_axes, per_layer, same and i == j)
        return finished(tuple(flat), *options).reshape(-1, n, r, m, r, *axes)

    columns = range(len(shares[0]))
    rows = [
        jnp.concatenate([part(i, j) for j in columns], 3) for i in range(len(shares))
    ]
    kernel = jnp.concatenate(rows, 1)
    h, n, r, m, _, *axes = kernel.shape
    return kernel.reshape(h, n * r, m * r, *axes)


_input_jets = jax.jit(input_jets)


@functools.partial(jax.jit, static_argnums=0)
def _part_jets(stage: Sequential, params: Params, part: Array) -> Array:
    before, last = _split(stage)
    with precisely():
        if type(last) is not Dense:
            return carried(lambda x: stage.apply(params, x), part)
        if before is not None:
            part = carried(lambda x: before.apply(params[:-1], x), part)
        return last.apply_jets(params[-1], part)


@functools.partial(jax.jit, static_argnums=2)
def _pair_shares(
    one: tuple[Factors, ...], two: tuple[Factors, ...], output_axes: bool
) -> Shares:
    with precisely():
        return tuple(
            a.layer.jacobian_products(a.parts, b.parts, output_axes=output_axes)
            for a, b in zip(one, two, strict=True)
        )


def _split(stage: Sequential) -> tuple[Sequential | None, AbstractLayer]:
    """What comes before a stage's last layer, if anything does, and that layer."""
    *before, last = stage.layers
    return (Sequential(tuple(before)) if before else None), last


def _there_and_back(layers: Sequential, params: Params) -> Any:
    """From what enters layers without parameters and cotangents of what they give."""

    def both(x: Array, g: Array) -> tuple[Array, Array]:
        y, pull = jax.vjp(lambda x: layers.apply(params[:-1], x), x)
        return y, jax.vmap(lambda g: pull(g)[0], 1, 1)(g)

    return both


@jax.jit
def _by_column(share: Float[Array, "r n r m *o"]) -> Float[Array, "r n m r *o"]:
    """Columns by input and then by derivative, as those of the kernel are."""
    # In a loop over the rows' directions: without one, XLA would compute the share
    # anew in this order, a dozen times slower.
    return jax.lax.map(lambda rows: rows.swapaxes(1, 2), share)


def _flat(network: AbstractLayer, params: Params) -> Iterator[tuple[Any, Params]]:
    if isinstance(network, Sequential):
        for layer, p in zip(network.layers, params, strict=True):
            yield from _flat(layer, p)
    else:
        yield network, params
