"""An activation function as a layer."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Key

from widelimit.activations import AbstractActivation
from widelimit.layers.base import AbstractLayer, Params, Shape


@dataclass(frozen=True)
class Activation(AbstractLayer):
    r"""Applies $\phi$ to every entry; has no parameters.

    Args:
        function: The activation $\phi$.
    """

    function: AbstractActivation

    def __post_init__(self) -> None:
        if not isinstance(self.function, AbstractActivation):
            raise ValueError(
                "`Activation` needs an activation such as `ReLU()`. Got "
                f"`function={self.function!r}`."
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        return ()

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *s"]:
        return self.function(x)
