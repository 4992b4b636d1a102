"""Convolutional networks written out position by position, and draws of wide ones."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.activations import Polynomial
from widelimit.kernels import limit_moments
from widelimit.layers import Activation, Moments

KEY = jax.random.key(0)  # where no number depends on it


def starts(n, w, s, padding):
    """First entry of every window along one axis, possibly before the axis."""
    if padding == "valid":
        return [first for first in range(0, n, s) if first + w <= n]
    count = len(range(0, n, s))
    missing = max((count - 1) * s + w - n, 0)
    return [s * number - missing // 2 for number in range(count)]


def patches(shape, window, strides, padding):
    """For every window the index of each of its entries; `None` outside."""

    def index(place):
        if padding == "circular":
            return tuple(p % n for p, n in zip(place, shape, strict=True))
        inside = all(0 <= p < n for p, n in zip(place, shape, strict=True))
        return place if inside else None

    lines = [starts(*a, padding) for a in zip(shape, window, strides, strict=True)]
    offsets = list(itertools.product(*map(range, window)))
    corners = list(itertools.product(*lines))
    found = [
        [index(tuple(map(sum, zip(c, o, strict=True)))) for o in offsets]
        for c in corners
    ]
    return found, tuple(map(len, lines))


def images(number, shape, channels=2):
    """The same numbers in every run, of several sizes."""
    rng = np.random.default_rng(20260101)
    scales = np.linspace(0.6, 1.5, number).reshape(-1, *(1,) * (len(shape) + 1))
    return jnp.asarray(scales * rng.normal(size=(number, *shape, channels)))


def convolution(weight, x, *, strides, padding):
    """`sum_delta W_delta x_(l + delta)`, one product at a time."""
    weight, x = np.asarray(weight), np.asarray(x)
    *window, inputs, outputs = weight.shape
    found, shape = patches(x.shape[1:-1], window, strides, padding)
    weights = weight.reshape(-1, inputs, outputs)
    y = np.zeros((len(x), len(found), outputs))
    for n, (number, patch) in itertools.product(range(len(x)), enumerate(found)):
        for offset, place in enumerate(patch):
            for i, o in itertools.product(range(inputs), range(outputs)):
                if place is not None:
                    y[n, number, o] += x[n][place][i] * weights[offset, i, o]
    return y.reshape(len(x), *shape, outputs)


def pooling(x, window, strides, padding, average):
    """Sums or averages over windows, by loops."""
    x = np.asarray(x)
    found, shape = patches(x.shape[1:-1], window, strides, padding)
    y = np.zeros((len(x), len(found), x.shape[-1]))
    for number, patch in enumerate(found):
        for place in patch:
            if place is not None:
                y[:, number] += x[:, *place] / (len(patch) if average else 1)
    return y.reshape(len(x), *shape, x.shape[-1])


# Infinite width: K and T have an axis of images and one of positions at either end,
# b an axis of images and one of positions.


def image_covariances(x):
    """Of the images themselves; their tangent kernel is zero."""
    x = np.asarray(x)
    flat = x.reshape(len(x), -1, x.shape[-1])
    k = np.einsum("ilc,jrc->iljr", flat, flat) / x.shape[-1]
    b = np.zeros(flat.shape[:2])
    return SimpleNamespace(k=k, t=0 * k, b=b, shape=x.shape[1:-1])


def random_covariances(number, shape):
    """Of features with a mean and a tangent kernel of their own."""
    state, rng = image_covariances(images(number, shape)), np.random.default_rng(1)
    state.b = rng.normal(size=state.b.shape)
    root = rng.normal(size=(*state.b.shape, 3))
    state.t = np.einsum("ilc,jrc->iljr", root, root)
    return state


def sizes(layer, fan_in):
    """Weight variance times fan-in, bias variance, and those of the gradients."""
    s2, w2, b2 = layer.scale**2, layer.weight_std**2, (layer.bias_std or 0) ** 2
    has_bias = layer.bias_std is not None
    return {
        "standard": (s2 * w2, s2 * b2, s2 * fan_in, s2 * has_bias),
        "ntk": (s2 * w2, s2 * b2, s2 * w2, s2 * b2),
        "direct": (s2 * w2 * fan_in, s2 * b2, s2 * fan_in, s2 * has_bias),
    }[layer.parameterization.value]


def conv_covariances(state, layer, inputs):
    """One convolution: sums over pairs of patches, entry by entry."""
    found, shape = patches(state.shape, layer.window, layer.strides, layer.padding)
    q, (n, p) = len(found[0]), (len(state.k), len(found))
    v, shift, slope, bias = sizes(layer, q * inputs)
    k, t = np.zeros((2, n, p, n, p))
    flat = {place: i for i, place in enumerate(np.ndindex(*state.shape))}
    for (le, one), (r, two) in itertools.product(enumerate(found), repeat=2):
        for a, b in zip(one, two, strict=True):
            if a is not None and b is not None:
                at = (slice(None), flat[a], slice(None), flat[b])
                k[:, le, :, r] += v / q * state.k[at]
                t[:, le, :, r] += v / q * state.t[at] + slope / q * state.k[at]
    return SimpleNamespace(k=k + shift, t=t + bias, b=np.zeros((n, p)), shape=shape)


def quadratic(a, b, d):
    """The activation a + b z + d z^2, whose limit is quick to compile."""
    return Activation(Polynomial((a, b, d)))


def quadratic_covariances(state, a, b, d):
    """Behind `quadratic(a, b, d)`, by Wick's rule."""
    own = np.einsum("ilil->il", state.k)
    p, q = own[:, :, None, None], own[None, None]
    c = state.k
    k = a * a + a * d * (p + q) + b * b * c + d * d * (p * q + 2 * c * c)
    slopes = b * b + 4 * d * d * c
    mean = a + d * own
    return SimpleNamespace(k=k, t=slopes * state.t, b=mean, shape=state.shape)


