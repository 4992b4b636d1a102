"""Kernels of infinitely wide networks: NNGP and NTK."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_memory, check_one_of, check_positive, finite_inputs
from widelimit.kernels.empirical_checks import check_network
from widelimit.kernels.inputs import input_moments, pair_bytes
from widelimit.kernels.quadrature import check_duals
from widelimit.layers import AbstractLayer, Moments, Sequential

GIB = 2**30
TEMPORARIES = 12  # arrays of the size of a tile that are alive at once
TILE = 2**22  # bytes of one covariance beyond which larger tiles gain nothing


class KernelPair(eqx.Module):
    """Kernels of one output unit, between the rows of `x1` and the rows of `x2`.

    Attributes:
        nngp: Covariance of the output at initialisation.
        ntk: Neural tangent kernel; `None` if it was not wanted.
    """

    nngp: Any
    ntk: Any


def limit_kernels(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    ntk: bool = True,
    memory: float = 1.0,
    dtype: Any = "float64",
) -> KernelPair:
    r"""NNGP kernel and NTK of a network as its hidden widths go to infinity.

    Layer by layer, $K$ and $\Theta$ are mapped as the layers' docstrings say; the
    kernel over several outputs is the product with the identity. The tangent kernel is
    that of all parameters with one learning rate, in the parameterization described
    (only in `Parameterization.NTK` does it not grow with the width) [1, Theorem 1].

    The work is divided into tiles, and each tile's rows over the devices of JAX.
    Without `x2` only tiles on and above the diagonal are computed, and the result is
    symmetric to the last bit. Rows that are (nearly) parallel lose no digits. Kernels
    below the range of floats become zero.

    Args:
        network: Description of the network; its widths play no role but for direct and
            standard parameterization.
        x1: Inputs, one per row: vectors, or images with channels last.
        x2: Inputs; `x1` again if `None`.
        ntk: Whether to compute the NTK too.
        memory: Budget in GiB for what the computation needs beside its result.
        dtype: `"float64"`, or `"float32"`, in which kinked activations lose digits.

    Returns:
        The kernels as NumPy arrays with one row per row of `x1` and one column per row
        of `x2`; if the network ends with positions, kernels at the same position of
        both (`limit_moments` pairs them all) along further axes.

    Raises:
        ValueError: If the inputs differ in shape, hold no rows or numbers that are not
            finite, the network has no limit or does not fit them, a dual by quadrature
            does not converge, the result or a single pair does not fit into the
            memory, or kernels overflow.

    Example:
        >>> import numpy as np
        >>> from widelimit.networks import mlp
        >>> kernels = limit_kernels(mlp(depth=2, width=1), np.eye(3))
        >>> kernels.nngp.shape, kernels.ntk.dtype
        ((3, 3), dtype('float64'))

    References:
        [1] Jacot et al. (2018), https://arxiv.org/abs/1806.07572
    """
    caller = "limit_kernels"
    check_network(caller, network)
    dtype = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    check_one_of(caller, "dtype", dtype, ("float64", "float32"))
    check_positive(caller, "memory", memory)
    a = finite_inputs(caller, "x1", x1, dtype)
    b = a if x2 is None else finite_inputs(caller, "x2", x2, dtype)
    _check_alike(caller, a, b)
    network.output_shape(a.shape[1:])
    check_memory(
        caller,
        len(a) * len(b) * a.dtype.itemsize * (2 if ntk else 1) + memory * GIB,
        f"{len(a)} x {len(b)} kernels",
        "Use fewer rows, `ntk=False` or `dtype='float32'`, or compute some rows of "
        "`x1` at a time.",
    )
    bytes_of_pair = pair_bytes(network, a.shape[1:], a.dtype.itemsize)
    side = _tile_side(caller, bytes_of_pair, memory, a.shape[1:], a.dtype.itemsize)
    for inputs in (a,) if x2 is None else (a, b):
        check_duals(caller, network, inputs)
    with jax.enable_x64(dtype == "float64"):
        devices = len(jax.devices())
        rows = -(-min(side, len(a)) // devices) * devices
        columns = min(side, len(b)) if x2 is not None else rows
        result: list[np.ndarray] | None = None
        for i, j in _tiles(len(a), len(b), rows, columns, symmetric=x2 is None):
            block = _tile(
                network, _padded(a, i, rows), _padded(b, j, columns), ntk, devices
            )
            arrays = [np.asarray(k) for k in block if k is not None]
            if result is None:
                ends = arrays[0].shape[2:]
                result = [np.empty((len(a), len(b), *ends), dtype) for _ in arrays]
            for whole, part in zip(result, arrays, strict=True):
                part = part[: len(a) - i, : len(b) - j]
                whole[i : i + rows, j : j + columns] = part
                if x2 is None:
                    _mirror(whole, part, i, j)
    assert result is not None  # there is at least one row
    for kernel in result:
        _check_range(caller, kernel)
    return KernelPair(result[0], result[1] if ntk else None)


def limit_block(
    network: AbstractLayer,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"],
    *,
    ntk: bool = True,
) -> KernelPair:
    """`limit_kernels` in one piece and in the inputs' own precision.

    It may be called inside `jit`, `vmap`, `jvp` and (but for kinked activations with
    nearly parallel rows, whose derivatives do not exist) `grad`.

    Args:
        network: Description of the network.
        x1: Inputs, one per row.
        x2: Inputs, one per row.
        ntk: Whether to compute the NTK too.

    Returns:
        The kernels as JAX arrays.

    Raises:
        ValueError: If the inputs differ in shape, or do not fit the network.
    """
    check_network("limit_block", network)
    _check_alike("limit_block", x1, x2)
    m = network.moments(input_moments(network, x1, x2, ntk=ntk))
    return KernelPair(m.diagonal(m.cross), m.diagonal(_total(m)) if ntk else None)


def limit_moments(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    per_layer: bool = False,
) -> tuple[Moments, ...]:
    r"""$K$, $b$ and $\Theta$ behind every layer of a network.

    Args:
        network: Description of the network.
        x1: Inputs, one per row. JAX arrays (also traced ones) keep their precision
            and give JAX arrays; what is none gives NumPy arrays in float64.
        x2: Inputs; `x1` again if `None`.
        per_layer: Whether to keep apart what each layer with parameters adds to
            $\Theta$: the limits of du2019's $G^{(h)}$ for the layers in order.

    Returns:
        Moments of the input, and then of what leaves each layer of a `Sequential`; of
        any other layer, the input's and the output's.

    Raises:
        ValueError: If the inputs differ in shape, or do not fit the network.
    """
    caller = "limit_moments"
    check_network(caller, network)
    x2 = x1 if x2 is None else x2
    if not (isinstance(x1, jax.Array) and isinstance(x2, jax.Array)):
        with jax.enable_x64(True):
            rows = (
                jnp.asarray(finite_inputs(caller, name, x, "float64"))
                for name, x in (("x1", x1), ("x2", x2))
            )
            found = limit_moments(network, *rows, per_layer=per_layer)
        return jax.tree.map(np.asarray, found)
    _check_alike(caller, x1, x2)
    moments = [input_moments(network, x1, x2, per_layer=per_layer)]
    layers = network.layers if isinstance(network, Sequential) else (network,)
    for layer in layers:
        moments.append(layer.moments(moments[-1]))
    return tuple(moments)


def _check_range(caller: str, kernel: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(kernel.sum()):
            return
    bad = np.argwhere(~np.isfinite(kernel))
    if len(bad):
        i, j = bad[0][:2]
        wider = ", or take `dtype='float64'`" if kernel.dtype == np.float32 else ""
        raise ValueError(
            f"`{caller}` needs inputs and variances of weights whose kernels, and for "
            f"smooth activations their squares, are in the range of {kernel.dtype}. "
            f"Got {kernel[tuple(bad[0])]} for row {i} of `x1` and row {j} of `x2`. "
            f"Scale them down{wider}."
        )


def _check_alike(caller: str, x1: Any, x2: Any) -> None:
    if x1.ndim < 2 or x1.shape[1:] != x2.shape[1:]:
        raise ValueError(
            f"`{caller}` needs `x1` and `x2` with one input per row and the same "
            f"features. Got `x1.shape={x1.shape}` and `x2.shape={x2.shape}`."
        )


def _total(m: Moments) -> Float[Array, "n m *s"]:
    if not m.ntk:
        return jnp.zeros_like(m.cross)  # no layer has parameters
    return functools.reduce(jnp.add, m.ntk)


def _tile_side(
    caller: str, bytes_of_pair: int, memory: float, shape: tuple[int, ...], size: int
) -> int:
    """Rows and columns of a tile within the budget, a round number."""
    row = math.prod(shape) * size  # the inputs themselves
    budget = memory * GIB
    least = TEMPORARIES * bytes_of_pair + 4 * row
    if least > budget:
        raise ValueError(
            f"`{caller}` needs at least {least / GIB:.3g} GiB for one pair of "
            f"inputs of shape {shape}. Got `memory={memory}`. Give more"
            f"{', or reduce the positions first' if len(shape) > 1 else ''}."
        )
    pairs = min(budget / (TEMPORARIES * bytes_of_pair), max(TILE / bytes_of_pair, 1))
    side = 2 ** int(math.log2(max(math.sqrt(pairs), 1)))
    while side > 1 and side**2 * TEMPORARIES * bytes_of_pair + 4 * side * row > budget:
        side //= 2
    return side


def _tiles(
    n: int, m: int, rows: int, columns: int, *, symmetric: bool
) -> Iterator[tuple[int, int]]:
    for i in range(0, n, rows):
        for j in range(i if symmetric else 0, m, columns):
            yield i, j


def _padded(x: np.ndarray, start: int, rows: int) -> np.ndarray:
    """Rows from `start`; the last one repeated, so that all tiles share a program."""
    part = x[start : start + rows]
    missing = rows - len(part)
    return np.concatenate([part, np.repeat(part[-1:], missing, 0)]) if missing else part


def _mirror(whole: np.ndarray, part: np.ndarray, i: int, j: int) -> None:
    swapped = np.swapaxes(part, 0, 1)
    if i == j:  # the upper triangle decides
        above = np.triu_indices(len(part), 1)
        block = whole[i : i + len(part), j : j + len(part)]
        block[above[1], above[0]] = swapped[above[1], above[0]]
    else:
        whole[j : j + part.shape[1], i : i + part.shape[0]] = swapped


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _tile(network: AbstractLayer, x1, x2, ntk: bool, devices: int):
    def block(x1, x2):
        pair = limit_block(network, x1, x2, ntk=ntk)
        return pair.nngp, pair.ntk

    if devices == 1:
        return block(x1, x2)
    mesh = Mesh(np.asarray(jax.devices()), ("rows",))
    rows, everywhere = PartitionSpec("rows"), PartitionSpec()
    shared = jax.shard_map(
        block, mesh=mesh, in_specs=(rows, everywhere), out_specs=rows, check_vma=False
    )
    return shared(x1, x2)
