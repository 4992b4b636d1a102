"""Random weights and biases: their sizes, and what they do to moments."""

import abc
import enum
import math
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import jax
from jaxtyping import Array, Float, Key

from widelimit._checks import check_positive
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments

W = TypeVar("W", bound="AbstractWeights")


class Parameterization(enum.StrEnum):
    """Where the size of a weight is put: in its initial value, or in front of it."""

    STANDARD = "standard"
    """Weights start with standard deviation `weight_std / sqrt(fan_in)`."""
    NTK = "ntk"
    """Weights start with standard deviation 1; the forward pass multiplies them by
    `weight_std / sqrt(fan_in)`, and biases by `bias_std`."""
    DIRECT = "direct"
    """Weights start with standard deviation `weight_std`, whatever the fan-in."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(
            f"`parameterization` needs to be one of {[str(v) for v in cls]}. Got "
            f"{value!r}."
        )


class AbstractWeights(AbstractLayer):
    r"""A layer $y = s\,(c\,W x + b)$ of independent weights, dense or shared.

    A subclass is a dataclass with the fields below, a `fan_in` of its weights, and
    `init`, `apply` and `moments` that call what is here.

    Attributes:
        weight_std: Weight scale, read as `parameterization` says.
        bias_std: Bias scale; `None` for no bias.
        scale: Forward scale.
        parameterization: Standard, NTK or direct.
    """

    weight_std: float
    bias_std: float | None
    scale: float
    parameterization: Parameterization
    independent: ClassVar[bool] = True

    @abc.abstractmethod
    def fan_in(self, input_shape: Shape) -> int:
        """Number of weights that enter one output.

        Args:
            input_shape: Shape of one input, without the batch axis.

        Returns:
            The number.

        Raises:
            ValueError: If the layer cannot take such an input.
        """

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

    @property
    def bias_factor(self) -> float:
        """Factor in front of every bias in the forward pass; 0 if there is none."""
        if self.bias_std is None:
            return 0.0
        ntk = self.parameterization is Parameterization.NTK
        return self.scale * (self.bias_std if ntk else 1.0)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return ("weight",) if self.bias_std is None else ("bias", "weight")

    def without_init(self: W, input_shape: Shape) -> W:
        if self.parameterization is Parameterization.NTK and self.bias_std is not None:
            return self  # the bias's factor cannot move into `scale`
        changes: dict[str, Any] = {
            "weight_std": 1.0,
            "bias_std": None if self.bias_std is None else 0.0,
            "scale": self.forward_scale(self.fan_in(input_shape)),
            "parameterization": Parameterization.DIRECT,
        }
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def _check_weights(self) -> None:
        """Refuse sizes out of range; turn the name of a parameterization into it."""
        caller = type(self).__name__
        check_positive(caller, "weight_std", self.weight_std)
        check_positive(caller, "abs(scale)", abs(self.scale))
        if self.bias_std:
            check_positive(caller, "bias_std", self.bias_std)
        parameterization = Parameterization(self.parameterization)
        object.__setattr__(self, "parameterization", parameterization)

    def _draw(
        self, key: Key[Array, ""], shape: Shape, input_shape: Shape
    ) -> dict[str, Array]:
        """Weights of one shape, whose last axis counts outputs, and their bias."""
        weight_key, bias_key = jax.random.split(key)
        std = self.init_std(self.fan_in(input_shape))
        params = {"weight": std * jax.random.normal(weight_key, shape)}
        if self.bias_std is not None:
            ntk = self.parameterization is Parameterization.NTK
            bias = jax.random.normal(bias_key, shape[-1:])
            params["bias"] = (1.0 if ntk else self.bias_std) * bias
        return params

    def _scaled(
        self, y: Float[Array, "n *t"], params: Params, fan_in: int
    ) -> Float[Array, "n *t"]:
        """Outputs, from the plain product of weights and inputs."""
        y = self.forward_scale(fan_in) * y
        if self.bias_std is not None:
            y = y + self.bias_factor * params["bias"]
        return y

    def _random_linear(self, m: Moments, fan_in: int, shape: Shape) -> Moments:
        """Moments of the output, from the mean of those that enter it."""
        factor = self.forward_scale(fan_in)
        variance = (factor * self.init_std(fan_in)) ** 2 * fan_in
        shift = (self.scale * (self.bias_std or 0.0)) ** 2
        slope = factor**2 * fan_in
        ntk = self.parameterization is Parameterization.NTK
        bias = 0.0 if self.bias_std is None else self.scale**2
        bias = shift if ntk else bias
        return m.random_linear(variance, shift, lambda k: slope * k + bias, shape)
