"""Random changes of images, drawn inside the compiled step."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_flag
from widelimit.description import Description


@dataclass(frozen=True)
class CropFlip(Description):
    """The standard augmentation of CIFAR: a padded crop, and a flip in half the cases.

    Every image is padded with zeros on all sides, cut back to its size at a place drawn
    uniformly, and mirrored left to right with probability 1/2. Zeros are black for
    pixels as they are, and the mean for those normalised per channel.

    Args:
        padding: Rows and columns of zeros on every side; 0 for no crop.
        flip: Whether to mirror.

    Raises:
        ValueError: If the padding is no count, or `flip` neither true nor false.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        check_count("CropFlip", "padding", self.padding, 0)
        check_flag("CropFlip", "flip", self.flip)

    def __call__(
        self, x: Float[Array, "n h w c"], key: Key[Array, ""]
    ) -> Float[Array, "n h w c"]:
        """Changed images, each in its own way.

        Args:
            x: Images, channels last.
            key: Random key; the same gives the same changes.

        Returns:
            Images of the same shape.

        Raises:
            ValueError: If these are no images, or no larger than the padding.
        """
        if x.ndim != 4:
            raise ValueError(
                "`CropFlip` needs images `(n, height, width, channels)`. Got "
                f"`x.shape={x.shape}`."
            )
        if self.padding >= min(x.shape[1:3]):
            raise ValueError(
                "`CropFlip` needs images larger than its padding, of which crops would "
                f"else hold nothing. Got `padding={self.padding}` and "
                f"`x.shape={x.shape}`."
            )
        crop_key, flip_key = jax.random.split(key)
        if self.padding:
            p = self.padding
            padded = jnp.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
            places = jax.random.randint(crop_key, (len(x), 2), 0, 2 * p + 1)

            def cut(image, place):
                start = (place[0], place[1], jnp.zeros_like(place[0]))
                return jax.lax.dynamic_slice(image, start, x.shape[1:])

            x = jax.vmap(cut)(padded, places)
        if self.flip:
            mirrored = jax.random.bernoulli(flip_key, 0.5, (len(x), 1, 1, 1))
            x = jnp.where(mirrored, x[:, :, ::-1], x)
        return x
