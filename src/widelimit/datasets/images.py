"""Integer images as files hold them, turned into a `Dataset` with values in [0, 1]."""

from typing import NamedTuple

import numpy as np

from widelimit.datasets.dataset import Dataset


class Split(NamedTuple):
    """The four arrays of a data set, as its files hold them."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def image_dataset(
    name: str,
    split: Split,
    *,
    white: int,
    class_names: tuple[str, ...],
    image_shape: tuple[int, ...],
    source: str,
) -> Dataset:
    """The data set whose inputs are the pixels of `split` divided by `white`."""
    return Dataset(
        name=name,
        x_train=_fractions(split.x_train, white, f"`x_train` of {source}"),
        y_train=split.y_train,
        x_test=_fractions(split.x_test, white, f"`x_test` of {source}"),
        y_test=split.y_test,
        class_names=class_names,
        image_shape=image_shape,
        source=source,
    )


def _fractions(pixels: np.ndarray, white: int, where: str) -> np.ndarray:
    if pixels.dtype.kind not in "iu":
        raise ValueError(
            f"`load` needs the original integer pixels, 0 to {white}, in {where}. Got "
            f"`dtype={pixels.dtype}`. To use scaled images, construct a `Dataset`."
        )
    if pixels.size and (pixels.min() < 0 or pixels.max() > white):
        raise ValueError(
            f"`load` needs pixels from 0 to {white} in {where}. Got values from "
            f"{pixels.min()} to {pixels.max()}."
        )
    return np.divide(pixels, white, dtype=np.float32)
