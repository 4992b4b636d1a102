"""Kernels from files to a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from widelimit import cli
from widelimit.activations import (
    GELU,
    Abs,
    Cosine,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Sine,
    Softplus,
    Tanh,
    activation_named,
)
from widelimit.kernels.files import read_rows

BASE = ["--activation", "erf", "--depth", "2", "--weight-std", "1.3"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    np.save("x.npy", x)
    np.savez("y.npz", y=y)
    np.savez("both.npz", x=x, y=y)
    np.savez("objects.npz", x=np.array([None, 1]))
    np.save("images.npy", rng.normal(size=(4, 2, 3)))
    np.save("nan.npy", np.where(x == x[2, 1], np.nan, x))
    np.save("vector.npy", x[0])
    np.save("complex.npy", 1j * x)
    np.save("narrow.npy", x[:, :2])
    np.savetxt("x.csv", x, delimiter=",", header="a,b,c", comments="")
    np.savetxt("y.csv", y, delimiter=",")
    (tmp_path / "words.csv").write_text("a,b\n1,2\n3,four\n")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "x.txt").write_text("1 2 3")
    return x, y


def call(*arguments):
    return cli.main(["kernel", *map(str, arguments)])


def arc_sine(x1, x2, depth, w, b):
    """Williams' kernel and its NTK, as Jacot's recursion has them."""
    c = w**2 * x1 @ x2.T / x1.shape[1] + b**2
    p, q = (w**2 * np.mean(x**2, axis=1) + b**2 for x in (x1, x2))
    t = c
    for _ in range(depth):
        size = np.sqrt(np.outer(1 + 2 * p, 1 + 2 * q))
        slope = 4 / np.pi / np.sqrt(size**2 - 4 * c**2)
        c = w**2 * 2 / np.pi * np.arcsin(2 * c / size) + b**2
        t = c + w**2 * slope * t
        p, q = (
            w**2 * 2 / np.pi * np.arcsin(2 * v / (1 + 2 * v)) + b**2 for v in (p, q)
        )
    return c, t


@pytest.mark.parametrize("files", [("x.npy", "y.npz"), ("x.csv", "both.npz:y")])
def test_the_kernels_of_a_file(files, here, capsys):
    arguments = ["--x1", files[0], "--x2", files[1], *BASE, "--bias-std", 0.4]
    assert call("ntk", *arguments, "--out", "k.npz", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["keys"] == ["nngp", "ntk"] and told["shape"] == [4, 2]
    nngp, ntk = arc_sine(*here, 2, 1.3, 0.4)
    with np.load("k.npz", allow_pickle=False) as found:
        assert set(found) == {"nngp", "ntk"} and found["ntk"].dtype == np.float64
        np.testing.assert_allclose(found["nngp"], nngp, rtol=1e-13)
        np.testing.assert_allclose(found["ntk"], ntk, rtol=1e-13)


def test_the_gram_matrix_without_biases(here, capsys):
    assert call("nngp", "--x1", "x.npy", *BASE, "--out", "k.npz") == 0
    assert "nngp, 4 x 4, in " in capsys.readouterr().out
    with np.load("k.npz") as found:
        assert set(found) == {"nngp"}
        expected = arc_sine(here[0], here[0], 2, 1.3, 0)[0]
        np.testing.assert_allclose(found["nngp"], expected, rtol=1e-13)


@pytest.mark.parametrize("kind", ["jacobian-nngp", "jacobian-ntk"])
def test_jacobian_kernels_have_the_value_first(kind, here, capsys):
    arguments = ["--x1", "x.npy", "--x2", "y.npz", *BASE, "--out", "k.npz"]
    assert call(kind, *arguments) == 0
    name, step = kind.replace("-", "_"), 1e-4
    assert f"{name}, 4 x 4 x 2 x 4, in " in capsys.readouterr().out
    with np.load("k.npz") as found:
        assert set(found) == {name} and found[name].dtype == np.float64
        blocks = found[name]
    x, y = here

    def value(x, y):
        return arc_sine(x, y, 2, 1.3, 0)[kind == "jacobian-ntk"]

    np.testing.assert_allclose(blocks[:, 0, :, 0], value(x, y), rtol=1e-13)
    for i, move in enumerate(step * np.eye(3), 1):
        slope = (value(x + move, y) - value(x - move, y)) / (2 * step)
        np.testing.assert_allclose(blocks[:, i, :, 0], slope, atol=1e-7)
        slope = (value(x, y + move) - value(x, y - move)) / (2 * step)
        np.testing.assert_allclose(blocks[:, 0, :, i], slope, atol=1e-7)


def test_kinks_have_no_jacobian_ntk(here, capsys):
    arguments = ["--x1", "x.npy", "--activation", "relu", "--depth", "1"]
    assert call("jacobian-ntk", *arguments, "--out", "k.npz") == 2
    assert "smooth activations" in capsys.readouterr().err
    assert not Path("k.npz").exists()


def test_normalized_activations_keep_unit_variance(here):
    x = here[0] * np.sqrt(3) / np.linalg.norm(here[0], axis=1, keepdims=True)
    np.save("unit.npy", x)
    arguments = ["--activation", "gelu", "--depth", 3, "--normalized"]
    assert call("nngp", "--x1", "unit.npy", *arguments, "--out", "k.npz") == 0
    with np.load("k.npz") as found:
        np.testing.assert_allclose(np.diag(found["nngp"]), 1, rtol=1e-12)


def test_images_are_flattened_if_asked(here, capsys):
    arguments = ["--x1", "images.npy", *BASE, "--out", "k.npz"]
    assert call("ntk", *arguments) == 2
    assert "vectors" in capsys.readouterr().err
    assert call("ntk", *arguments, "--flatten") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--x1": "none.npy"}, "a file that exists. Got none.npy"),
        ({"--x1": "x.txt"}, "kind .npy, .npz, .csv. Got x.txt"),
        ({"--x1": "both.npz"}, "holds x, y. Write FILE.npz:KEY"),
        ({"--x1": "both.npz:z"}, "holds x, y. Write FILE.npz:KEY"),
        ({"--x1": "objects.npz"}, "numbers in objects.npz. Got: "),
        ({"--x1": "broken.npz"}, "numbers in broken.npz. Got: "),
        (
            {"--x1": "text.npy"},
            "numbers in text.npy. Got: the file is not one of NumPy",
        ),
        ({"--x1": "words.csv"}, "numbers in words.csv. Got: 'four' in line 3"),
        ({"--x1": "nan.npy"}, "finite numbers in nan.npy. Got nan in row 3, column 2"),
        ({"--x2": "nan.npy"}, "finite numbers in nan.npy. Got nan in row 3, column 2"),
        ({"--x2": "vector.npy"}, "row in vector.npy, at least one row and one feature"),
        ({"--x1": "complex.npy"}, "real numbers in complex.npy. Got complex128"),
        ({"--x2": "images.npy"}, "in images.npy. Got an array of shape (4, 2, 3)"),
        ({"--x2": "narrow.npy"}, "Got 3 in x.npy and 2 in narrow.npy"),
        ({"--activation": "swish"}, "'silu', 'leaky-relu'"),
        ({"--bias-std": "-1"}, "`bias_std >= 0.0`"),
        ({"--weight-std": "0"}, "`weight_std > 0`"),
        ({"--out": "k.npy"}, "`out` to end in .npz. Got k.npy"),
        ({"--out": "no/k.npz"}, "a folder that exists"),
        ({"--memory": "1e-9"}, "GiB for one pair"),
    ],
    ids=str,
)
def test_mistakes_are_named_and_nothing_is_written(changes, message, here, capsys):
    given = {"--x1": "x.npy", "--out": "k.npz", "--activation": "erf", "--depth": "2"}
    before = set(Path().iterdir())
    arguments = [word for pair in (given | changes).items() for word in pair]
    assert call("ntk", *arguments) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert set(Path().iterdir()) == before


def test_rows_of_files(here):
    x, y = here
    for name, expected in {
        "x.npy": x,
        "x.csv": x,
        "y.csv": y,
        "y.npz": y,
        "both.npz:x": x,
    }.items():
        np.testing.assert_allclose(read_rows(Path(name)), expected, rtol=1e-15)


def test_activations_by_name():
    expected = {
        "relu": ReLU(),
        "ABS": Abs(),
        "identity": Identity(),
        "erf": Erf(),
        "gelu": GELU(),
        "tanh": Tanh(),
        "sigmoid": Sigmoid(),
        "softplus": Softplus(),
        "silu": SiLU(),
        "leaky-relu": LeakyReLU(),
        "leaky_relu:0.2": LeakyReLU(0.2),
        "sine:1.5": Sine(1.5),
        "cosine": Cosine(),
        "polynomial:0,0,1": Polynomial((0.0, 0.0, 1.0)),
    }
    assert {name: activation_named(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swish", "`name` to be one of"),
        ("relu:1", "none for 'relu'. Got 'relu:1'"),
        ("sine:1,2", "one for 'sine'"),
        ("sine:x", "numbers after the colon. Got 'sine:x'"),
        ("polynomial", "several for 'polynomial'"),
    ],
)
def test_names_that_mean_nothing(name, message):
    with pytest.raises(ValueError, match=message):
        activation_named(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,,4\n5,6,7,8\n", "numbers in .*x.csv. Got: '' in line 1"),
        ("1.0x,2\n1,2\n", "numbers in .*x.csv. Got: '1.0x' in line 1"),
        ("a,b\n1,2 # c\n\n3\n", "Got: 1 in line 4, but 2 in those before"),
        ("", "empty"),
    ],
)
def test_a_first_line_with_a_mistake_is_no_line_of_names(text, message, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / "x.csv")
