"""Whole networks of images: draws of wide ones, and kernels in tiles."""

import mpmath
import numpy as np
import pytest
import spatial
from spatial import images, jitted_moments, quadratic

from oracles import assert_mean_matches
from widelimit.activations import ReLU
from widelimit.kernels import limit_kernels
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Parameterization,
    Pool,
    Residual,
    Sequential,
)

NTK = Parameterization.NTK
LAST = Dense(1, parameterization=NTK)


def wide(window, padding="zero", strides=None, bias_std=None):
    return Conv(48, window, 1.4, bias_std, 1.0, NTK, strides, padding)


def check_draws(network, x, key, draws):
    features, ntk = spatial.drawn_kernels(network, x, key, draws)
    *_, inner, outer = jitted_moments(network, x)
    ntk_limit = np.asarray(outer.ntk[0])
    assert_mean_matches(features, inner.cross, bias=0.02 * np.abs(inner.cross).max())
    assert_mean_matches(ntk, ntk_limit, bias=0.02 * np.abs(ntk_limit).max())


@pytest.mark.slow
def test_wide_networks_average_to_the_limit(getkey):
    act = quadratic(0.4, 0.8, -0.2)
    start = (wide((3,), "circular"), act, wide((2,), strides=(2,), bias_std=0.3), act)
    network = Sequential((*start, Pool("sum"), LAST))
    check_draws(network, images(2, (5,)), getkey(), 150)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "padding"),
    [("pool", "zero"), ("flatten", "circular"), ("windows", "valid")],
)
def test_wide_image_networks_average_to_the_limit(end, padding, getkey):
    act, ends = Activation(ReLU()), {"pool": (Pool(),), "flatten": (Flatten(),)}
    ends["windows"] = (Pool("average", (2, 2), (1, 1)), wide((2, 1)), act, Flatten())
    keep = "zero" if padding == "valid" else padding
    branch = Residual(Sequential((wide((3, 3), keep, bias_std=0.4), act)))
    start = (wide((2, 2), padding), act, branch, wide((3, 2), keep, (2, 1)), act)
    network = Sequential((*start, *ends[end], LAST))
    check_draws(network, images(2, (5, 4)), getkey(), 200)


@pytest.mark.slow
def test_strided_shortcuts_average_to_the_limit(getkey):
    act, down = Activation(ReLU()), wide((1,), strides=(2,))
    branch = Sequential((wide((3,), strides=(2,), bias_std=0.2), act, wide((3,))))
    start = (wide((3,)), act, Residual(branch, down), act, wide((2,)), act)
    check_draws(Sequential((*start, Pool(), LAST)), images(2, (6,)), getkey(), 200)


def rectified(x, layers):
    """K and Theta behind pairs of `Conv(1, (2,))` and ReLU, in sixty digits."""
    with mpmath.workdps(60):
        k = np.vectorize(mpmath.mpf)(np.asarray(x))
        k = np.tensordot(k, k, (2, 2)) / x.shape[-1]
        t, length = 0 * k, x.shape[1]
        for _ in range(layers):
            before, tangent = k.copy(), t.copy()
            k, t = 0 * k, 0 * t
            for at in np.ndindex(*k.shape):
                i, le, j, r = at
                for o in (0, 1):
                    if max(le, r) + o < length:
                        k[at] += before[i, le + o, j, r + o]  # weight_std**2 / q is 1
                        t[at] += tangent[i, le + o, j, r + o]
            t = t + k
            c = k.copy()
            for at in np.ndindex(*k.shape):
                i, le, j, r = at
                gap = c[i, le, i, le] * c[j, r, j, r] - c[at] ** 2
                angle = mpmath.atan2(mpmath.sqrt(abs(gap)), c[at])
                share = 1 - angle / mpmath.pi
                k[at] = mpmath.sqrt(abs(gap)) / (2 * mpmath.pi) + share * c[at] / 2
                t[at] = share * t[at] / 2
    return k, t


@pytest.mark.parametrize(
    "joint", [False, pytest.param(True, marks=pytest.mark.slow)], ids=str
)
def test_nearly_equal_images_keep_their_digits(joint):
    x = np.array(images(3, (4,)))
    x[1] = x[0] + 1e-9 * x[1]
    x[2, :2] = -1.3 * x[0, :2] + 1e-6 * x[2, :2]
    conv = Conv(1, (2,), 2**0.5, parameterization=NTK)
    network = Sequential(
        (conv, Activation(ReLU())) * 2 + (Pool() if joint else Flatten(),)
    )
    kernels = limit_kernels(network, x)
    for found, whole in zip((kernels.nngp, kernels.ntk), rectified(x, 2), strict=True):
        parts = whole.sum((1, 3)) / 16 if joint else np.einsum("iljl->ij", whole) / 4
        np.testing.assert_allclose(found, parts.astype(float), rtol=1e-13)


IMAGE = (Conv(3, (3, 2), 1.1, 0.3), quadratic(0.3, 0.8, -0.25))
NETWORKS = {
    "vectors": Sequential((*IMAGE, Pool(), Dense(1))),
    "equal positions": Sequential((*IMAGE, Conv(2, (2, 2), strides=(2, 1)))),
    "windows": Sequential((*IMAGE, Pool("sum", (2, 2)))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_the_kernels_in_one_piece(name):
    network, x = NETWORKS[name], np.asarray(images(5, (4, 3)))
    m = jitted_moments(network, x)[-1]
    expected = (m.diagonal(m.cross), m.diagonal(m.ntk[0]))
    memory = 4.5 * 12 * 8 * 12**2 / 2**30  # two rows of pairs of twelve positions
    kernels = limit_kernels(network, x, memory=memory)
    mixed = limit_kernels(network, x[3:], x[:3], memory=memory)
    assert kernels.nngp.shape == (5, 5, *network.output_shape((4, 3, 2))[:-1])
    for kernel in ("nngp", "ntk"):
        k, part = getattr(kernels, kernel), getattr(mixed, kernel)
        e = np.asarray(expected[kernel == "ntk"])
        np.testing.assert_allclose(k, e, rtol=1e-12)
        np.testing.assert_array_equal(k, np.swapaxes(k, 0, 1))
        np.testing.assert_allclose(part, e[3:, :3], rtol=1e-12)


def test_images_that_do_not_fit_are_refused_by_name():
    network, x = NETWORKS["vectors"], np.ones((2, 4))
    with pytest.raises(ValueError, match=r"`Conv` with `window=\(3, 2\)` needs"):
        limit_kernels(network, x)
    with pytest.raises(ValueError, match="`Dense` needs inputs that are vectors"):
        jitted_moments(Sequential((*IMAGE, Dense(1))), images(2, (4, 3)))
