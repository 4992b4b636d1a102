"""Images to vectors."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments


@dataclass(frozen=True)
class Flatten(AbstractLayer):
    r"""Writes all positions and channels of an input as one vector, channels fastest.

    $K$, $\Theta$ and $b$ become their means over the positions $s$ of $K_{ss}$,
    $\Theta_{ss}$ and $b_s$, which is what a dense layer behind needs; different
    positions are never paired. Features of several positions differ in distribution,
    so that an activation does not follow directly. In a residual branch, features with
    a mean are to be flattened behind the sum rather than in both of its paths.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        return ()

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n d"]:
        return jnp.reshape(x, (len(x), -1))

    def needs_joint(self, joint: bool) -> bool:
        return False

    def moments(self, m: Moments) -> Moments:
        if not m.positions:
            return m
        axes = tuple(range(-len(m.positions), 0))

        def mean(b: Array) -> Array:
            return jnp.mean(b, axes)

        shape = self.output_shape(m.shape)
        flat = m.linear(lambda k: mean(m.diagonal(k)), mean, shape, joint=False)
        one = math.prod(m.positions) == 1
        return flat.replace(gaussian=m.gaussian and one, alike=m.alike and one)
