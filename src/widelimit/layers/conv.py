"""The convolutional layer, over one position axis or two."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count
from widelimit.layers.base import Params, Shape
from widelimit.layers.convolution import convolve
from widelimit.layers.fit import check_channels, check_named, check_weight
from widelimit.layers.gradients import inner_products
from widelimit.layers.heights import height_of_patches
from widelimit.layers.moments import Moments
from widelimit.layers.shared_gradients import (
    paired_positions,
    pairs_are_cheaper,
    window_gradients,
)
from widelimit.layers.weights import AbstractWeights, Parameterization
from widelimit.layers.windows import Windows, sizes


@dataclass(frozen=True)
class Conv(AbstractWeights):
    r"""Convolution $y_l = s\,(c \sum_\delta W_\delta x_{l + \delta} + b)$.

    The window has $q$ offsets $\delta$, and the fan-in is $q$ times the channels; sizes
    of weights and biases are those of `Dense`. Weights at different offsets are
    independent, so that the covariance of two positions $l$, $r$ pairs the *same*
    offset at both. At infinite width, with $v$ the variance of a weight times the
    fan-in,

    $$K_{lr} \to v \bar K_{lr} + s^2 \sigma_b^2, \quad
      \bar K_{lr} = \frac1q \sum_\delta K_{l + \delta,\, r + \delta}, \quad
      \Theta_{lr} \to v \bar\Theta_{lr} + g_{lr},$$

    with $g = s^2 c^2\,\text{fan-in}\,\bar K$ and the bias's part as in `Dense`. Where
    later layers need equal positions only, $l = r$ is enough. Positions beyond the ends
    (see `Windows`) contribute nothing if padding is zero: variances are smaller there.

    du2019's $W \phi(x)$, Sec. 2.2, is this layer with zero padding and stride 1. Its
    Eq. (6) sums $K_{st}$ over *all* pairs of positions of the two patches, which would
    be right for weights tied over offsets. The sum above is that of its own
    $K^{(0)} = \phi(x)^\top \phi(x')$, and $E\,W K W^\top$ of its App. D. As that sum is
    not divided by $q$, its weights are `weight_std` $= \sqrt q$ in the NTK form.

    Args:
        channels: Number of channels of the output.
        window: Size of the window along each position axis: one number or two.
        weight_std: $\sigma_w$, whose meaning `parameterization` fixes; dimensionless.
        bias_std: $\sigma_b$ as in `Dense`, one bias per channel; `None` for no bias.
        scale: Forward scale $s$.
        parameterization: Standard, NTK or direct.
        strides: Step along each position axis; 1 if `None`.
        padding: `"zero"`, `"centered"` or `"circular"`, which at stride 1 keep the
            positions (see `Windows` for longer strides), or `"valid"`, which keeps to
            windows inside.
    """

    channels: int
    window: tuple[int, ...]
    weight_std: float = 1.0
    bias_std: float | None = None
    scale: float = 1.0
    parameterization: Parameterization = Parameterization.STANDARD
    strides: tuple[int, ...] | None = None
    padding: str = "zero"

    def __post_init__(self) -> None:
        check_count("Conv", "channels", self.channels, 1)
        self._check_weights()
        object.__setattr__(self, "window", sizes("Conv", "window", self.window))
        strides = (1,) * len(self.window) if self.strides is None else self.strides
        object.__setattr__(self, "strides", sizes("Conv", "strides", strides))
        _ = self.windows

    @property
    def windows(self) -> Windows:
        """Where the windows lie."""
        return Windows("Conv", self.window, self.strides or (), self.padding)

    def fan_in(self, input_shape: Shape) -> int:
        self.windows.positions(input_shape)
        return self.windows.size * input_shape[-1]

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*self.windows.positions(input_shape), self.channels)

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        self.output_shape(input_shape)
        shape = (*self.window, input_shape[-1], self.channels)
        return self._draw(key, shape, input_shape)

    def apply(
        self, params: Params, x: Float[Array, "n *p c"]
    ) -> Float[Array, "n *q o"]:
        check_named("Conv", params, self._names)
        weight, windows = params["weight"], self.windows
        check_weight("Conv", weight, len(self.window) + 2, self.channels)
        check_channels("Conv", x, weight.shape[-2])
        dtype = jnp.promote_types(x.dtype, weight.dtype)
        x, weight = x.astype(dtype), weight.astype(dtype)
        fan_in = self.fan_in(x.shape[1:])
        axes = range(len(self.window))
        if windows.padding == "circular":
            x = windows.padded(x, [(1 + axis, axis) for axis in axes])
            margins = ((0, 0),) * len(axes)
        else:
            margins = tuple(windows.margin(i, x.shape[1 + i]) for i in axes)
        y = convolve(x, weight, windows.strides, margins)
        return self._scaled(y, params, fan_in)

    def gradient_factors(
        self,
        params: Params,
        x: Float[Array, "n *p c"],
        cotangents: Float[Array, "n a *q o"],
    ) -> Any:
        if pairs_are_cheaper(self.windows, x, cotangents):
            return x, cotangents
        return self.jacobian_factors(params, x, cotangents)

    def jacobian_factors(
        self,
        params: Params,
        x: Float[Array, "n *p c"],
        cotangents: Float[Array, "n a *q o"],
    ) -> Any:
        """The gradients: pairs of positions, times pairs of derivatives, are many."""
        factor = self.forward_scale(self.fan_in(x.shape[1:]))
        gradients = {"weight": factor * window_gradients(self.windows, x, cotangents)}
        if self.bias_std is not None:
            axes = tuple(range(2, cotangents.ndim - 1))
            gradients["bias"] = self.bias_factor * jnp.sum(cotangents, axes)
        return gradients

    def gradient_products(
        self, one: Any, two: Any, *, output_axes: bool
    ) -> Float[Array, "n m *o"]:
        """Products of gradients, or sums over pairs of positions if that is cheaper."""
        if isinstance(one, dict):
            return inner_products(one, two, output_axes=output_axes)
        factor = self.forward_scale(self.fan_in(one[0].shape[1:])) ** 2
        shift = self.bias_factor**2
        return paired_positions(
            self.windows, factor, shift, one, two, output_axes=output_axes
        )

    def moments(self, m: Moments) -> Moments:
        shape, windows = self.output_shape(m.shape), self.windows
        rank = len(self.window)

        def mean_of_offsets(k: Array) -> Array:
            for axis in range(rank):
                here, there = axis - rank, axis - 2 * rank
                k = windows.sums(k, axis, (there, here) if m.joint else (here,))
            return k / windows.size

        centred = m.replace(mean_first=None, mean_second=None)  # as the weights are
        patches = centred.linear(mean_of_offsets, None, shape)
        height = height_of_patches(m, windows, mean_of_offsets)
        patches = patches.replace(height=height)
        return self._random_linear(patches, self.fan_in(m.shape), shape)
