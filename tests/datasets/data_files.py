"""Writers of small files in every format, written apart from the readers."""

import gzip

import numpy as np

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
KEYS = ("x_train", "y_train", "x_test", "y_test")
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def random_split(shape, n_train=7, n_test=3, seed=0):
    """Random uint8 images and labels: `x_train, y_train, x_test, y_test`."""
    rng = np.random.default_rng(seed)
    return tuple(
        made.astype(np.uint8)
        for n in (n_train, n_test)
        for made in (rng.integers(0, 256, (n, *shape)), rng.integers(0, 10, n))
    )


def idx_bytes(array, code=0x08):
    head = bytes([0, 0, code, array.ndim])
    head += b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx_set(folder, split, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(IDX_NAMES, split, strict=True):
        data = idx_bytes(array)
        data = gzip.compress(data) if suffix == ".gz" else data
        (folder / f"{name}{suffix}").write_bytes(data)


def write_npz(path, split):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict(zip(KEYS, split, strict=True)))


def cifar_bytes(images, labels):
    return b"".join(
        bytes([label]) + image.tobytes()
        for image, label in zip(images, labels, strict=True)
    )


def cifar_batches(split):
    """Name and bytes of each of the six files; the training part in uneven pieces."""
    x, y, x_test, y_test = split
    cuts = [0, 1, 3, 4, 5, len(y)]
    parts = [(x[a:b], y[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
    contents = [cifar_bytes(*part) for part in (*parts, (x_test, y_test))]
    return dict(zip(BATCHES, contents, strict=True))


def cifar100_bytes(images, coarse, fine):
    return b"".join(
        bytes([one, two]) + image.tobytes()
        for image, one, two in zip(images, coarse, fine, strict=True)
    )
