"""Limit kernels of the library beside their references."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from widelimit.accuracy import recursion
from widelimit.accuracy.comparison import Comparison, relative_error, singular_value
from widelimit.accuracy.networks import Network, input_pairs
from widelimit.accuracy.real import DIGITS
from widelimit.kernels import limit_block, limit_kernels

KERNELS = ("NNGP", "NTK", "NNGP by x", "NTK by x")


def library_kernels(network: Network, precision: str) -> dict[int, np.ndarray]:
    """Kernels of all pairs and their derivatives by the first input.

    Args:
        network: The network.
        precision: `"float64"` or `"float32"`.

    Returns:
        For each depth, one row per pair and one column per quantity.
    """
    pairs = input_pairs(precision, network.few)
    found = {}
    for depth in network.depths(precision):
        description = network.library(depth)
        values = limit_kernels(description, pairs.first, pairs.second, dtype=precision)
        with jax.enable_x64(True):
            arrays = map(jnp.asarray, (pairs.first, pairs.second, pairs.along))
            # Compiled anew, and forgotten: the programs of all depths would take a
            # gigabyte.
            slopes = jax.jit(functools.partial(_slopes, description))(*arrays)
        columns = (values.nngp, values.ntk, *slopes)
        found[depth] = np.stack([np.diagonal(k).astype(float) for k in columns], 1)
    return found


def _slopes(network, x, y, along):
    def kernels(x):
        pair = limit_block(network, x, y)
        return pair.nngp, pair.ntk

    return jax.jvp(kernels, (x,), (along,))[1]


def compare_kernels(
    network: Network, precision: str, actual: dict[int, np.ndarray]
) -> list[Comparison]:
    """Kernels beside their references.

    Args:
        network: The network.
        precision: `"float64"` or `"float32"`.
        actual: What `library_kernels` gave.

    Returns:
        The comparisons.
    """
    depths, found = network.depths(precision), []
    pairs = input_pairs(precision, network.few)
    with mpmath.workdps(DIGITS):
        rows = zip(pairs.places, pairs.first, pairs.second, pairs.along, strict=True)
        for k, (place, *arrays) in enumerate(rows):
            start = recursion.inputs(*(array.tolist() for array in arrays))
            states = network.reference(start, depths)
            for depth, state in zip(depths, states, strict=True):
                point = f"{place}, depth {depth}"
                found += _compare(network, precision, point, actual[depth][k], state)
    return found


def _compare(network, precision, point, row, s: recursion.State) -> list[Comparison]:
    expected = (s.cross.value, s.ntk.value, s.cross.slope, s.ntk.slope)
    columns = zip(KERNELS, row, expected, s.scales, strict=True)
    return [
        Comparison(
            network.name,
            quantity,
            precision,
            point,
            expected=float(truth),
            actual=float(value),
            error=relative_error(float(value), truth, scale),
            singular=singular_value(truth, precision),
        )
        for quantity, value, truth, scale in columns
    ]
