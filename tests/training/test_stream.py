"""Rows that stay on the host: the same training, one batch at a time."""

import functools
import logging
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit import _checks
from widelimit.activations import Erf
from widelimit.attacks import PGD
from widelimit.layers import Dense, Flatten, Sequential
from widelimit.networks import mlp
from widelimit.training import (
    Checkpoint,
    CropFlip,
    PixelScaling,
    checkpoint,
    host_rows,
    train,
)
from widelimit.training.fingerprint import fingerprint
from widelimit.training.host_rows import on_host

ROWS, BATCH = 11, 4
RNG = np.random.default_rng(12)
X = RNG.normal(size=(ROWS, 3))
TARGETS = RNG.normal(size=(ROWS, 2))
IMAGES = RNG.integers(256, size=(ROWS, 2, 3, 2), dtype=np.uint8)
GREY = np.arange(ROWS * 12).reshape(ROWS, 2, 2, 3) % 17.0  # as scikit-learn's digits
KEYS = jax.random.split(jax.random.key(1), 2)
NETWORK = mlp(depth=1, width=4, outputs=2, activation=Erf())
SGD = optax.sgd(0.1, momentum=0.5)
SCALED: dict[str, Any] = {
    "scaling": PixelScaling((0.4, 0.6), (0.2, 0.3)),
    "augmentation": CropFlip(1),
    "network": Sequential((Flatten(), Dense(2))),
}


def run(x, network=NETWORK, seeds=2, targets=TARGETS, **options):
    keys = KEYS[:seeds]
    params = jax.vmap(lambda key: network.init(key, x.shape[1:]))(keys)
    defaults = {
        "loss": "squared", "optimizer": SGD, "epochs": 3, "batch_size": BATCH,
        "keys": keys,
    }  # fmt: skip
    return train(network, params, x, jnp.asarray(targets), **(defaults | options))


@functools.cache
def on_device():
    return run(X)


def assert_same_bits(one, other):
    def same(a, b):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    jax.tree.map(same, one, other)


class Counted(np.ndarray):
    """Counts the rows that are asked for, and refuses to become another array."""

    taken: list
    most = None

    def __array_finalize__(self, source):
        self.taken = getattr(source, "taken", [])

    def __getitem__(self, index):
        if isinstance(index, np.ndarray):
            if self.most is not None and len(self.taken) == self.most:
                raise OSError("the file is gone")
            self.taken.append(len(index))
        return np.asarray(super().__getitem__(index))

    def __array_ufunc__(self, ufunc, *rest, **options):
        raise AssertionError(f"{ufunc} of the whole array")

    def __array_function__(self, function, *rest, **options):
        raise AssertionError(f"{function} of the whole array")


