"""Kernels from files to a file, for users of any language."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from widelimit._checks import check_at_least, check_one_of
from widelimit._files import DAMAGED
from widelimit.activations import activation_named
from widelimit.kernels.jacobian import dense_jacobian_kernel
from widelimit.kernels.limit import limit_kernels
from widelimit.layers import AbstractLayer, Parameterization
from widelimit.networks import mlp

FORMATS = (".npy", ".npz", ".csv")
KINDS = ("nngp", "ntk", "jacobian-nngp", "jacobian-ntk")


def write_kernel_file(
    kind: str,
    x1: Path,
    x2: Path | None,
    out: Path,
    *,
    activation: str,
    depth: int,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    normalized: bool = False,
    flatten: bool = False,
    memory: float = 1.0,
) -> dict[str, Any]:
    r"""Kernel of a multilayer perceptron between the rows of two files, as a file.

    Every dense layer has weights of variance $\sigma_w^2 / \text{fan-in}$ and biases of
    variance $\sigma_b^2$; the first covariance is
    $\sigma_w^2 \langle x, x' \rangle / d + \sigma_b^2$, and all weights and biases are
    trained, in the NTK parameterization.

    Args:
        kind: `"nngp"`, or `"ntk"`, which writes both kernels; `"jacobian-nngp"` or
            `"jacobian-ntk"`, of rows that are vectors.
        x1: File of inputs, one per row, as `read_rows` takes it.
        x2: File of other inputs; `x1` again if `None`.
        out: File to write, `.npz`, with the keys `nngp` and `ntk`, or `jacobian_nngp`
            or `jacobian_ntk`, an array `n1 x (d + 1) x n2 x (d + 1)` with the value
            before the derivatives by the features; in float64.
        activation: As `activation_named` reads it.
        depth: Number of hidden layers.
        weight_std: $\sigma_w$.
        bias_std: $\sigma_b$; 0 leaves biases out.
        normalized: Whether to scale the activation to $E\,\phi(z)^2 = 1$.
        flatten: Whether to make a vector of every input.
        memory: Budget in GiB, as in `limit_kernels`.

    Returns:
        `out`, `keys`, `shape` and `seconds`.

    Raises:
        ValueError: If a file or a number does not fit; nothing is then written.
    """
    started = time.monotonic()
    check_one_of("write_kernel_file", "kind", kind, KINDS)
    check_at_least("write_kernel_file", "bias_std", bias_std, 0.0)
    if out.suffix != ".npz":
        raise ValueError(f"`write_kernel_file` needs `out` to end in .npz. Got {out}.")
    if not out.parent.is_dir():
        raise ValueError(
            f"`write_kernel_file` needs a folder that exists. Got `out={out}`. Make "
            f"{out.parent} first."
        )
    phi = activation_named(activation)
    network = mlp(
        depth=depth,
        width=1,  # it plays no role
        activation=phi.normalized() if normalized else phi,
        weight_std=weight_std,
        bias_std=bias_std or None,
        parameterization=Parameterization.NTK,
    )
    rows = _rows_of(x1, flatten)
    others = None if x2 is None else _rows_of(x2, flatten)
    if others is not None and others.shape[1] != rows.shape[1]:
        raise ValueError(
            f"`write_kernel_file` needs two files with the same number of features. "
            f"Got {rows.shape[1]} in {x1} and {others.shape[1]} in {x2}."
        )
    part = out.with_name(f".{out.name}.{os.getpid()}.npz")
    try:
        part.touch()  # before minutes of work
    except OSError as error:
        raise ValueError(
            f"`write_kernel_file` needs a folder to write in. Got `out={out}`: "
            f"{error.strerror}."
        ) from error
    try:
        arrays = _kernels(kind, network, rows, others, memory)
        np.savez(part, **arrays)
        part.replace(out)  # never half a file under its name
    finally:
        part.unlink(missing_ok=True)
    return {
        "out": str(out),
        "keys": list(arrays),
        "shape": list(next(iter(arrays.values())).shape),
        "seconds": time.monotonic() - started,
    }


def _kernels(
    kind: str,
    network: AbstractLayer,
    x1: np.ndarray,
    x2: np.ndarray | None,
    memory: float,
) -> dict[str, Any]:
    if kind in ("nngp", "ntk"):
        pair = limit_kernels(network, x1, x2, ntk=kind == "ntk", memory=memory)
        return {"nngp": pair.nngp} | ({"ntk": pair.ntk} if kind == "ntk" else {})
    which = "nngp" if kind == "jacobian-nngp" else "ntk"
    matrix = dense_jacobian_kernel(network, x1, x2, kind=which, memory=memory)
    n, m = len(x1), len(x1 if x2 is None else x2)
    shape = (n, len(matrix) // n, m, matrix.shape[1] // m)
    return {kind.replace("-", "_"): matrix.reshape(shape)}


def _rows_of(path: Path, flatten: bool) -> np.ndarray:
    """The file's inputs as vectors, if they are finite real numbers."""
    needs, x = "`write_kernel_file` needs", read_rows(path)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{needs} real numbers in {path}. Got {x.dtype}.")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(
            f"{needs} one input per row in {path}, at least one row and one feature. "
            f"Got an array of shape {x.shape}."
        )
    if x.ndim > 2 and not flatten:
        raise ValueError(
            f"{needs} inputs that are vectors in {path}. Got an array of shape "
            f"{x.shape}. Make vectors of them with `--flatten`."
        )
    x = x.reshape(len(x), -1)
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise ValueError(
            f"{needs} finite numbers in {path}. Got {x[row, column]} in row {row + 1}, "
            f"column {column + 1}, counted from 1 ({len(bad)} such entries). Remove or "
            "impute them first."
        )
    return x


