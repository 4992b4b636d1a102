"""`prepare_table`: scaling, unit rows, removal, and what it refuses."""

import numpy as np
import pytest

from oracles import unchecked
from widelimit.datasets import Table, load_table, prepare_table, scale_features

RNG = np.random.default_rng(4)
X = RNG.normal(size=(40, 3)) * [1, 1e3, 1e-3] + [0, 5e3, 1]


def table(x, classes=("no", "yes")):
    y = np.arange(len(x)) % len(classes)
    names = tuple(f"f{j}" for j in range(x.shape[1]))
    return Table("toy", x, y, names, classes)


def by_hand(x):
    rows = []
    for row in x:
        z = []
        for j, value in enumerate(row):
            low, high = min(x[:, j]), max(x[:, j])
            z.append((value - low) / (high - low) - (high - value) / (high - low))
        norm = sum(v * v for v in z) ** 0.5
        rows.append([v / norm for v in z])
    return np.array(rows)


def test_rows_are_those_of_the_definition():
    made = prepare_table(table(X))
    np.testing.assert_allclose(made.x, by_hand(X), rtol=1e-12)
    assert made.x.dtype == np.float64
    assert made.kept.tolist() == list(range(40)) and len(made.dropped) == 0
    assert made.y.tolist() == [0, 1] * 20
    assert made.t.tolist() == [[1.0], [-1.0]] * 20
    assert (made.name, made.classes, made.max_cosine) == ("toy", ("no", "yes"), None)
    assert made.feature_names == ("f0", "f1", "f2") and "array" not in repr(made)


def test_the_preparation_does_not_see_the_units():
    moved = prepare_table(table(X * [3, 0.1, 7] - [1, 2, 3]))
    np.testing.assert_allclose(moved.x, prepare_table(table(X)).x, atol=1e-11)


def test_features_span_the_interval_exactly():
    x = np.array([[1e308, 0.1, -7], [-1e308, 0.3, 7], [3e307, 0.2, 1]])
    scaled = scale_features(x)
    assert scaled.min(axis=0).tolist() == [-1, -1, -1]
    assert scaled.max(axis=0).tolist() == [1, 1, 1]
    np.testing.assert_allclose(scaled[2], [0.3, 0, 1 / 7], atol=1e-15)


def test_rows_that_are_dropped_are_named():
    x = np.concatenate([X[:10], X[3:4], X[10:], X[5:6]])
    made = prepare_table(table(x), max_cosine=1.0)
    assert made.dropped.tolist() == [10, 41] and made.parallel_to.tolist() == [3, 5]
    np.testing.assert_allclose(made.x, by_hand(x)[made.kept], rtol=1e-12)
    assert made.y.tolist() == [int(i) % 2 for i in made.kept]

    fewer = prepare_table(table(x), max_cosine=0.9)
    cosines = np.abs(fewer.x @ fewer.x.T) - np.eye(len(fewer.x))
    assert cosines.max() <= 0.9 < np.abs(fewer.cosines).min()
    assert sorted([*fewer.kept, *fewer.dropped]) == list(range(42))
    unit = by_hand(x)
    np.testing.assert_allclose(
        np.sum(unit[fewer.dropped] * unit[fewer.parallel_to], axis=1), fewer.cosines
    )


def test_three_classes_are_one_hot():
    made = prepare_table(table(X, ("a", "b", "c")), targets="one-hot")
    assert made.t[:3].tolist() == np.eye(3).tolist()


def with_row(row):
    return np.concatenate([X, [row]])


# Scaled, the last row is 1e-16 in each feature: rounding, not a direction.
DECIMAL = np.array([[0.1, 1.1, 0.2], [0.7, 1.1, 0.4], [0.1, 1.7, 0.4], [0.4, 1.4, 0.3]])
MIDDLE = (X.min(axis=0) + X.max(axis=0)) / 2


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (
            X * [1, 0, 1] + [0, 3, 0],
            {},
            r"two values. Got only 3.0 in feature 'f1' \(1",
        ),
        (with_row(X[3]), {}, "Got rows 3 and 40 of 'toy', which are equal.*Set `max_c"),
        (with_row(2 * MIDDLE - X[3]), {}, "rows 3 and 40 of 'toy', which are parallel"),
        (with_row(MIDDLE), {}, "zero once .*Got row 40 of 'toy', in the middle of eve"),
        (with_row(MIDDLE), {"max_cosine": 0.5}, "Got row 40 of 'toy', in the middle"),
        (DECIMAL, {}, "Got row 3 of 'toy', in the middle"),
        (X, {"targets": "signs"}, "`targets` to be one of 'one-hot', 'sign'"),
    ],
)
def test_unsuitable_tables_are_refused(x, options, message):
    with pytest.raises(ValueError, match=f"`prepare_table` needs .*{message}"):
        prepare_table(table(x), **options)


def test_three_classes_have_no_signs():
    with pytest.raises(ValueError, match="exactly two classes for `targets='sign'`"):
        prepare_table(table(X, ("a", "b", "c")))


def test_numbers_spoiled_after_loading_are_refused():
    spoiled = table(X.copy())
    spoiled.x[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"finite numbers in `x`. Got nan at .*\(4, 1"):
        prepare_table(spoiled)


@pytest.mark.parametrize("wrong", [0, 0.0, -0.5, 99.0, float("nan")])
def test_thresholds_that_leave_nothing_are_refused(wrong):
    message = "`prepare_table` needs `max_cosine` above 0"
    with unchecked(), pytest.raises(ValueError, match=message):
        prepare_table(table(X), max_cosine=wrong)


def test_what_is_no_table_is_named():
    with unchecked():
        with pytest.raises(ValueError, match="`prepare_table` needs a table"):
            prepare_table("sonar")
        with pytest.raises(ValueError, match="needs a number as `max_cosine`"):
            prepare_table(table(X), max_cosine="0.9")


@pytest.mark.parametrize("name", ["iris", None, ["sonar"]])
def test_unknown_tables_are_answered_with_tables(name):
    with unchecked(), pytest.raises(ValueError, match="'banknote'") as raised:
        load_table(name)
    assert "sonar" in str(raised.value) and "mnist" not in str(raised.value)
