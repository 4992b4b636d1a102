"""From a data set of images to the arrays that convolutional networks take."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from widelimit._checks import check_one_of, plainly_bytes
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.preparation import prepare

IMAGE_SCALES = ("channel", "unit", "raw")


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Images with channels last, with targets and labels; made by `prepare_images`.

    Args:
        name: Name of the data set.
        x_train: Training images.
        t_train: One-hot rows, or one column of signs.
        y_train: Labels 0, 1, ... in the order of `classes`.
        x_test: Test images.
        t_test: Test targets.
        y_test: Test labels.
        classes: Names of the classes in use.
        scale: As in `prepare_images`.
        mean: What was taken from every channel.
        std: What it was divided by then.
    """

    name: str
    x_train: Float32[np.ndarray, "n h w c"] = field(repr=False)
    t_train: Float32[np.ndarray, "n o"] = field(repr=False)
    y_train: Int64[np.ndarray, " n"] = field(repr=False)
    x_test: Float32[np.ndarray, "m h w c"] = field(repr=False)
    t_test: Float32[np.ndarray, "m o"] = field(repr=False)
    y_test: Int64[np.ndarray, " m"] = field(repr=False)
    classes: tuple[str, ...]
    scale: str
    mean: Float32[np.ndarray, " c"]
    std: Float32[np.ndarray, " c"]


def prepare_images(
    dataset: Dataset,
    *,
    scale: str = "channel",
    classes: Sequence[int] | None = None,
    size: int | None = None,
    targets: str = "one-hot",
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> PreparedImages:
    """Images `(n, height, width, channels)` of some classes and rows, with targets.

    Rows are those that `prepare` draws with the same arguments. Grey images get one
    channel.

    Args:
        dataset: From `load`, or made of your own arrays: images `(h, w)` or
            `(channels, h, w)`.
        scale: `"channel"` takes the mean of every channel and divides by its standard
            deviation, both over the training images in use; `"unit"` gives each image
            the Euclidean norm 1; `"raw"` leaves pixels as they are, and refuses those
            that are plainly bytes, from 0 to 255.
        classes: As of `prepare`, like the others.
        size: Height and width to which images are down-sampled.
        targets: `"one-hot"` or `"sign"`.
        train: Number of training rows.
        test: Number of test rows.
        seed: Seed of the draw.

    Returns:
        Images, targets and labels.

    Raises:
        ValueError: If an argument does not suit the data, these are no images, a
            channel is constant, or raw pixels are bytes.
    """
    caller = "prepare_images"
    check_one_of(caller, "scale", scale, IMAGE_SCALES)
    shape = dataset.image_shape
    if len(shape) not in (2, 3):
        raise ValueError(
            f"`{caller}` needs images. Got `image_shape={shape}`. Use `prepare` for "
            "tables."
        )
    # Whoever has many channels of narrow images is believed, unless they are square
    # images with one or three channels behind them.
    if len(shape) == 3 and shape[0] == shape[1] > shape[2] and shape[2] in (1, 3):
        raise ValueError(
            f"`{caller}` needs images of shape (channels, height, width). Got "
            f"`image_shape={shape}`, with channels last. Move them to the front in the "
            "`Dataset`: `np.moveaxis(x, -1, 1)`."
        )
    rows = prepare(
        dataset,
        scale="unit" if scale == "unit" else "raw",
        classes=classes,
        size=size,
        targets=targets,
        train=train,
        test=test,
        seed=seed,
    )
    x_train, x_test = (
        _images(x, rows.image_shape) for x in (rows.x_train, rows.x_test)
    )
    if scale == "raw":
        _refuse_bytes(caller, dataset.name, x_train, x_test)
    channels = x_train.shape[-1]
    mean, std = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    if scale == "channel":
        flat = x_train.reshape(-1, channels)
        mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
        std = flat.std(axis=0, dtype=np.float64).astype(np.float32)
        if not std.all():
            raise ValueError(
                f"`{caller}` needs channels that vary for `scale='channel'`. Got a "
                f"constant channel {int(np.argmin(std))}. Use `scale='raw'`."
            )
        x_train, x_test = ((x - mean) / std for x in (x_train, x_test))
    return PreparedImages(
        name=rows.name,
        x_train=x_train,
        t_train=rows.t_train,
        y_train=rows.y_train,
        x_test=x_test,
        t_test=rows.t_test,
        y_test=rows.y_test,
        classes=rows.classes,
        scale=scale,
        mean=mean,
        std=std,
    )


def _refuse_bytes(caller: str, name: str, *parts: np.ndarray) -> None:
    """Refuse pixels that are bytes, or were before they were averaged.

    Args:
        caller: Function to name.
        name: Name of the data set.
        *parts: Images.

    Raises:
        ValueError: If they are.
    """
    found = plainly_bytes(parts)
    if found:
        least, most = found
        raise ValueError(
            f"`{caller}` needs pixels from 0 to 1, or scaled in another way, for "
            f"`scale='raw'`. Got pixels from {least:g} to {most:g} in {name!r}, as "
            "files have them. Divide them by white (255 for bytes) in the `Dataset`, "
            "or use `scale='channel'`."
        )


def _images(
    x: Float32[np.ndarray, "n d"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "n h w c"]:
    shape = (1, *shape) if len(shape) == 2 else shape
    return np.ascontiguousarray(x.reshape(len(x), *shape).transpose(0, 2, 3, 1))
