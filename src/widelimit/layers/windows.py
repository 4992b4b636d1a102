"""Windows that slide over positions, as in convolution and pooling."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit._checks import check_count, check_one_of

PADDINGS = ("zero", "centered", "circular", "valid")


def sizes(caller: str, name: str, value: Any) -> tuple[int, ...]:
    """One whole number for each position axis."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(
            f"`{caller}` needs one number per position axis as `{name}`. Got "
            f"`{name}={value!r}`. Write `{name}=({value},)` for one axis and "
            f"`{name}=({value}, {value})` for two."
        )
    return tuple(value)


@dataclass(frozen=True)
class Windows:
    r"""Windows of one size at regular steps.

    Along an axis of length $n$, window $l$ of size $w$ holds the entries
    $l s - a + \delta$, $\delta = 0, \dots, w - 1$, with $s$ the stride. There are

    - `"valid"`: $\lfloor (n - w) / s \rfloor + 1$ windows, and $a = 0$; none reaches
      over an end, and what is left over on the right is in none;
    - `"zero"`, `"circular"`: $r = \lceil n / s \rceil$ windows, and
      $a = \lfloor \max((r - 1) s + w - n, 0) / 2 \rfloor$, as `"SAME"` of `jax.lax`.
      Entries beyond the ends are zero, or wrap around. At stride 1 the window of entry
      $l$ goes from $l - \lfloor (w - 1) / 2 \rfloor$ to $l + \lfloor w / 2 \rfloor$:
      an even one reaches further to the right. Longer strides shift the windows by
      amounts that depend on $n$: three entries at stride 2 start at entry $-1$ if $n$
      is odd, at 0 if it is even;
    - `"centered"`: as many windows, with zeros beyond the ends and
      $a = \lfloor (w - 1) / 2 \rfloor$ at any stride, as `padding=(w - 1) // 2` of
      PyTorch for odd $w$.

    Attributes:
        caller: The layer, for messages.
        shape: Size along each position axis.
        strides: Step along each.
        padding: `"valid"`, `"zero"`, `"centered"` or `"circular"`.
    """

    caller: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str

    def __post_init__(self) -> None:
        check_one_of(self.caller, "padding", self.padding, PADDINGS)
        if len(self.shape) not in (1, 2):
            raise ValueError(
                f"`{self.caller}` needs a `window` along one axis or two. Got "
                f"`window={self.shape}`."
            )
        if len(self.strides) != len(self.shape):
            raise ValueError(
                f"`{self.caller}` needs one stride for each axis of its window. Got "
                f"`strides={self.strides}` and `window={self.shape}`."
            )
        for name, values in (("window", self.shape), ("strides", self.strides)):
            for value in values:
                check_count(self.caller, f"min({name})", value, 1)

    @property
    def size(self) -> int:
        """Number of entries in one window."""
        return math.prod(self.shape)

    def positions(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many windows there are along each axis.

        Args:
            input_shape: Shape of one input, channels last.

        Returns:
            The numbers.

        Raises:
            ValueError: If the input has other axes, or none of something, or a valid
                window does not fit.
        """
        axes = len(self.shape)
        if len(input_shape) != axes + 1:
            raise ValueError(
                f"`{self.caller}` with `window={self.shape}` needs inputs with {axes} "
                f"position {'axes' if axes > 1 else 'axis'} and channels last. Got "
                f"`input_shape={input_shape}`."
            )
        if 0 in input_shape:
            raise ValueError(
                f"`{self.caller}` needs inputs with positions and channels. Got "
                f"`input_shape={input_shape}`."
            )
        lengths = input_shape[:-1]
        if self.padding != "valid":
            return tuple(-(-n // s) for n, s in zip(lengths, self.strides, strict=True))
        if any(w > n for w, n in zip(self.shape, lengths, strict=True)):
            raise ValueError(
                f"`{self.caller}` needs inputs no smaller than its window if "
                f'`padding="valid"`. Got `input_shape={input_shape}` and `window='
                f'{self.shape}`. Pad with `"zero"` or `"circular"`.'
            )
        return tuple(
            (n - w) // s + 1
            for n, w, s in zip(lengths, self.shape, self.strides, strict=True)
        )

    def margin(self, axis: int, length: int) -> tuple[int, int]:
        """Entries missing before and after an axis of one length."""
        w, s = self.shape[axis], self.strides[axis]
        if self.padding == "valid":
            return 0, 0
        if self.padding == "centered":
            return (w - 1) // 2, w // 2
        missing = max((-(-length // s) - 1) * s + w - length, 0)
        return missing // 2, missing - missing // 2

    def padded(
        self, x: Float[Array, "*s"], axes: Sequence[tuple[int, int]]
    ) -> Float[Array, "*t"]:
        """The entries with those beyond the ends.

        Args:
            x: An array.
            axes: Pairs of one of its axes and the axis of the windows.

        Returns:
            The longer array.
        """
        widths = [(0, 0)] * x.ndim
        for at, axis in axes:
            widths[at] = self.margin(axis, x.shape[at])
        mode = "wrap" if self.padding == "circular" else "constant"
        return jnp.pad(x, widths, mode=mode)

    def maxima(self, x: Float[Array, "*s"], first: int) -> Float[Array, "*t"]:
        """The largest entry of every window; none from beyond the ends is taken.

        Args:
            x: An array.
            first: Its first axis along which windows move; the others follow it.

        Returns:
            The array with one entry per window along each of these axes.
        """
        rank = len(self.shape)
        axes = [(first + axis, axis) for axis in range(rank)]
        margins = [(0, 0)] * x.ndim
        if self.padding == "circular":
            x = self.padded(x, axes)
        else:
            for at, axis in axes:
                margins[at] = self.margin(axis, x.shape[at])
        window, steps = [1] * x.ndim, [1] * x.ndim
        window[first : first + rank] = self.shape
        steps[first : first + rank] = self.strides
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, steps, margins)

    def parts(
        self, x: Float[Array, "*s"], axes: Sequence[tuple[int, int]]
    ) -> Iterator[Float[Array, "*t"]]:
        """What every window holds at one of its offsets, offset after offset.

        Args:
            x: An array.
            axes: Pairs of one of its axes and the axis of the windows; several may move
                with the same axis, and then share its offsets.

        Yields:
            Entries, with one per window along each of these axes.
        """
        x = self.padded(x, axes)
        end, steps = list(x.shape), [1] * x.ndim
        for at, axis in axes:
            stride = self.strides[axis]
            last = (x.shape[at] - self.shape[axis]) // stride
            end[at], steps[at] = last * stride + 1, stride
        moving = sorted({axis for _, axis in axes})
        for offset in itertools.product(*(range(self.shape[axis]) for axis in moving)):
            start, stop = [0] * x.ndim, list(end)
            for at, axis in axes:
                start[at] = offset[moving.index(axis)]
                stop[at] += start[at]
            yield jax.lax.slice(x, start, stop, steps)

    def sums(
        self, x: Float[Array, "*s"], axis: int, along: tuple[int, ...]
    ) -> Float[Array, "*t"]:
        r"""Sums over windows that move along several axes of an array at once.

        $y_{l, r} = \sum_\delta x_{l s - a + \delta,\, r s - a + \delta}$ for two axes:
        the same $\delta$ in both.

        Args:
            x: An array.
            axis: The axis of the windows.
            along: The axes of the array.

        Returns:
            The sums, with one entry per window along each of these axes.
        """
        parts = self.parts(x, [(at, axis) for at in along])
        return functools.reduce(jnp.add, parts)
