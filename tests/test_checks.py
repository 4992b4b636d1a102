"""Counts must be whole numbers, of any kind."""

import numpy as np
import pytest

from oracles import unchecked
from widelimit.layers import Dense
from widelimit.networks import mlp


def test_numpys_integers_are_counts():
    with unchecked():
        assert Dense(np.int64(3)) == Dense(3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [3.0, True, "3", None])
def test_other_things_are_not(value):
    with unchecked(), pytest.raises(ValueError, match="a whole number as `features`"):
        Dense(value)
    with unchecked(), pytest.raises(ValueError, match="a whole number as `depth`. Got"):
        mlp(depth=value, width=3)
