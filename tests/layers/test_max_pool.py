"""The largest of windows, and windows centred at any stride, by loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.kernels import limit_kernels
from widelimit.layers import Conv, Dense, Pool, Sequential

CASES = [
    ((5, 4), (3, 3), (2, 2), "centered"),
    ((6, 6), (3, 3), (2, 2), "centered"),
    ((6, 5), (2, 3), (1, 2), "zero"),
    ((6, 5), (2, 2), (2, 2), "valid"),
    ((7,), (3,), (2,), "circular"),
]


def margin(padding, n, w, s):
    if padding == "valid":
        return 0, (n - w) // s + 1
    if padding == "centered":  # as PyTorch: floor((n + 2 p - w) / s) + 1 for odd w
        return (w - 1) // 2, (n + w - 1 - w) // s + 1
    count = -(-n // s)
    return max((count - 1) * s + w - n, 0) // 2, count


def windows(shape, window, strides, padding):
    """Per output position the input positions of its window, `None` beyond the ends."""
    axes = []
    for n, w, s in zip(shape, window, strides, strict=True):
        before, count = margin(padding, n, w, s)
        rows = []
        for i in range(count):
            at = [i * s - before + k for k in range(w)]
            if padding == "circular":
                at = [p % n for p in at]
            rows.append([p if 0 <= p < n else None for p in at])
        axes.append(rows)
    for place in itertools.product(*(range(len(rows)) for rows in axes)):
        inside = itertools.product(
            *(rows[i] for rows, i in zip(axes, place, strict=True))
        )
        yield place, list(inside)


@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES, ids=str)
def test_the_largest_of_every_window(shape, window, strides, padding, getkey):
    x = np.asarray(-1 - jax.random.uniform(getkey(), (2, *shape, 3)))  # zeros would win
    pool = Pool("max", window, strides, padding)
    y = np.asarray(pool.apply((), jnp.asarray(x)))
    assert y.shape[1:] == pool.output_shape((*shape, 3))
    for place, inside in windows(shape, window, strides, padding):
        rows = [x[(slice(None), *p)] for p in inside if None not in p]
        np.testing.assert_array_equal(y[(slice(None), *place)], np.max(rows, axis=0))


@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES[:2], ids=str)
def test_centred_convolutions(shape, window, strides, padding, getkey):
    conv = Conv(2, window, strides=strides, padding=padding)
    params = conv.init(getkey(), (*shape, 3))
    x = np.asarray(jax.random.normal(getkey(), (2, *shape, 3)))
    y, weight = conv.apply(params, jnp.asarray(x)), np.asarray(params["weight"])
    offsets = list(itertools.product(*map(range, window)))
    for place, inside in windows(shape, window, strides, padding):
        total = sum(
            x[(slice(None), *p)] @ weight[at]
            for p, at in zip(inside, offsets, strict=True)
            if None not in p
        )
        np.testing.assert_allclose(y[(slice(None), *place)], total, rtol=1e-12)


def test_over_all_positions(getkey):
    x = jax.random.normal(getkey(), (2, 4, 3, 5))
    np.testing.assert_array_equal(
        Pool("max").apply((), x), np.asarray(x).max(axis=(1, 2))
    )


def test_it_has_no_infinite_width_limit():
    network = Sequential((Conv(2, (3, 3)), Pool("max"), Dense(1)))
    with pytest.raises(ValueError, match="infinite-width limit.*'max'"):
        limit_kernels(network, np.ones((2, 3, 3, 1)))
