"""What a `Dataset` accepts, converts and refuses."""

import numpy as np
import pytest

from widelimit.datasets import Dataset


def make(**changes):
    fields = {
        "name": "toy",
        "x_train": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "y_train": np.array([0, 2, 1, 1], np.uint8),
        "x_test": np.ones((2, 2, 3)),
        "y_test": np.array([2, 0]),
        "class_names": ("a", "b", "c"),
        "image_shape": (2, 3),
    }
    return Dataset(**(fields | changes))


def test_arrays_are_converted_and_kept():
    dataset = make()
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.float32
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    np.testing.assert_array_equal(dataset.x_train.ravel(), np.arange(24))
    np.testing.assert_array_equal(dataset.y_train, [0, 2, 1, 1])
    assert dataset.source == "arrays"


def test_its_text_leaves_the_arrays_out():
    assert "array" not in repr(make(source="mine"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.array([0, 1])}, r"len\(x_train\)=4` and `len\(y_train\)=2"),
        ({"y_test": np.array([0, 3])}, r"0 to 2 in `y_test`.*Got 3 at index 1 \(1"),
        ({"y_test": np.array([-1, 0])}, r"`y_test`.*Got -1 at index 0"),
        ({"y_test": np.array([0.0, 1.0])}, r"vector of integers.*dtype=float64"),
        ({"y_test": np.array([[0], [1]])}, r"vector of integers.*shape=\(2, 1\)"),
        ({"image_shape": (3, 2)}, r"shape `\(n, \*\(3, 2\)\)`.*shape=\(4, 2, 3\)"),
        ({"x_test": np.ones((0, 2, 3))}, r"at least one row.*shape=\(0, 2, 3\)"),
        ({"x_test": np.full((2, 2, 3), "1")}, r"real numbers in `x_test`.*dtype=<U1"),
        ({"x_test": np.full((2, 2, 3), np.nan)}, r"finite.*nan at index \(0, 0, 0\)"),
        ({"x_test": np.full((2, 2, 3), 1e39)}, r"finite.*inf at index \(0, 0, 0\)"),
    ],
)
def test_what_is_wrong_is_refused(changes, message):
    with pytest.raises(
        ValueError, match=rf"`Dataset toy from arrays` needs .*{message}"
    ):
        make(**changes)
