"""The fully-connected layer."""

import enum
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_at_least, check_positive
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments


class Parameterization(enum.StrEnum):
    """Where the size of a weight is put: in its initial value, or in front of it."""

    STANDARD = "standard"
    """Weights start with standard deviation `weight_std / sqrt(fan_in)`."""
    NTK = "ntk"
    """Weights start with standard deviation 1; the forward pass multiplies them by
    `weight_std / sqrt(fan_in)`, and biases by `bias_std`."""
    DIRECT = "direct"
    """Weights start with standard deviation `weight_std`, whatever the fan-in."""


@dataclass(frozen=True)
class Dense(AbstractLayer):
    r"""Fully-connected layer $y = s\,(c\,W x + b)$, $c = 1$ but for the NTK form.

    At initialisation every output has variance
    $s^2 (\sigma_w^2 \|x\|^2 / \text{fan-in} + \sigma_b^2)$ in the standard and the NTK
    parameterization, and $s^2 (\sigma_w^2 \|x\|^2 + \sigma_b^2)$ in the direct one.
    At infinite width $K \to v K + s^2 \sigma_b^2$ with $v$ the variance of a weight
    times the fan-in, and $\Theta \to v \Theta + g$ with $g$ the kernel of the layer's
    own gradients, $s^2 c^2\,\text{fan-in}\,K$ and the bias's. In the NTK
    parameterization $g = v K + s^2 \sigma_b^2$; in the others it grows with the
    fan-in, which is that of this description.

    With `DIRECT`, `weight_std` is $\beta_l$ and `scale` is $1/\alpha$ of zhu2022,
    Eq. (2).

    Args:
        features: Number of outputs.
        weight_std: $\sigma_w$, whose meaning `parameterization` fixes; dimensionless.
        bias_std: Standard deviation $\sigma_b$ of the bias's contribution at
            initialisation; `None` leaves the bias out, and 0.0 starts a trainable bias
            at zero (in the NTK parameterization it then stays there).
        scale: Forward scale $s$.
        parameterization: Standard, NTK or direct.
    """

    features: int
    weight_std: float = 1.0
    bias_std: float | None = None
    scale: float = 1.0
    parameterization: Parameterization = Parameterization.STANDARD
    independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("Dense", "features", self.features, 1)
        check_positive("Dense", "weight_std", self.weight_std)
        check_positive("Dense", "abs(scale)", abs(self.scale))
        if self.bias_std:
            check_positive("Dense", "bias_std", self.bias_std)
        object.__setattr__(
            self, "parameterization", Parameterization(self.parameterization)
        )

    def init_std(self, fan_in: int) -> float:
        """Standard deviation of each weight at initialisation."""
        match self.parameterization:
            case Parameterization.STANDARD:
                return self.weight_std / math.sqrt(fan_in)
            case Parameterization.NTK:
                return 1.0
            case Parameterization.DIRECT:
                return self.weight_std

    def forward_scale(self, fan_in: int) -> float:
        """Factor in front of every weight in the forward pass, `scale` included."""
        if self.parameterization is Parameterization.NTK:
            return self.scale * self.weight_std / math.sqrt(fan_in)
        return self.scale

    def output_shape(self, input_shape: Shape) -> Shape:
        self._fan_in(input_shape)
        return (self.features,)

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        fan_in = self._fan_in(input_shape)
        weight_key, bias_key = jax.random.split(key)
        weight = jax.random.normal(weight_key, (fan_in, self.features))
        params = {"weight": self.init_std(fan_in) * weight}
        if self.bias_std is not None:
            ntk = self.parameterization is Parameterization.NTK
            bias = jax.random.normal(bias_key, (self.features,))
            params["bias"] = (1.0 if ntk else self.bias_std) * bias
        return params

    def apply(self, params: Params, x: Float[Array, "n d"]) -> Float[Array, "n o"]:
        weight = params["weight"]
        if x.shape[-1] != weight.shape[0]:
            raise ValueError(
                f"`Dense.apply` needs inputs with {weight.shape[0]} features, as its "
                f"weights have. Got `x.shape={x.shape}`. Initialise the network with "
                "the `input_shape` of these inputs."
            )
        y = self.forward_scale(x.shape[-1]) * jnp.matmul(x, weight)
        if self.bias_std is not None:
            ntk = self.parameterization is Parameterization.NTK
            y = y + self.scale * (self.bias_std if ntk else 1.0) * params["bias"]
        return y

    def moments(self, m: Moments) -> Moments:
        fan_in = self._fan_in(m.shape)
        factor = self.forward_scale(fan_in)
        variance = (factor * self.init_std(fan_in)) ** 2 * fan_in
        shift = (self.scale * (self.bias_std or 0.0)) ** 2
        slope = factor**2 * fan_in
        ntk = self.parameterization is Parameterization.NTK
        bias = 0.0 if self.bias_std is None else self.scale**2
        bias = shift if ntk else bias
        return m.random_linear(
            variance, shift, lambda k: slope * k + bias, (self.features,)
        )

    def without_init(self, input_shape: Shape) -> "Dense":
        if self.parameterization is Parameterization.NTK and self.bias_std is not None:
            return self  # the bias's factor cannot move into `scale`
        return replace(
            self,
            weight_std=1.0,
            bias_std=None if self.bias_std is None else 0.0,
            scale=self.forward_scale(self._fan_in(input_shape)),
            parameterization=Parameterization.DIRECT,
        )

    def _fan_in(self, input_shape: Shape) -> int:
        if len(input_shape) != 1:
            raise ValueError(
                "`Dense` needs inputs that are vectors. Got `input_shape="
                f"{input_shape}`. Flatten images to one axis first."
            )
        return input_shape[0]
