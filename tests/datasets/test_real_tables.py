"""The real UCI tables, where WIDELIMIT_DATA has them, against published numbers."""

import hashlib

import numpy as np
import pytest
from uci_files import TEXTS

from widelimit import datasets
from widelimit.datasets import registry


def load_table(name, folder):
    try:
        return datasets.load_table(name, directory=folder)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [
        ("algerian-forest-fires", (244, 11), [106, 138]),
        ("banknote", (1372, 4), [762, 610]),
        ("sonar", (208, 60), [97, 111]),
    ],
)
def test_shapes_and_classes(real_data, name, shape, counts):
    table = load_table(name, real_data)
    assert table.x.shape == shape and np.bincount(table.y).tolist() == counts


@pytest.mark.parametrize("name", TEXTS)
def test_the_original_file_comes_back_and_is_fetched(real_data, server, name):
    """Written anew, it has the checksum in force; served and read, the same numbers."""
    expected = load_table(name, real_data)
    path = real_data / f"{name.replace('-', '_')}.npz"
    if expected.source != str(path):
        pytest.skip(f"WIDELIMIT_DATA has no {path.name}")
    file, _, text = TEXTS[name]
    with np.load(path, allow_pickle=False) as archive:
        data = text(archive["x"], archive["y"]).encode()
    (remote,) = registry.SETS[name].remotes
    assert remote.checksum == "sha256:" + hashlib.sha256(data).hexdigest()
    server.files[file] = data
    datasets.fetch(name, base_url=server.url)
    table = datasets.load_table(name)
    assert table.source.endswith(file)
    np.testing.assert_array_equal(table.x, expected.x)
    np.testing.assert_array_equal(table.y, expected.y)


@pytest.mark.parametrize(("activation", "rows"), [("gelu", 186), ("erf", 320)])
def test_banknotes_left_are_as_many_as_kim2023_reports(real_data, activation, rows):
    table = load_table("banknote", real_data)
    threshold = datasets.BANKNOTE_MAX_COSINE[activation]
    made = datasets.prepare_table(table, max_cosine=threshold)
    assert len(made.x) == rows and len(made.dropped) == 1372 - rows
    # No cosine is so near to the threshold that rounding could change the count.
    scaled = 2 * (table.x - table.x.min(0)) / np.ptp(table.x, axis=0) - 1
    scaled /= np.sqrt((scaled**2).sum(axis=1, keepdims=True))
    cosines = np.abs(scaled @ scaled[made.kept].T)
    assert np.abs(cosines - threshold).min() > 1e-7
    # Dropping for a dropped row as well would leave fewer.
    literal = np.tril(np.abs(scaled @ scaled.T), k=-1).max(axis=1) <= threshold
    assert literal.sum() == {"gelu": 125, "erf": 231}[activation]


def test_banknotes_repeat(real_data):
    table = load_table("banknote", real_data)
    with pytest.raises(ValueError, match="45 and 47 .* equal once prepared .24 rows"):
        datasets.prepare_table(table)
    assert len(datasets.prepare_table(table, max_cosine=1.0).x) == 1348


@pytest.mark.parametrize("name", ["algerian-forest-fires", "sonar"])
def test_the_other_tables_keep_all_rows(real_data, name):
    table = load_table(name, real_data)
    made = datasets.prepare_table(table)
    assert len(made.x) == len(table.x)
    np.testing.assert_allclose(np.linalg.norm(made.x, axis=1), 1, rtol=1e-14)
