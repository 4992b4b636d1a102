"""Limit kernels of the library beside their references."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from widelimit.accuracy import recursion
from widelimit.accuracy.comparison import (
    THRESHOLDS,
    Comparison,
    relative_error,
    singular_value,
)
from widelimit.accuracy.networks import Network
from widelimit.accuracy.real import DIGITS, Real
from widelimit.accuracy.recursion import State
from widelimit.kernels import limit_block, limit_kernels

KERNELS = ("NNGP", "NTK", "NNGP by x", "NTK by x")
PARTS = ([0], [0, 1], [0, 2], [0, 1, 2, 3])  # what each of them is made of
ROUNDING = (
    "kernels that rounding alone spoils: changing what layers hand on (covariances; "
    "angles instead where there are kinks) by at most half a unit in the last place "
    "changes the exact kernel by more than a tenth of the promise. So it is for "
    "derivatives of the NTK of kinked networks near parallel inputs, where they jump, "
    "and for deep networks that multiply distances"
)


def library_kernels(network: Network, precision: str) -> dict[int, np.ndarray]:
    """Kernels of all pairs and their derivatives by the first input.

    Args:
        network: The network.
        precision: `"float64"` or `"float32"`.

    Returns:
        For each depth, one row per pair and one column per quantity.
    """
    pairs = network.pairs(precision)
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
    pairs = network.pairs(precision)
    with mpmath.workdps(DIGITS):
        rows = zip(pairs.places, pairs.first, pairs.second, pairs.along, strict=True)
        for k, (place, *arrays) in enumerate(rows):
            start = recursion.inputs(*(array.tolist() for array in arrays))
            states = list(network.reference(start, depths))
            lost = rounding(network, precision, start, states)
            for depth, state, part in zip(depths, states, lost, strict=True):
                point = f"{place}, depth {depth}"
                row = actual[depth][k]
                found += _compare(network, precision, point, row, state, part)
    return found


def rounding(
    network: Network, precision: str, start: State, states: list[State]
) -> np.ndarray:
    """What rounding alone takes from kernels: the exact recursion, disturbed.

    Args:
        network: The network.
        precision: `"float64"` or `"float32"`.
        start: State of the inputs.
        states: Undisturbed states, one for each depth.

    Returns:
        For each depth the largest relative change of each quantity, and of those that
        it is made of, over two draws. Zeros for networks whose reference is slow.
    """
    unit, lost = float(np.finfo(precision).eps) / 2, np.zeros((len(states), 4))
    for seed in () if network.few else (0, 1):
        random = np.random.default_rng(seed)

        def behind(s, random=random):
            draw = functools.partial(random.uniform, -1.0, 1.0)
            return recursion.disturb(s, unit, draw, by_angle=not network.smooth)

        disturbed = network.reference(start, network.depths(precision), behind)
        for k, (state, moved) in enumerate(zip(states, disturbed, strict=True)):
            numbers = zip(_numbers(moved), _numbers(state), state.scales, strict=True)
            changes = [_change(*triple) for triple in numbers]
            lost[k] = np.maximum(lost[k], changes)
    return np.stack([lost[:, parts].max(axis=1) for parts in PARTS], axis=1)


def _numbers(s: State) -> tuple[Real, Real, Real, Real]:
    return s.cross.value, s.ntk.value, s.cross.slope, s.ntk.slope


def _change(moved: Real, truth: Real, scale: Real) -> float:
    if not mpmath.isfinite(truth):
        return 0.0  # singular anyway
    below = max(abs(truth), abs(scale) / 10)
    return float(abs(moved - truth) / below) if below else 0.0


def _compare(network, precision, point, row, s: State, lost) -> list[Comparison]:
    columns = zip(KERNELS, row, _numbers(s), s.scales, strict=True)
    covariances = (s.cross.value, s.first.value, s.second.value)
    singular_ones = (singular_value(v, precision) for v in covariances)
    beyond = next(filter(None, singular_ones), None)
    found = []
    for k, (quantity, value, truth, scale) in enumerate(columns):
        singular = singular_value(truth, precision) or beyond
        if lost[k] > THRESHOLDS[precision] / 10:
            singular = singular or ROUNDING
        error = relative_error(float(value), truth, scale)
        found.append(
            Comparison(
                network.name,
                quantity,
                precision,
                point,
                expected=float(truth),
                actual=float(value),
                error=error,
                singular=singular,
            )
        )
    return found