@pytest.fixture
def optimised():
    """Compiles as users do: what is merged into one loop may round in another way."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


# The same bits


def test_it_is_bit_for_bit_the_training_on_the_device(optimised):
    options: dict[str, Any] = {"batch_size": 3, "epochs": 30}  # to see any rounding
    assert_same_bits(run(X, stream=True, **options), run(X, **options))


def test_so_are_scaled_and_augmented_images_of_one_seed_in_parts():
    options = {**SCALED, "seeds": 1, "accumulate": 2}
    assert_same_bits(run(IMAGES, stream=True, **options), run(IMAGES, **options))


def test_rows_are_fetched_in_pieces_and_for_each_seed(monkeypatch):
    """Of large batches, and of seeds that are on one device."""
    monkeypatch.setattr(host_rows, "INDEX_ROWS", 3)
    x, index = X.view(Counted), jnp.asarray(RNG.integers(ROWS, size=(2, 7)))
    with host_rows.on_host(x) as rows:
        found, read = jax.jit(jax.vmap(lambda i: rows.fetch(i)))(index)
    np.testing.assert_array_equal(found, X[index])
    assert read.all() and sorted(x.taken) == [1, 1, 3, 3, 3, 3]


def test_a_checkpoint_is_that_of_the_training_on_the_device(tmp_path, monkeypatch):
    """Begun on the device, broken off, and finished from a file of rows."""
    write, place = checkpoint._write, Checkpoint(tmp_path / "state.npz")

    def once(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_write", once)
    with pytest.raises(KeyboardInterrupt):
        run(X, checkpoint=place)
    monkeypatch.setattr(checkpoint, "_write", write)
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(x, np.memmap)
    assert_same_bits(run(x, stream=True, checkpoint=place), on_device())
    other = np.where(np.arange(ROWS)[:, None] == ROWS - 1, X + 1, X)
    with pytest.raises(ValueError, match="belongs to another.*\n *x: "):
        run(other, stream=True, checkpoint=place)


def test_rows_have_the_type_that_the_device_would_give_them():
    with host_rows.on_host(X.astype(">f4")) as rows:
        assert rows.dtype == np.float32
        found, read = jax.jit(lambda i: rows.fetch(i))(jnp.asarray([7, 2]))
        same = fingerprint(rows) == fingerprint(jnp.asarray(X, jnp.float32))
    np.testing.assert_array_equal(found, X.astype(np.float32)[[7, 2]])
    assert found.dtype == jnp.float32 and bool(read) and same


# What stays on the host


def test_only_batches_are_read_and_other_rows_compile_nothing(caplog):
    x = X.view(Counted)
    run(X + 1, stream=True)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        streamed = run(x, stream=True)
    assert_same_bits(streamed, on_device())
    assert x.taken == [BATCH] * 2 * 3 * (ROWS // BATCH)
    messages = [record.getMessage() for record in caplog.records]
    assert not [m for m in messages if "Compiling" in m and "_advance" in m]
    assert not host_rows._sources


def test_an_array_larger_than_any_memory():
    """A terabyte of bytes, all the same one, of which a copy would fail at once."""
    x = np.broadcast_to(np.uint8(3), (2**20, 1000, 500, 2))
    options = {"scaling": SCALED["scaling"], "batch_size": 1, "epochs": 0}
    none = train(
        lambda params, x: x[:, 0, 0] * params, jnp.ones((2, 2)), x,
        jnp.zeros((len(x), 2)), loss="squared", optimizer=optax.sgd(0.1), keys=KEYS,
        stream=True, **options,
    )  # fmt: skip
    np.testing.assert_array_equal(none.params, 1)


# What is refused


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (jnp.asarray(X), {}, "`x` as a NumPy array or `np.memmap`.*Got a `ArrayImpl`"),
        (X.tolist(), {}, "as a NumPy array.*Got a `list`"),
        (np.ma.masked_array(X), {}, "as a NumPy array.*Got a `MaskedArray`"),
        (IMAGES.astype(float), {}, "have been scaled.*Got pixels from . to 2.., as fi"),
        (GREY, {}, r"from 0 to 16, as .* Divide them by white \(255 for bytes\), take"),
        (X, {"adversary": PGD(0.1, steps=1)}, "all rows on the device with an `adver"),
        (np.where(X == X[6, 1], np.nan, X), {}, r"`x`. Got nan at index \(6, 1\)"),
        (IMAGES, {}, "floating-point type.*`scaling`"),
    ],
    ids=[
        "on a device",
        "list",
        "masked",
        "pixels",
        "few grey levels",
        "adversary",
        "not finite",
        "bytes",
    ],  # fmt: skip
)
def test_what_does_not_fit_is_refused(x, options, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        train(
            NETWORK, (), x, TARGETS, loss="squared", optimizer=optax.sgd(0.1),
            epochs=1, batch_size=BATCH, keys=KEYS, stream=True, **options,
        )  # fmt: skip


@pytest.mark.parametrize("most", [0, 3])
def test_rows_that_cannot_be_read_end_it_with_one_error(most, tmp_path, capfd):
    x: Any = X.view(Counted)
    place = Checkpoint(tmp_path / "state.npz")
    x.most = most
    with pytest.raises(ValueError, match=r"read while it trains. Got OSError: the fil"):
        run(x, stream=True, checkpoint=place)
    assert len(x.taken) == most and not place.file.exists()
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError, match="OSError: the file is gone"):
        run(x, stream=True)


def test_a_file_that_is_cut_is_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.tile(X, (200, 1)))
    rows = np.load(tmp_path / "x.npy", mmap_mode="r")[5:]
    fetch = jax.jit(lambda own: own.fetch(jnp.arange(3, 2000, 7)))
    with on_host(rows) as own:
        found, whole = fetch(own)
        np.testing.assert_array_equal(found, rows[3:2000:7])
        assert whole
        os.truncate(tmp_path / "x.npy", 5000)
        assert not fetch(own)[1]
        with pytest.raises(ValueError, match="OSError: the file has 5000 bytes left"):
            own.check("train")


# Blocks


@pytest.mark.parametrize("size", [1, 50, 2**24])
def test_arrays_are_read_in_blocks_of_rows(size, monkeypatch):
    whole = fingerprint(X)
    monkeypatch.setattr(_checks, "BLOCK_BYTES", size)
    starts, blocks = zip(*_checks.row_blocks(X), strict=True)
    np.testing.assert_array_equal(np.concatenate(blocks), X)
    assert starts == tuple(range(0, ROWS, {1: 1, 50: 2}.get(size, ROWS)))
    assert fingerprint(X) == fingerprint(np.asfortranarray(X)) == whole
    bad = X.copy()
    bad[5, 2], bad[8, 0], bad[8, 1] = np.inf, np.nan, np.nan
    with pytest.raises(ValueError, match=r"Got inf at index \(5, 2\) \(3 such"):
        _checks.check_finite("train", "x", bad)
    for one in (np.float64(np.nan), np.full((), np.nan)):
        with pytest.raises(ValueError, match=r"Got nan at index \(\) \(1 such"):
            _checks.check_finite("train", "x", one)
    _checks.check_finite("train", "x", np.zeros((0, 3)))
