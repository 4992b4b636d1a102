"""Averages, sums and maxima over positions."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_one_of
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.moments import Moments
from widelimit.layers.windows import Windows, sizes

REDUCTIONS = ("average", "sum", "max")


@dataclass(frozen=True)
class Pool(AbstractLayer):
    r"""Averages, sums or the maxima of every channel, over positions or windows.

    At infinite width, for the average over windows of $q$ positions,

    $$K_{lr} \to \frac1{q^2} \sum_{s \in l} \sum_{t \in r} K_{st}, \quad
      b_l \to \frac1q \sum_{s \in l} b_s,$$

    and $\Theta$ as $K$; the sum has no factors. So the moments that enter must hold
    every pair of positions, at a cost that grows with the square of their number.

    The sum over all positions and then `Readout` is the read-out of du2019, Sec. 2.2,
    whose signs are the same at every pixel.

    Args:
        reduction: `"average"`, `"sum"`, or `"max"`, which has no infinite-width limit.
        window: Size along each position axis, one number or two; all positions, so that
            the output is a vector of channels, if `None`.
        strides: Step along each position axis; the window's size if `None`.
        padding: `"valid"`, or `"zero"`, `"centered"` or `"circular"` as in `Conv`. The
            average counts zeros beyond the ends; the maximum does not.
    """

    reduction: str = "average"
    window: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    padding: str = "valid"

    @property
    def smooth(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Averages are; where another entry becomes the maximum, there is a kink."""
        return self.reduction != "max"

    def __post_init__(self) -> None:
        check_one_of("Pool", "reduction", self.reduction, REDUCTIONS)
        if self.window is not None:
            strides = self.window if self.strides is None else self.strides
            object.__setattr__(self, "window", sizes("Pool", "window", self.window))
            object.__setattr__(self, "strides", sizes("Pool", "strides", strides))
            _ = self.windows
        elif self.strides is not None or self.padding != "valid":
            raise ValueError(
                "`Pool` needs a `window` for strides or padding. Got `window=None`, "
                f"`strides={self.strides}` and `padding={self.padding!r}`."
            )

    @property
    def windows(self) -> Windows | None:
        """Where the windows lie; `None` for all positions."""
        if self.window is None:
            return None
        return Windows("Pool", self.window, self.strides or (), self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.windows is not None:
            return (*self.windows.positions(input_shape), input_shape[-1])
        if len(input_shape) not in (2, 3):
            raise ValueError(
                "`Pool` needs inputs with one position axis or two, and channels last. "
                f"Got `input_shape={input_shape}`."
            )
        return input_shape[-1:]

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        self.output_shape(input_shape)
        return ()

    def apply(
        self, params: Params, x: Float[Array, "n *p c"]
    ) -> Float[Array, "n *q c"]:
        self.output_shape(x.shape[1:])
        return self._pooled(x, 1, x.ndim - 2)

    def needs_joint(self, joint: bool) -> bool:
        return True

    def moments(self, m: Moments) -> Moments:
        if self.reduction == "max":
            return super().moments(m)  # says that there are none
        shape, rank = self.output_shape(m.shape), len(m.positions)
        if not m.joint:
            raise ValueError(
                "`Pool.moments` needs moments of every pair of positions. Got "
                f"`joint=False` and `shape={m.shape}`. Ask the network's `needs_joint` "
                "before forming those of the inputs, as `limit_moments` does."
            )

        def both_ends(k: Array) -> Array:
            k = self._pooled(k, k.ndim - rank, rank)
            return self._pooled(k, k.ndim - len(shape[:-1]) - rank, rank)

        def one_end(b: Array) -> Array:
            return self._pooled(b, b.ndim - rank, rank)

        return m.linear(both_ends, one_end, shape, joint=len(shape) > 1)

    def _pooled(
        self, x: Float[Array, "*s"], first: int, rank: int
    ) -> Float[Array, "*t"]:
        """The output, where `rank` axes from `first` on are those of positions."""
        average = self.reduction == "average"
        if self.windows is None:
            axes = tuple(range(first, first + rank))
            if self.reduction == "max":
                return jnp.max(x, axes)
            return jnp.mean(x, axes) if average else jnp.sum(x, axes)
        if self.reduction == "max":
            return self.windows.maxima(x, first)
        for axis in range(rank):
            x = self.windows.sums(x, axis, (first + axis,))
        return x / self.windows.size if average else x
