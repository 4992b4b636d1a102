"""The UCI tables: every form of their files, what is refused, and their download."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from uci_files import TEXTS, write_zip

from widelimit import datasets
from widelimit.datasets import registry
from widelimit.datasets.entry import Remote

RNG = np.random.default_rng(0)
FIRES = np.round(RNG.uniform(0, 90, (244, 14)), 1)
FIRES[:, 0] = np.arange(244) >= 122
FIRES[:, 1:4] = [3, 7, 2012]
X = {
    "algerian-forest-fires": FIRES,
    "banknote": np.round(RNG.normal(size=(1372, 4)), 4),
    "sonar": np.round(RNG.uniform(size=(208, 60)), 4),
}
Y = {name: (RNG.uniform(size=len(x)) < 0.4).astype(int) for name, x in X.items()}
NPZ = {name: f"{name.replace('-', '_')}.npz" for name in X}
COLUMNS = {
    "algerian-forest-fires": [0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    "banknote": [0, 1, 2, 3],
    "sonar": list(range(60)),
}
FIRE_NAMES = "region day month year Temperature RH Ws Rain FFMC DMC DC ISI BUI FWI"
FEATURES = {
    "algerian-forest-fires": FIRE_NAMES.split(),
    "banknote": ["variance", "skewness", "curtosis", "entropy"],
    "sonar": [f"band_{i:02}" for i in range(1, 61)],
}
TABLES = tuple(X)


def original(name):
    return TEXTS[name][2](X[name], Y[name])


def write_npz(folder, name, **changes):
    arrays = {"x": X[name], "y": Y[name], "feature_names": np.array(FEATURES[name])}
    np.savez(folder / NPZ[name], **(arrays | changes))


def write(folder, name, form):
    file, archive, _ = TEXTS[name]
    if form == "npz":
        write_npz(folder, name)
    elif form == "zip":
        write_zip(folder / archive, file, original(name))
    else:
        data = original(name)
        if form == "other line ends":
            data = data.replace("\r\n", "\n") + "\n\n"
        (folder / file).write_bytes(data.encode())


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["npz", "text", "other line ends", "zip"])
def test_every_form_is_read(tmp_path, name, form):
    folder = tmp_path / name
    folder.mkdir()
    write(folder, name, form)
    table = datasets.load_table(name, directory=tmp_path)
    np.testing.assert_array_equal(table.x, X[name][:, COLUMNS[name]])
    np.testing.assert_array_equal(table.y, Y[name])
    assert table.x.dtype == np.float64 and table.y.dtype == np.int64
    assert list(table.feature_names) == [FEATURES[name][j] for j in COLUMNS[name]]
    assert table.name == name and str(folder) in table.source

    dataset = datasets.load(name, directory=tmp_path)
    np.testing.assert_array_equal(dataset.y_test, Y[name][4::5])
    np.testing.assert_allclose(dataset.x_test, table.x[4::5], rtol=1e-7)
    train = [i for i in range(len(table.x)) if i % 5 != 4]
    np.testing.assert_allclose(dataset.x_train, table.x[train], rtol=1e-7)
    np.testing.assert_array_equal(dataset.y_train, Y[name][train])
    assert dataset.image_shape == (table.x.shape[1],)

    listed = {r.name: r for r in datasets.listing(directory=tmp_path)}[name]
    assert (listed.n_train, listed.n_test) == (len(train), len(dataset.y_test))
    assert listed.image_shape == dataset.image_shape


def test_classes_are_named_in_the_order_of_the_labels(tmp_path):
    names = {}
    for name in TABLES:
        write(tmp_path, name, "npz")
        names[name] = datasets.load_table(name, directory=tmp_path).class_names
    assert names["algerian-forest-fires"] == ("not fire", "fire")
    assert names["sonar"] == ("rock", "mine") and names["banknote"] == ("0", "1")


FIRST = f"{X['banknote'][0, 0]},"


# The text of a file is changed by replacing its first `old` by `new`.
@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("banknote", ",", ",,", "4 features and a class.*Got 6 fields in line 1 of"),
        ("banknote", ",", ";", "4 features and a class.*Got 4 fields in line 1 of"),
        ("banknote", ",", "?,", "a number for each feature. Got line 1 of .*[?]'"),
        (
            "banknote",
            FIRST,
            "nan,",
            r"finite numbers in `x`. Got nan at index \(0, 0\)",
        ),
        ("banknote", "\r\n", "\r\n1,1,1,1,0\r\n", "the 1372 rows .*Got 1373 in"),
        ("sonar", ",R", ",X", "classes 'R', 'M'. Got 'X' in line"),
        ("algerian-forest-fires", "Bejaia", "Algiers", "title of a region.*line 1 of"),
        ("algerian-forest-fires", "DMC,DC", "DC,DMC", "columns day, .*Got day, month"),
        ("algerian-forest-fires", "03,07", "07", "features and a class.* line 3 of"),
        ("algerian-forest-fires", "not fire", "smoke", "'fire'. Got 'smoke' in line"),
    ],
)
def test_changed_texts_are_refused(tmp_path, name, old, new, message):
    text = original(name)
    assert old in text
    (tmp_path / TEXTS[name][0]).write_text(text.replace(old, new, 1), newline="")
    with pytest.raises(ValueError, match=message):
        datasets.load_table(name, directory=tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_truncated_texts_are_refused(tmp_path, name):
    lines = original(name).splitlines()[:-1]
    (tmp_path / TEXTS[name][0]).write_text("\n".join(lines))
    with pytest.raises(ValueError, match="it is truncated, or not the original. Run"):
        datasets.load_table(name, directory=tmp_path)
    record = {r.name: r for r in datasets.listing(directory=tmp_path)}[name]
    assert record.available and record.n_train is None


def test_other_files_are_refused(tmp_path):
    file, archive, _ = TEXTS["sonar"]
    (tmp_path / file).write_bytes(b"\xff\xfe0,1")
    with pytest.raises(ValueError, match="text of sonar.all-data. Got .*utf-8"):
        datasets.load_table("sonar", directory=tmp_path)
    (tmp_path / file).unlink()
    for write_it, message in (
        (lambda path: path.write_bytes(b"<html>"), "not a zip file. Run `widelimit"),
        (lambda path: write_zip(path, "a.csv", ""), "holds sonar.all-data. .*no item"),
    ):
        write_it(tmp_path / archive)
        with pytest.raises(ValueError, match=message):
            datasets.load_table("sonar", directory=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_names": np.array(list("abcd"))}, "columns variance.*names a, b, c"),
        ({"x": X["banknote"][:, :3]}, r"matrix `x`.*x.shape=\(1372, 3\)"),
        ({"x": X["banknote"] * np.inf}, "finite numbers in `x`"),
        ({"y": Y["banknote"] + 1}, "labels from 0 to 1 in `y`"),
        ({"y": Y["banknote"][:-1]}, r"one label per row.*len\(y\)=1371"),
        ({"y": Y["banknote"].astype(object)}, "cannot be used: Object arrays"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_wrong_archives_are_refused(tmp_path, changes, message):
    write_npz(tmp_path, "banknote", **changes)
    with pytest.raises(ValueError, match=message):
        datasets.load_table("banknote", directory=tmp_path)


def test_only_tables_are_loaded_as_tables():
    with pytest.raises(ValueError, match="'banknote', 'sonar'. Got `name='digits'`"):
        datasets.load_table("digits")
    with pytest.raises(ValueError, match="`load_table` needs `name` to be one of"):
        datasets.load_table("sonars")
    with pytest.raises(FileNotFoundError, match="`load_table` needs .*sonar.all-data"):
        datasets.load_table("sonar")


def test_tables_of_other_arrays():
    with pytest.raises(ValueError, match=r"2 features. Got `x.shape=\(3, 1\)`"):
        datasets.Table("own", np.ones((3, 1)), np.zeros(3, int), ("a", "b"), ("c",))
    few = datasets.Table("own", np.ones((4, 1)), np.zeros(4, int), ("a",), ("c",))
    with pytest.raises(ValueError, match="at least 5 rows. Got 4 in 'own'"):
        few.split()


@pytest.mark.parametrize("name", TABLES)
def test_a_download_that_broke_off_goes_on(server, monkeypatch, name):
    file = TEXTS[name][0]
    data = original(name).encode()
    server.files[f"mirror/{file}"] = data
    checksum = "sha256:" + hashlib.sha256(data).hexdigest()
    entry = replace(registry.SETS[name], remotes=(Remote(file, checksum),))
    monkeypatch.setitem(registry.SETS, name, entry)
    server.break_after = 1000
    with pytest.raises(ConnectionError, match="after the 1000 bytes"):
        datasets.fetch(name, base_url=f"{server.url}/mirror")
    folder = datasets.fetch(name, base_url=f"{server.url}/mirror")
    datasets.fetch(name, base_url=f"{server.url}/mirror")
    assert server.seen == [None, "bytes=1000-"]
    table = datasets.load_table(name)
    np.testing.assert_array_equal(table.y, Y[name])
    assert table.source == str(folder / file)


@pytest.mark.parametrize("name", TABLES)
def test_the_real_checksums_are_in_force(server, name):
    server.files[TEXTS[name][0]] = original(name).encode()
    (remote,) = registry.SETS[name].remotes
    with pytest.raises(ValueError, match=f"checksum {remote.checksum}. Got sha256:"):
        datasets.fetch(name, base_url=server.url)
    assert registry.SETS[name].base_url.startswith("https://archive.ics.uci.edu/ml/")
