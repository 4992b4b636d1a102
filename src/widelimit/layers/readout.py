"""A last layer of random signs that training leaves alone."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_positive
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.gradients import Tap
from widelimit.layers.moments import Moments


@dataclass(frozen=True)
class Readout(AbstractLayer):
    r"""Fixed random read-out $y = s\,a^\top x / \sqrt m$ with signs $a_r = \pm 1$.

    The read-out of du2019, Sec. 2.2, for features that are $\sqrt m$ times the paper's.
    The signs have gradient zero, so that gradient descent does not move them. Behind a
    sum over positions (`Pool`), the signs are those that the paper ties over pixels. At
    infinite width $K \to s^2 K$ and $\Theta \to s^2 \Theta$.

    Args:
        outputs: Number of outputs, each with its own signs.
        scale: Forward scale $s$.
    """

    outputs: int = 1
    scale: float = 1.0
    independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("Readout", "outputs", self.outputs, 1)
        check_positive("Readout", "abs(scale)", abs(self.scale))

    def output_shape(self, input_shape: Shape) -> Shape:
        self._fan_in(input_shape)
        return (self.outputs,)

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        shape = (self._fan_in(input_shape), self.outputs)
        return {
            "signs": jax.random.rademacher(key, shape, dtype=jnp.result_type(float))
        }

    def apply(self, params: Params, x: Float[Array, "n d"]) -> Float[Array, "n o"]:
        signs = jax.lax.stop_gradient(params["signs"])
        if x.shape[-1] != signs.shape[0]:
            raise ValueError(
                f"`Readout.apply` needs inputs with {signs.shape[0]} features, as its "
                f"signs have. Got `x.shape={x.shape}`. Initialise the network with the "
                "`input_shape` of these inputs."
            )
        return self.scale / math.sqrt(x.shape[-1]) * jnp.matmul(x, signs)

    def apply_tapped(
        self, params: Params, x: Float[Array, "n d"], tap: Tap
    ) -> Float[Array, "n o"]:
        return self.apply(params, x)

    def moments(self, m: Moments) -> Moments:
        self._fan_in(m.shape)
        return m.random_linear(self.scale**2, 0.0, None, (self.outputs,))

    def _fan_in(self, input_shape: Shape) -> int:
        if len(input_shape) != 1:
            raise ValueError(
                "`Readout` needs inputs that are vectors. Got `input_shape="
                f"{input_shape}`. Sum over positions first, with `Pool`."
            )
        return input_shape[0]
