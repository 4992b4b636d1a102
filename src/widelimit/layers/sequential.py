"""Layers one after another."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Key

from widelimit.layers.base import AbstractLayer, Params, Shape


@dataclass(frozen=True)
class Sequential(AbstractLayer):
    """The layers composed, first to last; parameters are a tuple with one entry each.

    Args:
        layers: The layers, in the order in which an input meets them.
    """

    layers: tuple[AbstractLayer, ...]

    def __post_init__(self) -> None:
        if not self.layers or not all(
            isinstance(layer, AbstractLayer) for layer in self.layers
        ):
            raise ValueError(
                "`Sequential` needs a non-empty tuple of layers. Got "
                f"`layers={self.layers!r}`. Wrap activations as `Activation(ReLU())`."
            )
        object.__setattr__(self, "layers", tuple(self.layers))

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        shapes = self.input_shapes(input_shape)
        # `fold_in`, not `split`: it compiles once, whatever the number of layers.
        return tuple(
            layer.init(jax.random.fold_in(key, number), shape)
            for number, (layer, shape) in enumerate(
                zip(self.layers, shapes, strict=True)
            )
        )

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *t"]:
        for layer, p in zip(self.layers, params, strict=True):
            x = layer.apply(p, x)
        return x

    def without_init(self, input_shape: Shape) -> "Sequential":
        shapes = self.input_shapes(input_shape)
        return Sequential(
            tuple(
                layer.without_init(shape)
                for layer, shape in zip(self.layers, shapes, strict=True)
            )
        )

    def input_shapes(self, input_shape: Shape) -> tuple[Shape, ...]:
        """Shape of one input of each layer."""
        shapes = [input_shape]
        for layer in self.layers[:-1]:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)
