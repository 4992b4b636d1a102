"""`prepare`: scaling, classes, targets and subsets, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from widelimit.datasets import Dataset, downsampling, preparation, prepare

RNG = np.random.default_rng(3)
TOY = Dataset(
    name="toy",
    x_train=RNG.uniform(0.1, 1, (11, 2, 3, 5)),
    y_train=np.array([2, 0, 1, 3, 2, 2, 0, 1, 3, 0, 2]),
    x_test=RNG.uniform(0.1, 1, (6, 2, 3, 5)),
    y_test=np.array([0, 1, 2, 3, 2, 0]),
    class_names=("ant", "bee", "cow", "dog"),
    image_shape=(2, 3, 5),
)


def with_train(x):
    """A data set of two classes whose training inputs are the rows of `x`."""
    return Dataset(
        name="rows",
        x_train=x,
        y_train=np.arange(len(x)) % 2,
        x_test=np.ones((1, *x.shape[1:])),
        y_test=np.array([1]),
        class_names=("even", "odd"),
        image_shape=x.shape[1:],
    )


def test_every_row_and_class_by_default():
    made = prepare(TOY)
    for x, raw in ((made.x_train, TOY.x_train), (made.x_test, TOY.x_test)):
        for row, image in zip(x, raw.astype(float), strict=True):
            norm = sum(v * v for v in image.ravel()) ** 0.5
            np.testing.assert_allclose(row, image.ravel() / norm, rtol=1e-7)
    np.testing.assert_array_equal(made.y_train, TOY.y_train)
    for target, label in zip(made.t_test, TOY.y_test, strict=True):
        assert target.tolist() == [float(k == label) for k in range(4)]
    assert made.classes == TOY.class_names and made.image_shape == (2, 3, 5)
    assert made.x_train.dtype == made.t_train.dtype == np.float32
    assert (made.name, made.scale) == ("toy", "unit") and "array" not in repr(made)


def test_raw_values_are_kept():
    made = prepare(TOY, scale="raw")
    np.testing.assert_array_equal(made.x_test, TOY.x_test.reshape(6, 30))
    assert made.scale == "raw"


# Norms of float32 rows over the whole range of float32.
@given(
    hnp.arrays(np.float32, (3, 7), elements=st.floats(-1, 1, width=32)),
    st.integers(-60, 60),
)
def test_unit_rows_have_norm_one_at_any_scale(x, power):
    x[:, 0] += 2  # none is zero
    made = prepare(with_train(np.ldexp(x, power)))
    norms = np.linalg.norm(made.x_train.astype(float), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-7)


def test_blocks_of_rows_make_no_difference(monkeypatch):
    whole = prepare(TOY, size=2)
    monkeypatch.setattr(preparation, "_BLOCK", 3)
    np.testing.assert_array_equal(prepare(TOY, size=2).x_train, whole.x_train)


def test_classes_are_relabelled_in_the_order_given():
    made = prepare(TOY, classes=(3, 0), scale="raw")
    rows = [i for i, label in enumerate(TOY.y_train) if label in (3, 0)]
    np.testing.assert_array_equal(made.x_train, TOY.x_train[rows].reshape(-1, 30))
    assert made.y_train.tolist() == [{3: 0, 0: 1}[TOY.y_train[i]] for i in rows]
    assert made.classes == ("dog", "ant") and made.t_train.shape == (len(rows), 2)


def test_signs_are_plus_one_for_the_first_class():
    made = prepare(TOY, classes=(2, 1), targets="sign")
    assert made.t_test.tolist() == [[-1.0], [1.0], [1.0]]  # labels 1, 2, 2
    swapped = prepare(TOY, classes=(1, 2), targets="sign")
    np.testing.assert_array_equal(swapped.t_train, -made.t_train)


def test_images_are_averaged_before_they_are_scaled():
    made = prepare(TOY, size=2)
    small = downsampling.downsample(TOY.x_train.astype(float), 2).reshape(11, 8)
    expected = small / np.linalg.norm(small, axis=1, keepdims=True)
    np.testing.assert_allclose(made.x_train, expected, rtol=1e-6)
    assert made.image_shape == (2, 2, 2)
    assert prepare(with_train(np.ones((2, 4, 5))), size=3).image_shape == (3, 3)


def test_subsets_are_seeded_nested_and_without_repeats():
    def rows(**options):
        made = prepare(TOY, scale="raw", **options)
        return [tuple(row) for row in made.x_train], [tuple(row) for row in made.x_test]

    all_train, all_test = rows()
    train, test = rows(train=7, test=4, seed=5)
    assert len(set(train)) == len(train) == 7 and set(train) < set(all_train)
    assert len(set(test)) == len(test) == 4 and set(test) < set(all_test)
    assert rows(train=7, test=4, seed=5) == (train, test)
    assert rows(train=3, test=6, seed=5)[0] == train[:3]
    assert rows(train=7, test=4, seed=6)[0] != train
    assert set(rows(train=11)[0]) == set(all_train)


def test_subsets_keep_inputs_and_labels_together():
    label_of = {
        tuple(x.ravel()): y for x, y in zip(TOY.x_train, TOY.y_train, strict=True)
    }
    made = prepare(TOY, scale="raw", classes=(2, 0, 1), train=6, seed=1)
    for x, y, t in zip(made.x_train, made.y_train, made.t_train, strict=True):
        assert (2, 0, 1)[y] == label_of[tuple(x)] and t[y] == t.sum() == 1


def test_zero_rows_are_refused_by_their_place_in_the_data_set(monkeypatch):
    monkeypatch.setattr(preparation, "_BLOCK", 4)
    x = np.ones((13, 2, 2))
    x[[6, 10, 12]] = 0
    message = r"zero input at row 6 of `x_train` \(3 such rows\). Remove.*'raw'"
    for seed in range(3):
        with pytest.raises(ValueError, match=message):
            prepare(with_train(x), classes=(0,), train=7, seed=seed)
    prepare(with_train(x), classes=(1,))
    prepare(with_train(x), scale="raw")


def test_numbers_spoiled_after_loading_are_refused():
    spoiled = replace(TOY, x_test=TOY.x_test.copy())
    spoiled.x_test[4, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"`prepare` needs finite numbers in `x_test`"):
        prepare(spoiled)


TABLE = with_train(np.ones((4, 3)))


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (TOY, {"scale": "max"}, "`scale` to be one of 'unit', 'raw'.*'max'"),
        (TOY, {"targets": "pm1"}, "`targets` to be one of 'one-hot', 'sign'.*'pm1'"),
        (TOY, {"targets": "sign"}, "exactly two classes for `targets='sign'`. Got 4"),
        (TOY, {"classes": (0, 4)}, r"among 0 \(ant\).*3 \(dog\).*classes=\(0, 4\)"),
        (TOY, {"classes": (-1,)}, r"among 0 \(ant\).*classes=\(-1,\)"),
        (TOY, {"classes": (1, 1)}, r"different labels.*classes=\(1, 1\)"),
        (TOY, {"classes": ()}, r"different labels.*classes=\(\)"),
        (TOY, {"train": 12}, "at least 12 rows .*`y_train`. Got 11. Lower `train`"),
        (TOY, {"test": 3, "classes": (0,)}, r"3 rows of the classes \(0,\).*Got 2"),
        (TABLE, {"classes": (0,)}, r"at least 1 rows.*\(0,\) in `y_test`. Got 0"),
        (TOY, {"test": 0}, "`test >= 1`. Got `test=0"),
        (TOY, {"train": -1}, "`train >= 1`. Got `train=-1"),
        (TOY, {"seed": -1}, "`seed >= 0`. Got `seed=-1"),
        (TOY, {"size": 4}, "size <= 3`, the side of the images.*Got `size=4"),
        (TABLE, {"size": 2}, r"images to down-sample.*`size=2` and .*shape \(3,\)"),
    ],
)
def test_arguments_that_do_not_suit_are_refused(dataset, options, message):
    with pytest.raises(ValueError, match=f"`prepare` needs .*{message}"):
        prepare(dataset, **options)
