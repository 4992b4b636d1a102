"""A data set in memory: inputs, integer labels, and where they came from."""

from dataclasses import dataclass, field

import numpy as np

from widelimit._checks import check_finite


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled inputs in a training and a test part.

    Any arrays will do, so this is also the way to bring data of your own. Inputs are
    converted to float32 and labels to int64.

    Args:
        name: Short name, used in messages and records.
        x_train: Training inputs of shape `(n, *image_shape)`.
        y_train: Training labels: integers that index `class_names`.
        x_test: Test inputs of shape `(m, *image_shape)`.
        y_test: Test labels.
        class_names: Name of each class, in the order of the labels.
        image_shape: Shape of one input: `(h, w)`, `(channels, h, w)`, or `(d,)` for a
            table.
        source: Where the arrays came from, such as a file.
    """

    name: str
    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    source: str = "arrays"

    def __post_init__(self) -> None:
        for name in ("class_names", "image_shape"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        caller = f"Dataset {self.name} from {self.source}"
        for part in ("train", "test"):
            x = np.asarray(getattr(self, f"x_{part}"))
            y = np.asarray(getattr(self, f"y_{part}"))
            x = _inputs(caller, f"x_{part}", x, self.image_shape)
            y = checked_labels(caller, f"y_{part}", y, len(self.class_names))
            if len(x) != len(y):
                raise ValueError(
                    f"`{caller}` needs one label per input. Got `len(x_{part})="
                    f"{len(x)}` and `len(y_{part})={len(y)}`."
                )
            object.__setattr__(self, f"x_{part}", x)
            object.__setattr__(self, f"y_{part}", y)


def _inputs(
    caller: str, name: str, x: np.ndarray, image_shape: tuple[int, ...]
) -> np.ndarray:
    if x.dtype.kind not in "fiu":
        raise ValueError(
            f"`{caller}` needs real numbers in `{name}`. Got `{name}.dtype={x.dtype}`."
        )
    if x.shape[1:] != image_shape or len(x) == 0:
        last = len(image_shape) == 3 and x.shape[1:] == (
            *image_shape[1:],
            image_shape[0],
        )
        raise ValueError(
            f"`{caller}` needs `{name}` of shape `(n, *{image_shape})` with at least "
            f"one row. Got `{name}.shape={x.shape}`."
            f"{' Channels come first: `np.moveaxis(x, -1, 1)`.' if last else ''}"
        )
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused next
        x = x.astype(np.float32, copy=False)
    check_finite(caller, name, x)
    return x


def checked_labels(caller: str, name: str, y: np.ndarray, n_classes: int) -> np.ndarray:
    """`y` as int64, if it is a vector of integers from 0 to `n_classes - 1`."""
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise ValueError(
            f"`{caller}` needs `{name}` as a vector of integers. Got "
            f"`{name}.dtype={y.dtype}` and `{name}.shape={y.shape}`."
        )
    bad = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(bad):
        raise ValueError(
            f"`{caller}` needs labels from 0 to {n_classes - 1} in `{name}`, one of "
            f"the {n_classes} `class_names`. Got {y[bad[0]]} at index {bad[0]} "
            f"({len(bad)} such entries)."
        )
    return y.astype(np.int64, copy=False)
