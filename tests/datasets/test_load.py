"""`load`: every form of every set, in every folder, and what it refuses."""

import io
import tarfile

import numpy as np
import pytest
from data_files import (
    IDX_NAMES,
    cifar100_bytes,
    cifar_batches,
    random_split,
    write_idx_set,
    write_npz,
)

from widelimit import datasets

MNIST = random_split((28, 28))
CIFAR = random_split((3, 32, 32))
CIFAR100 = (*random_split((3, 32, 32), seed=1),)
CIFAR100[1][:4] = (99, 0, 57, 31)
SPLITS = {"mnist": MNIST, "cifar10": CIFAR, "cifar100": CIFAR100}


def write_cifar_folder(folder, split=CIFAR):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in cifar_batches(split).items():
        (folder / name).write_bytes(data)


def write_cifar_tar(folder, split=CIFAR, without=""):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        # Another order than the reader's, and a file that it does not want.
        files = {"readme.html": b"hello", **cifar_batches(split)}
        for name in reversed(files):
            if name != without:
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(files[name])
                archive.addfile(member, io.BytesIO(files[name]))
    return path


def write_cifar100_folder(folder):
    folder.mkdir(parents=True, exist_ok=True)
    x_train, y_train, x_test, y_test = CIFAR100
    (folder / "train.bin").write_bytes(cifar100_bytes(x_train, y_train % 20, y_train))
    (folder / "test.bin").write_bytes(cifar100_bytes(x_test, y_test % 20, y_test))


def write_cifar100_tar(folder):
    write_cifar100_folder(folder / "cifar-100-binary")
    with tarfile.open(folder / "cifar-100-binary.tar.gz", "w:gz") as archive:
        archive.add(folder / "cifar-100-binary", "cifar-100-binary")
    for name in ("train.bin", "test.bin"):
        (folder / "cifar-100-binary" / name).unlink()


def write_dotted_idx_set(folder):
    write_idx_set(folder, MNIST)
    for name in IDX_NAMES:
        (folder / name).rename(folder / name.replace("-idx", ".idx"))


FORMS = {
    "npz": ("mnist", lambda folder: write_npz(folder / "mnist.npz", MNIST)),
    "idx": ("mnist", lambda folder: write_idx_set(folder, MNIST)),
    "idx.gz": ("mnist", lambda folder: write_idx_set(folder, MNIST, ".gz")),
    "idx dotted": ("mnist", write_dotted_idx_set),
    "cifar npz": ("cifar10", lambda folder: write_npz(folder / "cifar10.npz", CIFAR)),
    "cifar subset": (
        "cifar10",
        lambda folder: write_npz(folder / "cifar10_subset.npz", CIFAR),
    ),
    "cifar folder": (
        "cifar10",
        lambda folder: write_cifar_folder(folder / "cifar-10-batches-bin"),
    ),
    "cifar inside": ("cifar10", write_cifar_folder),
    "cifar tar": ("cifar10", write_cifar_tar),
    "cifar100 npz": (
        "cifar100",
        lambda folder: write_npz(folder / "cifar100.npz", CIFAR100),
    ),
    "cifar100 folder": (
        "cifar100",
        lambda folder: write_cifar100_folder(folder / "cifar-100-binary"),
    ),
    "cifar100 tar": ("cifar100", write_cifar100_tar),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form):
    name, write = FORMS[form]
    write(tmp_path / "here")
    dataset = datasets.load(name, directory=tmp_path / "here")
    x_train, y_train, x_test, y_test = SPLITS[name]
    assert dataset.name == name
    assert len(dataset.class_names) == (100 if name == "cifar100" else 10)
    assert dataset.image_shape == x_train.shape[1:]
    assert str(tmp_path / "here") in dataset.source
    np.testing.assert_allclose(dataset.x_train, x_train / 255, rtol=1e-7)
    np.testing.assert_allclose(dataset.x_test, x_test / 255, rtol=1e-7)
    np.testing.assert_array_equal(dataset.y_train, y_train)
    np.testing.assert_array_equal(dataset.y_test, y_test)

    listed = {r.name: r for r in datasets.listing(directory=tmp_path / "here")}[name]
    assert listed.available and str(tmp_path / "here") in listed.where
    expected = (None, None) if form.endswith(" tar") else (7, 3)  # not cheap in a tar
    assert (listed.n_train, listed.n_test) == expected


def test_folders_are_searched_in_order(tmp_path, monkeypatch):
    given, data, cache = (tmp_path / name for name in ("given", "data", "cache"))
    monkeypatch.setenv("WIDELIMIT_DATA", str(data))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(cache))
    # From the last place to the first: each new file hides the ones before.
    for folder in (cache / "mnist", cache, data / "mnist", data):
        write_npz(folder / "mnist.npz", MNIST)
        assert datasets.load("mnist").source == str(folder / "mnist.npz")
    for folder in (given / "mnist", given):
        write_npz(folder / "mnist.npz", MNIST)
        source = datasets.load("mnist", directory=str(given)).source
        assert source == str(folder / "mnist.npz")
    # `directory` stands in place of WIDELIMIT_DATA, not before it.
    source = datasets.load("mnist", directory=tmp_path / "none").source
    assert source == str(cache / "mnist.npz")


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    dataset = datasets.load("digits")
    expected = load_digits()
    x = np.concatenate([dataset.x_train, dataset.x_test])
    y = np.concatenate([dataset.y_train, dataset.y_test])
    np.testing.assert_array_equal(x * 16, expected.images)
    np.testing.assert_array_equal(y, expected.target)
    assert dataset.x_train.shape == (1437, 8, 8)
    assert np.bincount(dataset.y_test).tolist() == [
        35,
        36,
        35,
        37,
        37,
        37,
        37,
        36,
        33,
        37,
    ]
    assert datasets.load().name == datasets.names()[0] == "digits"


def test_listing_without_files():
    records = datasets.listing()
    assert tuple(r.name for r in records) == datasets.names()
    digits, mnist, cifar10, cifar100, *tables = records
    assert digits.available and (digits.n_train, digits.n_test) == (1437, 360)
    assert not mnist.available and mnist.where == "" and mnist.n_train is None
    assert cifar10.how == "widelimit data fetch cifar10 (170 MB)"
    assert cifar10.image_shape == cifar100.image_shape == (3, 32, 32)
    assert cifar100.how == "widelimit data fetch cifar100 (169 MB)"
    assert [r.name for r in tables] == ["algerian-forest-fires", "banknote", "sonar"]
    assert tables[0].image_shape == (11,) and not tables[0].available


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match="one of 'digits', 'mnist', 'cifar10'.*'mnits'"
    ):
        datasets.load("mnits")


def test_nothing_found_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="widelimit data fetch mnist") as caught:
        datasets.load("mnist", directory=tmp_path / "empty")
    for place in ("empty", "empty/mnist", "cache", "cache/mnist", "mnist.npz"):
        assert str(place) in str(caught.value)


def test_a_set_with_a_file_too_few_says_which(tmp_path):
    write_idx_set(tmp_path / "mnist", MNIST, ".gz")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    message = "In .*mnist there is no t10k-labels-idx1-ubyte. Run"
    with pytest.raises(FileNotFoundError, match=message):
        datasets.load("mnist", directory=tmp_path)