def sum_covariances(one, two):
    """Of independent features."""
    means = np.multiply.outer(one.b, two.b) + np.multiply.outer(two.b, one.b)
    t, b = one.t + two.t, one.b + two.b
    return SimpleNamespace(k=one.k + two.k + means, t=t, b=b, shape=one.shape)


def pool_covariances(state, window, strides, padding, average):
    """Sums over all pairs of entries of two windows; no window for all positions."""
    everything = [list(np.ndindex(*state.shape))], ()
    found, shape = everything
    if window is not None:
        found, shape = patches(state.shape, window, strides, padding)
    flat = {place: i for i, place in enumerate(np.ndindex(*state.shape))}
    chosen = np.zeros((len(found), len(flat)))
    for number, patch in enumerate(found):
        for place in patch:
            if place is not None:
                chosen[number, flat[place]] += 1 / (len(patch) if average else 1)
    both = "La,iajb,Rb->iLjR"
    k, t = (np.einsum(both, chosen, block, chosen) for block in (state.k, state.t))
    return SimpleNamespace(k=k, t=t, b=state.b @ chosen.T, shape=shape)


def flat_covariances(state):
    """Positions as features."""
    k, t = (np.einsum("iljl->ij", s)[:, None, :, None] for s in (state.k, state.t))
    positions = state.k.shape[1]
    b = state.b.mean(1, keepdims=True)
    return SimpleNamespace(k=k / positions, t=t / positions, b=b, shape=())


def blocks(array, rows, columns, positions, joint):
    """Between some images and others, shaped as `Moments` are."""
    block = array[rows, :, columns].transpose(0, 2, 1, 3)
    if not joint:
        block = np.einsum("ijll->ijl", block)
    return block.reshape(*block.shape[:2], *positions * (2 if joint else 1))


def moments_of(state, one, two, channels):
    """The library's form of the same, with pairs of positions."""

    def block(array, rows, columns):
        return jnp.asarray(blocks(array, rows, columns, state.shape, True))

    own = [np.einsum("ii...->i...", block(state.k, s, s)) for s in (one, two)]
    means = [state.b[s].reshape(-1, *state.shape) for s in (one, two)]
    return Moments(
        cross=block(state.k, one, two),
        first=jnp.asarray(own[0]),
        second=jnp.asarray(own[1]),
        height=None,
        mean_first=jnp.asarray(means[0]),
        mean_second=jnp.asarray(means[1]),
        ntk=(block(state.t, one, two),),
        shape=(*state.shape, channels),
        gaussian=False,
        joint=True,
    )


def assert_moments_match(m, state, one, two):
    """The library's moments between the images `one` and `two` (slices)."""
    place, options = (m.positions, m.joint), {"rtol": 1e-11, "atol": 1e-13}
    cross = blocks(state.k, one, two, *place)
    np.testing.assert_allclose(m.cross, cross, **options)
    sides = ((one, m.first, m.mean_first), (two, m.second, m.mean_second))
    for side, own, mean in sides:
        expected = np.einsum("ii...->i...", blocks(state.k, side, side, *place))
        np.testing.assert_allclose(own, expected, **options)
        mean = np.zeros_like(state.b[side]) if mean is None else mean
        expected = state.b[side].reshape(np.shape(mean))
        np.testing.assert_allclose(mean, expected, **options)
    if m.ntk:
        ntk = blocks(state.t, one, two, *place)
        np.testing.assert_allclose(sum(m.ntk), ntk, **options)


# One program for a whole network: compiling is what the tests' time goes into.
jitted_moments = jax.jit(limit_moments, static_argnums=0, static_argnames="per_layer")


# Draws of finite networks


def drawn_kernels(network, x, key, draws):
    """Per draw: products of the features that enter the last layer, and the NTK."""
    body = type(network)(network.layers[:-1])
    x = jnp.asarray(x, jnp.float32)  # in which convolutions are quick

    def one(key):
        params = network.init(key, x.shape[1:])
        params = jax.tree.map(lambda p: p.astype(x.dtype), params)
        features = body.apply(params[:-1], x)
        gradient = jax.grad(lambda p, image: network.apply(p, image[None])[0, 0])
        rows = [jax.tree.leaves(gradient(params, image)) for image in x]
        rows = jnp.stack([jnp.concatenate(list(map(jnp.ravel, row))) for row in rows])
        return features @ features.T / features.shape[-1], rows @ rows.T

    # One after another, as convolutions with a batch of weights are slow on a CPU.
    return jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key, draws))
