r"""Gradients by parameters, layer by layer, in factors that are never multiplied out.

A layer $y = c\,W x$ has the gradient $c\,x_i\,\delta_{ia}^\top$ at row $i$ and output
$a$, with $\delta$ the derivative of the output by $y$. So its share of the tangent
kernel is $c^2 \langle x_i, x_j \rangle \langle \delta_{ia}, \delta_{jb} \rangle$: two
Gram matrices in place of a Jacobian with as many columns as weights.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.layers import AbstractLayer, Params


class Factors(eqx.Module):
    """What the inner products of the gradients of one layer are made of.

    Attributes:
        parts: `gradient_factors` of the layer.
        layer: The layer.
    """

    parts: Any
    layer: AbstractLayer = eqx.field(static=True)


def network_factors(
    network: AbstractLayer, params: Params, x: Float[Array, "n *s"]
) -> tuple[Factors, ...]:
    """Factors of every layer with parameters, in the order in which inputs meet them.

    Args:
        network: The network, whose outputs are counted flat.
        params: Its parameters.
        x: Inputs, one per row.

    Returns:
        The factors.
    """
    found, inputs, cotangents = _tapped(network, params, x)
    return tuple(
        Factors(layer.gradient_factors(p, x, g), layer)
        for (layer, p), x, g in zip(found, inputs, cotangents, strict=True)
    )


def layer_arrays(
    network: AbstractLayer, params: Params, x: Float[Array, "n *s"]
) -> tuple[list[Array], list[Array]]:
    """Inputs of the layers with parameters, and the outputs' derivatives by theirs.

    Args:
        network: The network.
        params: Its parameters.
        x: Inputs, one per row.

    Returns:
        Arrays `n *s` and arrays `n o *t`, one for each such layer.
    """
    return _tapped(network, params, x)[1:]


def _tapped(network: AbstractLayer, params: Params, x: Float[Array, "n *s"]):
    y = jax.eval_shape(network.apply, params, x)
    units = output_units(y)
    return pulled_back(network, params, x, units)[:3]


def output_units(y: Any) -> Float[Array, "n o *t"]:
    """The derivatives of outputs by themselves, outputs counted flat.

    Args:
        y: Outputs, or their shape and type.

    Returns:
        Unit vectors, the same at every row.
    """
    # Rows do not meet, so one pass serves an output at all of them.
    units = jnp.eye(math.prod(y.shape[1:]), dtype=y.dtype).reshape(-1, *y.shape[1:])
    return jnp.broadcast_to(units, (len(y), *units.shape))


def pulled_back(
    network: AbstractLayer,
    params: Params,
    x: Float[Array, "n *s"],
    cotangents: Float[Array, "n o *t"],
) -> tuple[list[tuple[AbstractLayer, Params]], list[Array], list[Array], Array]:
    """Cotangents of a network's outputs, carried back to its layers and its input.

    Args:
        network: The network, or part of one.
        params: Its parameters.
        x: Inputs, one per row.
        cotangents: Derivatives of some outputs by those of `network`.

    Returns:
        The layers with parameters, their inputs, the derivatives by what they give, and
        those by `x`.
    """
    found: list[tuple[AbstractLayer, Params]] = []
    shapes: list[jax.ShapeDtypeStruct] = []

    def find(layer, p, x, y):
        found.append((layer, p))
        shapes.append(jax.ShapeDtypeStruct(y.shape, y.dtype))
        return y

    jax.eval_shape(lambda: network.apply_tapped(params, x, find))

    def shifted(shifts, x):
        rest, inputs = iter(shifts), []

        def shift(layer, p, x, y):
            inputs.append(x)
            return y + next(rest)

        return network.apply_tapped(params, x, shift), inputs

    # The derivatives by zeros added to a layer's outputs are those by the outputs.
    zeros = [jnp.zeros(s.shape, s.dtype) for s in shapes]
    _, pull, inputs = jax.vjp(shifted, zeros, x, has_aux=True)
    slopes, slope = jax.vmap(pull, in_axes=1, out_axes=1)(cotangents)
    return found, inputs, slopes, slope


def factor_products(
    one: tuple[Factors, ...], two: tuple[Factors, ...], *, output_axes: bool
) -> tuple[Float[Array, "n m *o"], ...]:
    """The share of every layer in the tangent kernel.

    Args:
        one: Factors of one batch.
        two: Factors of another.
        output_axes: Whether to pair all outputs; else equal ones, and add these up.

    Returns:
        One block per layer, `n m o o` or `n m`.
    """
    return tuple(
        a.layer.gradient_products(a.parts, b.parts, output_axes=output_axes)
        for a, b in zip(one, two, strict=True)
    )
