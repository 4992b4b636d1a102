"""A table in memory: rows of named features, in double precision, with classes."""

from dataclasses import dataclass, field

import numpy as np

from widelimit._checks import finite_inputs
from widelimit.datasets.dataset import Dataset, checked_labels

EVERY = 5  # one row of this many is for testing


@dataclass(frozen=True, eq=False)
class Table:
    """Labelled rows of named features, all in one part and in the order of the file.

    Inputs are converted to float64 and labels to int64. Any arrays will do, so this is
    also the way to bring a table of your own.

    Args:
        name: Short name, used in messages and records.
        x: Inputs of shape `(n, d)`, in the units of the features.
        y: Labels of shape `(n,)`: integers that index `class_names`.
        feature_names: Name of each column.
        class_names: Name of each class, in the order of the labels.
        source: Where the arrays came from, such as a file.

    Raises:
        ValueError: If `x` is no matrix of finite numbers with a name for each column,
            or `y` no vector with a label for each row.
    """

    name: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    feature_names: tuple[str, ...] = field(repr=False)
    class_names: tuple[str, ...]
    source: str = "arrays"

    def __post_init__(self) -> None:
        for name in ("feature_names", "class_names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        caller = f"Table {self.name} from {self.source}"
        x = finite_inputs(caller, "x", self.x, "float64")
        y = checked_labels(caller, "y", np.asarray(self.y), len(self.class_names))
        if x.shape[1:] != (len(self.feature_names),):
            raise ValueError(
                f"`{caller}` needs `x` with one column for each of its "
                f"{len(self.feature_names)} features. Got `x.shape={x.shape}`."
            )
        if len(x) != len(y):
            raise ValueError(
                f"`{caller}` needs one label per row. Got `len(x)={len(x)}` and "
                f"`len(y)={len(y)}`."
            )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def split(self) -> Dataset:
        """A data set in single precision, of which each fifth row is for testing.

        The test part is the rows 4, 9, 14, ...; the split needs no random generator.
        Where a file lists its classes one after the other, as the UCI files of
        banknotes and sonar echoes do, both parts have them in equal shares.

        Returns:
            The data set, inputs in the units of the table.

        Raises:
            ValueError: If the table has fewer than five rows.
        """
        if len(self.x) < EVERY:
            raise ValueError(
                f"`Table.split` needs at least {EVERY} rows. Got {len(self.x)} in "
                f"'{self.name}'."
            )
        test = np.arange(len(self.x)) % EVERY == EVERY - 1
        return Dataset(
            name=self.name,
            x_train=self.x[~test],
            y_train=self.y[~test],
            x_test=self.x[test],
            y_test=self.y[test],
            class_names=self.class_names,
            image_shape=self.x.shape[1:],
            source=self.source,
        )
