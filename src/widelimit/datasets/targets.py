"""Classes as the targets of a regression."""

import numpy as np
from jaxtyping import Float64, Int64

from widelimit._checks import check_one_of

TARGETS = ("one-hot", "sign")


def check_targets(caller: str, targets: str, n_classes: int) -> None:
    """Raise unless `targets` is a known encoding, and one for `n_classes` classes."""
    check_one_of(caller, "targets", targets, TARGETS)
    if targets == "sign" and n_classes != 2:
        raise ValueError(
            f"`{caller}` needs exactly two classes for `targets='sign'`. Got "
            f"{n_classes}. Keep two of them, or use `targets='one-hot'`."
        )


def encode(
    y: Int64[np.ndarray, " n"], n_classes: int, targets: str
) -> Float64[np.ndarray, "n o"]:
    """One-hot rows, or one column that is +1 for label 0 and -1 for label 1."""
    if targets == "sign":
        return 1.0 - 2.0 * y[:, None]
    return np.eye(n_classes)[y]
