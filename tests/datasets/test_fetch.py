"""`fetch` puts a set where `load` finds it."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from data_files import IDX_NAMES, idx_bytes, random_split

from widelimit import datasets
from widelimit.datasets import registry
from widelimit.datasets.entry import Remote

SPLIT = random_split((28, 28))
FILES = {
    f"{name}.gz": gzip.compress(idx_bytes(array), mtime=0)
    for name, array in zip(IDX_NAMES, SPLIT, strict=True)
}


@pytest.fixture
def small_mnist(server, monkeypatch):
    """MNIST of ten images on a server, with its own checksums."""
    server.files |= {f"mirror/{name}": data for name, data in FILES.items()}
    remotes = tuple(
        Remote(name, "md5:" + hashlib.md5(data).hexdigest())
        for name, data in FILES.items()
    )
    entry = replace(registry.SETS["mnist"], remotes=remotes)
    monkeypatch.setitem(registry.SETS, "mnist", entry)
    return f"{server.url}/mirror/"


@pytest.mark.parametrize("directory", [None, "chosen"])
def test_fetch_then_load(small_mnist, tmp_path, directory):
    folder = tmp_path / (directory or "cache")
    given = directory and folder
    done = []
    made = datasets.fetch(
        "mnist",
        directory=given,
        base_url=small_mnist,
        progress=lambda *call: done.append(call),
    )
    assert made == folder / "mnist"
    assert [name for name, _, _ in done] == list(FILES)
    dataset = datasets.load("mnist", directory=given)
    np.testing.assert_array_equal(np.rint(dataset.x_test * 255), SPLIT[2])
    assert str(made) in dataset.source


def test_fetch_goes_on_with_the_files_that_are_missing(small_mnist, server):
    missing = server.files.pop("mirror/t10k-images-idx3-ubyte.gz")
    with pytest.raises(ConnectionError, match="404"):
        datasets.fetch("mnist", base_url=small_mnist)
    with pytest.raises(FileNotFoundError, match="no t10k-images-idx3-ubyte, t10k-lab"):
        datasets.load("mnist")
    server.files["mirror/t10k-images-idx3-ubyte.gz"] = missing
    datasets.fetch("mnist", base_url=small_mnist.rstrip("/"))
    assert len(server.seen) == 5  # two, the missing one twice, and the last
    assert datasets.listing()[1].n_train == 7


def test_the_real_checksums_are_in_force(server):
    server.files |= FILES
    message = "checksum md5:f68b3c2dcbeaaa9fbdd348bbdeb94873. Got md5:"
    with pytest.raises(ValueError, match=message):
        datasets.fetch("mnist", base_url=server.url)
    server.files["cifar-10-binary.tar.gz"] = b"x"
    message = "checksum md5:c32a1d4ab5d03f1284b67883e8d87530. Got md5:"
    with pytest.raises(ValueError, match=message):
        datasets.fetch("cifar10", base_url=server.url)


def test_digits_are_not_fetched():
    with pytest.raises(ValueError, match="downloaded: 'mnist', 'cifar10'.*'digits'"):
        datasets.fetch("digits")


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match="one of 'digits', 'mnist', 'cifar10'.*'cifar'"
    ):
        datasets.fetch("cifar")
