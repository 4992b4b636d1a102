"""MNIST: from a numpy archive or from the four original IDX files."""

from pathlib import Path

from widelimit.datasets.dataset import Dataset
from widelimit.datasets.entry import Entry, Form, Remote
from widelimit.datasets.idx import idx_shape, read_idx
from widelimit.datasets.images import Split, image_dataset
from widelimit.datasets.npz import npz_rows, read_npz

_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _dataset(split: Split, source: str) -> Dataset:
    return image_dataset(
        "mnist",
        split,
        white=255,
        class_names=tuple("0123456789"),
        image_shape=(28, 28),
        source=source,
    )


def _read_npz(paths: tuple[Path, ...]) -> Dataset:
    return _dataset(read_npz(paths[0]), str(paths[0]))


def _read_idx(paths: tuple[Path, ...]) -> Dataset:
    return _dataset(Split(*map(read_idx, paths)), f"IDX files in {paths[0].parent}")


def _idx_rows(paths: tuple[Path, ...]) -> tuple[int, int]:
    return idx_shape(paths[1])[0], idx_shape(paths[3])[0]


MNIST = Entry(
    name="mnist",
    image_shape=(28, 28),
    size="12 MB",
    forms=(
        Form(
            label="mnist.npz",
            parts=(("mnist.npz",),),
            read=_read_npz,
            rows=lambda paths: npz_rows(paths[0]),
        ),
        Form(
            label=f"the IDX files {', '.join(_IDX)} (each with or without .gz)",
            parts=tuple((n, f"{n}.gz", n.replace("-idx", ".idx")) for n in _IDX),
            read=_read_idx,
            rows=_idx_rows,
        ),
    ),
    base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    remotes=(
        Remote(f"{_IDX[0]}.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        Remote(f"{_IDX[1]}.gz", "md5:d53e105ee54ea40749a09fcbcd1e9432"),
        Remote(f"{_IDX[2]}.gz", "md5:9fb629c4189551a2d022fa330f9573f3"),
        Remote(f"{_IDX[3]}.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
    ),
)
