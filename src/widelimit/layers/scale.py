"""Multiplication by a constant."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Key

from widelimit._checks import check_finite
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments


@dataclass(frozen=True)
class Scale(AbstractLayer):
    r"""Multiplies every entry by $s$; has no parameters. $K \to s^2 K$, $b \to s b$.

    Args:
        factor: The factor $s$, dimensionless.
    """

    factor: float

    def __post_init__(self) -> None:
        check_finite("Scale", "factor", self.factor)

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        return ()

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *s"]:
        return self.factor * x

    def moments(self, m: Moments) -> Moments:
        return m.scaled(self.factor)
