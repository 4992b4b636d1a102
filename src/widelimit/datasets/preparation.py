"""From a data set to the matrices that networks and kernels take."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from widelimit._checks import check_at_least, check_finite, check_one_of
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.downsampling import downsample
from widelimit.datasets.targets import check_targets, encode

SCALES = ("unit", "raw")
_BLOCK = 4096  # rows held in float64 at once


@dataclass(frozen=True, eq=False)
class Prepared:
    """Inputs as rows, with targets and labels; made by `prepare`.

    Args:
        name: Name of the data set.
        x_train: Training inputs, one per row.
        t_train: Targets of a regression: one-hot rows or one column of signs.
        y_train: Labels 0, 1, ... in the order of `classes`.
        x_test: Test inputs.
        t_test: Test targets.
        y_test: Test labels.
        classes: Names of the classes in use.
        image_shape: Shape of which each row is the flattened form.
        scale: `"unit"` or `"raw"`, as in `prepare`.
    """

    name: str
    x_train: Float32[np.ndarray, "n d"] = field(repr=False)
    t_train: Float32[np.ndarray, "n o"] = field(repr=False)
    y_train: Int64[np.ndarray, " n"] = field(repr=False)
    x_test: Float32[np.ndarray, "m d"] = field(repr=False)
    t_test: Float32[np.ndarray, "m o"] = field(repr=False)
    y_test: Int64[np.ndarray, " m"] = field(repr=False)
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    scale: str


def prepare(
    dataset: Dataset,
    *,
    scale: str = "unit",
    classes: Sequence[int] | None = None,
    size: int | None = None,
    targets: str = "one-hot",
    train: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Prepared:
    r"""Flattened, scaled inputs of some classes and rows of `dataset`, with targets.

    With `scale="unit"` each row is divided by its Euclidean norm after down-sampling,
    so $\|x\|_2 = 1$ to float32 rounding: the inputs of [1, Assumption 1].

    Args:
        dataset: From `load`, or made of your own arrays.
        scale: `"unit"` for rows of norm one, `"raw"` for the values as they are.
        classes: Labels to keep, relabelled 0, 1, ... in the order given; all if `None`.
        size: Height and width to which images are down-sampled by area averaging.
        targets: `"one-hot"`, or `"sign"` for one column that is +1 for the first of two
            classes and -1 for the second.
        train: Number of training rows, drawn without replacement; all, in the order of
            `dataset`, if `None`. For one `seed`, fewer rows are the first of more rows.
        test: Number of test rows, likewise.
        seed: Seed of the draw; the training and the test rows are drawn apart.

    Returns:
        Inputs, targets and labels.

    Raises:
        ValueError: If an argument does not suit `dataset`, or, with `scale="unit"`, an
            input is zero.

    References:
        [1] Zhu et al. (2022), https://arxiv.org/abs/2209.07263
    """
    check_one_of("prepare", "scale", scale, SCALES)
    check_at_least("prepare", "seed", seed, 0)
    kept = _kept_classes(dataset, classes)
    check_targets("prepare", targets, len(kept))
    parts = {}
    for stream, (part, count) in enumerate({"train": train, "test": test}.items()):
        rng = np.random.default_rng((seed, stream))
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        chosen = _chosen_rows(part, y, kept, count, rng)
        relabelled = np.argmax(y[chosen, None] == np.asarray(kept), axis=1)
        parts[f"x_{part}"] = _flat_rows(f"x_{part}", x, chosen, size, scale)
        parts[f"y_{part}"] = relabelled
        parts[f"t_{part}"] = encode(relabelled, len(kept), targets).astype(np.float32)
    shape = dataset.image_shape
    return Prepared(
        name=dataset.name,
        **parts,
        classes=tuple(dataset.class_names[label] for label in kept),
        image_shape=shape if size is None else (*shape[:-2], size, size),
        scale=scale,
    )


def _kept_classes(dataset: Dataset, classes: Sequence[int] | None) -> tuple[int, ...]:
    labels = range(len(dataset.class_names))
    kept = tuple(labels if classes is None else classes)
    if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(labels):
        choices = ", ".join(f"{i} ({n})" for i, n in enumerate(dataset.class_names))
        raise ValueError(
            f"`prepare` needs `classes` to be different labels among {choices}. Got "
            f"`classes={kept}`."
        )
    return kept


def _chosen_rows(
    part: str,
    y: np.ndarray,
    kept: tuple[int, ...],
    count: int | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Indices of the rows of the `kept` classes, or of `count` of them at random."""
    rows = np.flatnonzero(np.isin(y, kept))
    least = 1 if count is None else count
    if len(rows) < least:
        raise ValueError(
            f"`prepare` needs at least {least} rows of the classes {kept} in "
            f"`y_{part}`. Got {len(rows)}. Lower `{part}`, or keep more classes."
        )
    if count is None:
        return rows
    check_at_least("prepare", part, count, 1)
    return rng.permutation(rows)[:count]


def _flat_rows(
    name: str, x: np.ndarray, chosen: np.ndarray, size: int | None, scale: str
) -> Float32[np.ndarray, "n d"]:
    if size is not None and x.ndim < 3:
        raise ValueError(
            "`prepare` needs images to down-sample them. Got `size="
            f"{size}` and inputs of shape {x.shape[1:]}. Leave `size` out."
        )
    blocks, zeros = [], []
    for start in range(0, len(chosen), _BLOCK):
        block = x[chosen[start : start + _BLOCK]].astype(np.float64)
        check_finite("prepare", name, block)
        if size is not None:
            block = downsample(block, size)
        block = block.reshape(len(block), -1)
        if scale == "unit":
            norms = np.linalg.norm(block, axis=1, keepdims=True)
            zeros += list(start + np.flatnonzero(norms == 0))
            block = block / np.where(norms == 0, 1, norms)  # refused below
        blocks.append(block.astype(np.float32))
    if zeros:
        raise ValueError(
            "`prepare` needs inputs that are not zero for `scale='unit'`. Got a zero "
            f"input at row {chosen[zeros].min()} of `{name}` ({len(zeros)} such rows). "
            "Remove them, or use `scale='raw'`."
        )
    return np.concatenate(blocks)