def read_rows(path: Path) -> np.ndarray:
    """Numbers of a file, one input per row.

    Args:
        path: `.npy`; `.npz` with one array, or `FILE.npz:KEY`; or `.csv`, of numbers
            separated by commas, with or without a line of names.

    Returns:
        The array.

    Raises:
        ValueError: If there is no such file or array, or it does not hold numbers.
    """
    name, key = str(path), None
    if ".npz:" in name:
        name, _, key = name.rpartition(":")
    file = Path(name)
    if file.suffix not in FORMATS:
        raise ValueError(
            f"`read_rows` needs a file of the kind {', '.join(FORMATS)}. Got {path}."
        )
    if not file.is_file():
        raise ValueError(f"`read_rows` needs a file that exists. Got {path}.")
    try:
        if file.suffix == ".csv":
            return _read_csv(file)
        with file.open("rb") as handle:
            if not handle.read(6).startswith((b"\x93NUMPY", b"PK")):
                raise ValueError("the file is not one of NumPy's")
            handle.seek(0)
            loaded = np.load(handle, allow_pickle=False)
            if file.suffix == ".npy":
                return loaded
            names = list(loaded.files)
            if key is None and len(names) == 1:
                key = names[0]
            if key in names:
                return loaded[key]
    except (*DAMAGED, OSError, ValueError) as error:
        raise ValueError(
            f"`read_rows` needs numbers in {path}. Got: {error}"
        ) from error
    raise ValueError(
        f"`read_rows` needs the name of one array. Got {path}, which holds "
        f"{', '.join(names) or 'none'}. Write FILE.npz:KEY."
    )


def _read_csv(file: Path) -> np.ndarray:
    with file.open(encoding="utf-8-sig") as lines:
        first = lines.readline()
    # A line of names has no number in it; one with some of each is a mistake.
    names = int(bool(first.strip()) and not any(map(_is_number, first.split(","))))
    if not first.strip():
        raise ValueError("the file is empty, or its first line is")
    try:
        return np.loadtxt(
            file, delimiter=",", skiprows=names, ndmin=2, encoding="utf-8-sig"
        )
    except ValueError as error:
        raise ValueError(_first_mistake(file, names) or str(error)) from error


def _first_mistake(file: Path, names: int) -> str | None:
    """What is wrong in a `.csv`, with the number of the line as editors count."""
    count = None
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.partition("#")[0].strip()
            if number <= names or not line:
                continue
            fields = line.split(",")
            wrong = [field.strip() for field in fields if not _is_number(field)]
            if wrong:
                return f"{wrong[0]!r} in line {number}"
            count = len(fields) if count is None else count
            if len(fields) != count:
                return f"{len(fields)} in line {number}, but {count} in those before"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
