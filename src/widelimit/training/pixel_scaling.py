"""Images kept as bytes, scaled inside the compiled step."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from widelimit._checks import check_positive
from widelimit.description import Description


@dataclass(frozen=True)
class PixelScaling(Description):
    r"""Bytes to numbers of mean 0 and variance 1, $(x / 255 - \mu) / \sigma$.

    Each channel has its own $\mu$ and $\sigma$, in units of white, as `mean` and `std`
    of `prepare_images`. In `train` only the batch of a step is scaled, before its
    augmentation; the data take a byte per pixel on the device: 154 MB for CIFAR's
    50,000 images in place of 614 MB. Zeros that an augmentation pads with are the mean.

    Args:
        mean: $\mu$, one number per channel.
        std: $\sigma$, one number per channel, 1 at most.

    Raises:
        ValueError: If there are not as many of both, or a number is out of range.

    Example:
        >>> scaling = PixelScaling(mean=(0.5,), std=(0.25,))
        >>> scaling(jnp.full((1, 1, 1, 1), 255, jnp.uint8)).item()
        2.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # numbers of Python's, to be hashed and written
            given = getattr(self, name)
            try:
                own = tuple(float(value) for value in given)
            except (TypeError, ValueError):
                raise ValueError(
                    f"`PixelScaling` needs one number per channel as `{name}`. Got "
                    f"`{name}={given!r}`. Write `{name}=(0.5,)` for a single channel."
                ) from None
            object.__setattr__(self, name, own)
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "`PixelScaling` needs one mean and one standard deviation per channel. "
                f"Got `mean={self.mean}` and `std={self.std}`."
            )
        for value in self.std:
            check_positive("PixelScaling", "std", value)
        if not all(0 <= value <= 1 for value in self.mean):
            raise ValueError(
                "`PixelScaling` needs means in units of white, from 0 to 1. Got "
                f"`mean={self.mean}`. Divide those of bytes by 255, `std` as well."
            )
        if max(self.std) > 1:  # that of numbers from 0 to 1 is 1/2 at most
            raise ValueError(
                "`PixelScaling` needs standard deviations in units of white, from 0 to "
                f"1. Got `std={self.std}`. Divide those of bytes by 255."
            )

    def __call__(
        self, x: UInt8[Array, "n h w c"], dtype: Any = jnp.float32
    ) -> Float[Array, "n h w c"]:
        """Scaled images.

        Args:
            x: Images as bytes, channels last.
            dtype: Floating type of the result.

        Returns:
            Images of the same shape.

        Raises:
            ValueError: If these are no such images.
        """
        self.check("PixelScaling", x)
        mean, std = (jnp.asarray(value, dtype) for value in (self.mean, self.std))
        return (x.astype(dtype) / 255 - mean) / std

    def check(self, caller: str, x: Any) -> None:
        """Refuse what are no images of bytes with these channels.

        Args:
            caller: Name of the public function, for messages.
            x: Images.

        Raises:
            ValueError: If so.
        """
        channels = len(self.mean)
        if x.dtype != jnp.uint8 or x.ndim != 4 or x.shape[-1] != channels:
            raise ValueError(
                f"`{caller}` needs images of bytes `(n, height, width, {channels})` to "
                f"scale {channels} channels. Got `x.dtype={x.dtype}` and "
                f"`x.shape={x.shape}`. Leave scaled images out of it; channels come "
                "last."
            )
