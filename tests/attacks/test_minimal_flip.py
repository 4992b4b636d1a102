"""Smallest flips: against exact rational arithmetic, closed forms and dense scans."""

import dataclasses
import importlib
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import Abs, Erf, LeakyReLU, ReLU
from widelimit.attacks import FlipStatus, MinimalFlip, minimal_flip
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Parameterization,
    Readout,
    Scale,
    Sequential,
)
from widelimit.networks import mlp, wang2022_network
from widelimit.training import Linearised

DIRECT = Parameterization.DIRECT


def dense(features, bias=True):
    return Dense(features, bias_std=1.0 if bias else None, parameterization=DIRECT)


TWO_LAYERS = {
    "wang2022": (wang2022_network(width=16), 0.0),
    "leaky": (Sequential((dense(9), Activation(LeakyReLU(-0.25)), dense(1))), -0.25),
    "abs": (Sequential((dense(16), Activation(Abs()), Readout())), -1.0),
}


def eighths(rng, *shape):
    """Numbers that float64 and fractions both hold exactly, zero left out."""
    return rng.integers(1, 17, shape) * rng.choice([-1, 1], shape) / 8


def exact_flip(x, layers, offset, slope, limit):
    """First crossing over all pieces, in fractions: `f`, gradient norm, step or `None`.

    Between two kinks the function is a straight line, so a negative value at the right
    end of a piece puts the crossing on it.
    """
    exact = np.vectorize(Fraction, otypes=[object])
    x, weight, bias, readout = map(exact, (x, *layers))
    offset, slope = Fraction(offset), Fraction(slope)

    def active(z):
        return exact(np.where(z > 0, 1, 0)) + slope * exact(np.where(z > 0, 0, 1))

    def f(x):
        z = x @ weight + bias
        return sum(readout * z * active(z)) + offset

    value, start = f(x), x @ weight + bias
    gradient = weight @ (readout * active(start))
    norm = math.sqrt(gradient @ gradient)
    if not norm:
        return value, norm, None
    largest = Fraction(limit / norm)
    way = -gradient if value > 0 else gradient
    kinks = [-p / q for p, q in zip(start, way @ weight, strict=True) if q != 0]
    left, before = Fraction(0), abs(value)
    for right in sorted({k for k in kinks if 0 < k < largest} | {largest}):
        after = f(x + right * way) * (1 if value > 0 else -1)
        if after < 0:
            return value, norm, left + (right - left) * before / (before - after)
        left, before = right, after
    return value, norm, None


def plain(params):
    """Weight, bias, read-out and constant of a two-layer network."""
    first, _, last = params
    weight = np.asarray(first["weight"])
    bias = np.asarray(first.get("bias", np.zeros(weight.shape[1])))
    if "signs" in last:
        readout = np.asarray(last["signs"])[:, 0] / math.isqrt(weight.shape[1])
        return weight, bias, readout, 0.0
    return weight, bias, np.asarray(last["weight"])[:, 0], float(last["bias"][0])


@pytest.mark.parametrize("name", TWO_LAYERS)
def test_first_crossings_are_those_of_exact_arithmetic(name):
    (network, slope), rng = TWO_LAYERS[name], np.random.default_rng(20220)
    limit, seen = 2.0, set()
    for threshold in (0.0, 0.0, 0.0, 0.625, -2.0):
        shapes = network.init(jax.random.key(0), (3,))
        params = jax.tree.map(lambda p: jnp.asarray(eighths(rng, *p.shape)), shapes)
        if "signs" in params[-1]:
            params[-1]["signs"] = jnp.sign(params[-1]["signs"])
        x = eighths(rng, 20, 3)
        flip = minimal_flip(network, params, x, max_distance=limit, threshold=threshold)
        assert flip.exact and flip.max_distance == limit
        *layers, offset = plain(params)
        for k, row in enumerate(x):
            value, norm, step = exact_flip(
                row, layers, offset - threshold, slope, limit
            )
            status = FlipStatus(int(flip.status[k]))
            seen.add(status)
            np.testing.assert_allclose(flip.value[k], float(value), atol=1e-13)
            np.testing.assert_allclose(flip.gradient_norm[k], norm, rtol=1e-13)
            if value == 0:
                assert status == FlipStatus.ON_BOUNDARY and flip.distance[k] == 0
            elif norm == 0:
                assert status == FlipStatus.VANISHING_GRADIENT
                assert flip.distance[k] == limit and flip.step[k] == math.inf
            elif step is None:
                assert status == FlipStatus.CENSORED and flip.distance[k] == limit
                np.testing.assert_allclose(flip.step[k], limit / norm, rtol=1e-13)
            else:
                assert status == FlipStatus.FLIPPED
                np.testing.assert_allclose(flip.step[k], float(step), rtol=1e-11)
                away = np.linalg.norm(flip.adversarial[k] - row)
                np.testing.assert_allclose(away, float(step) * norm, rtol=2e-6)
        before = network(params, jnp.asarray(x))[:, 0] - threshold
        after = network(params, flip.adversarial)[:, 0] - threshold
        np.testing.assert_array_equal(before * after < 0, flip.flipped)
    assert {FlipStatus.FLIPPED, FlipStatus.CENSORED} <= seen


def polyline(places, heights):
    """A network on the line with given values at given places, the first below 0."""
    behind = places[-1] + 1 + np.arange(9 - len(places))  # one size, one program
    places = np.append(places, behind).astype(float)
    heights = np.append(heights, np.full(len(behind), 1.0 * heights[-1]))
    slopes = np.diff(heights) / np.diff(places)
    rises = np.diff(slopes, prepend=0.0)
    network = Sequential((dense(len(rises)), Activation(ReLU()), dense(1)))
    params = (
        {
            "weight": jnp.ones((1, len(rises))),
            "bias": -jnp.asarray(places[:-1]),
        },
        (),
        {
            "weight": jnp.asarray(rises)[:, None],
            "bias": jnp.asarray(heights[:1]),
        },
    )
    return network, params


@pytest.mark.parametrize(
    ("places", "heights", "expected"),
    [
        # It dips below zero, returns, and falls for good.
        ([-1, 1, 1.25, 1.5, 3, 5], [1, 0.5, -0.5, 0.5, 0.5, -1.5], 1.125),
        # It touches zero and returns.
        ([-1, 1, 1.5, 2, 3, 5], [1, 0.5, 0.0, 0.5, 0.5, -1.5], 3.5),
        # It stays at zero for a while: the step that flips begins behind.
        ([-1, 1, 1.5, 2, 5], [1, 0.5, 0.0, 0.0, -1.5], 2.0),
        # Zigzags above zero, with a tooth that is just long enough.
        (
            [-1, 1, 2, 3, 4, 5, 6, 7, 8],
            [2, 1, 1.5, 0.125, 2, 0.25, 1.75, -0.25, 1],
            6.875,
        ),
        # Concave, then convex.
        ([-1, 1, 2, 3, 4, 5], [4, 3, 1, -3, -3.5, -3.75], 2.25),
        # No kink in front of the crossing; none behind.
        ([-1, 4], [1, -1], 1.5),
    ],
)
def test_the_first_dip_is_found(places, heights, expected):
    network, params = polyline(places, heights)
    flip = minimal_flip(
        network, params, np.zeros((1, 1)), max_distance=float(places[-1])
    )
    slope = abs((heights[1] - heights[0]) / (places[1] - places[0]))
    assert flip.flipped.all()
    np.testing.assert_allclose(flip.distance, expected, rtol=1e-14)
    np.testing.assert_allclose(flip.step, expected / slope, rtol=1e-14)


def test_bracketing_misses_a_flip_and_flip_back():
    """The limit that the docstring states: an upper bound, of a later crossing."""
    network, params = polyline([-1, 1, 1.25, 1.5, 3, 5], [1, 0.5, -0.5, 0.5, 0.5, -1.5])
    coarse, fine = (
        minimal_flip(
            network, params, np.zeros((1, 1)), max_distance=5.0, exact=False, points=k
        )
        for k in (5, 200)
    )
    assert not coarse.exact and coarse.flipped.all()
    np.testing.assert_allclose(coarse.distance, 3.5, rtol=2e-6)
    np.testing.assert_allclose(fine.distance, 1.125, rtol=2e-6)


@pytest.mark.slow
def test_wide_networks_cross_where_a_scan_says_in_float32_too():
    network = wang2022_network(width=2000)
    wide = network.init(jax.random.key(1), (50,))
    narrow = jax.tree.map(lambda p: p.astype(jnp.float32), wide)
    x = np.asarray(jax.random.normal(jax.random.key(2), (40, 50), jnp.float32))
    flip = minimal_flip(network, wide, x, max_distance=4.0)
    weight, signs = np.asarray(wide[0]["weight"]), np.asarray(wide[2]["signs"])

    def f(x):
        return (np.maximum(x @ weight, 0) @ signs)[:, 0] / math.sqrt(2000)

    scale = np.linspace(0, 4.0, 801)[1:]
    for k, row in enumerate(x.astype(float)):
        gradient = weight @ ((row @ weight > 0) * signs[:, 0])
        way = -np.sign(f(row[None])) * gradient / np.linalg.norm(gradient)
        flips = f(row + scale[:, None] * way) * f(row[None]) < 0
        first = scale[np.argmax(flips)] if flips.any() else math.inf
        if first <= 4.0:
            assert first - 5e-3 <= flip.distance[k] <= first
        else:
            assert flip.censored[k]
    assert flip.flipped.sum() > 30

    for exact in (True, False):
        rounded = minimal_flip(
            network, narrow, x, max_distance=4.0, exact=exact, points=20
        )
        assert rounded.adversarial.dtype == jnp.float32
        sides = network(narrow, jnp.asarray(x)) * network(narrow, rounded.adversarial)
        assert jnp.all((sides[:, 0] < 0) == rounded.flipped)
        np.testing.assert_array_equal(rounded.status, flip.status)
        np.testing.assert_allclose(
            rounded.distance, flip.distance, rtol=1e-5, atol=1e-5
        )


def linear(w, x):
    return x @ w


def test_linear_models_flip_at_their_margin():
    rng = np.random.default_rng(3)
    w, x = rng.normal(size=(6, 1)), rng.normal(size=(9, 6))
    for scale in (1.0, 1e-200):  # squares of the gradient would vanish
        flip = minimal_flip(
            linear,
            jnp.asarray(w * scale),
            x,
            max_distance=50.0,
            tolerance=1e-9,
        )
        expected = np.abs(x @ w)[:, 0] / np.linalg.norm(w)
        np.testing.assert_allclose(flip.distance, expected, rtol=1e-8)
        norm = np.linalg.norm(w) * scale
        np.testing.assert_allclose(flip.gradient_norm, norm)
        np.testing.assert_allclose(flip.step * flip.gradient_norm, flip.distance)
        np.testing.assert_allclose(flip.value, (x @ w)[:, 0] * scale)
        relative = expected / np.linalg.norm(x, axis=1)
        np.testing.assert_allclose(flip.relative_distance, relative, rtol=1e-8)


def test_classes_flip_to_whichever_overtakes():
    rng = np.random.default_rng(4)
    w, x = rng.normal(size=(3, 5)), rng.normal(size=(40, 3))
    flip = minimal_flip(linear, jnp.asarray(w), x, max_distance=30.0)
    y, others = x @ w, 0
    for k, logits in enumerate(y):
        second, top = np.argsort(logits)[-2:]
        gradient = w[:, top] - w[:, second]
        unit = gradient / np.linalg.norm(gradient)
        speeds = (w[:, [top]] - w).T @ unit
        times = [
            (logits[top] - logits[j]) / speeds[j] for j in range(5) if speeds[j] > 0
        ]
        np.testing.assert_allclose(flip.distance[k], min(times), rtol=2e-6)
        np.testing.assert_allclose(flip.value[k], logits[top] - logits[second])
        np.testing.assert_allclose(flip.gradient_norm[k], np.linalg.norm(gradient))
        new = np.argmax(np.asarray(flip.adversarial[k]) @ w)
        assert new != top
        others += new != second
    assert flip.flipped.all() and others > 0


def scanned(f, x, flip):
    """First place of a scan where outputs have the other sign, and its spacing."""
    gradient = np.asarray(jax.grad(lambda x: jnp.sum(f(x)))(x))
    gradient = -gradient * np.sign(np.asarray(f(x))).reshape(
        (-1,) + (1,) * (x.ndim - 1)
    )
    axes = tuple(range(1, x.ndim))
    way = gradient / np.sqrt(np.sum(gradient**2, axes, keepdims=True))
    places = np.linspace(0, flip.max_distance, 401)[1:]
    start = np.asarray(f(x)).ravel()
    signs = [np.asarray(f(x + p * way)).ravel() * start < 0 for p in places]
    signs = np.stack(signs, 1)
    first = np.where(signs.any(1), places[np.argmax(signs, 1)], flip.max_distance)
    return first, places[0]


CONV = Sequential(
    (
        Conv(2, (2, 2)),
        Scale(2.0),
        Flatten(),
        Activation(ReLU()),
        Dense(1, parameterization=Parameterization.NTK),
    )
)
NETWORKS = {
    "deep": (mlp(depth=2, width=20, activation=Erf(), bias_std=0.3), (4,), False),
    "conv": (CONV, (3, 4, 1), True),
    "linearised": (Linearised(wang2022_network(width=40)), (4,), False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks_cross_where_a_scan_says(name):
    network, shape, exact = NETWORKS[name]
    if name == "linearised":
        start = network.network.init(jax.random.key(3), shape)
        moved = network.network.init(jax.random.key(4), shape)
        params = {"start": start, "moved": moved}
    else:
        params = network.init(jax.random.key(3), shape)
    x = jax.random.normal(jax.random.key(5), (12, *shape))
    flip = minimal_flip(network, params, x, max_distance=3.0)
    assert flip.exact is exact and flip.adversarial.shape == x.shape
    f = jax.jit(lambda x: network(params, x))
    first, spacing = scanned(f, x, flip)
    # The scan misses what is narrower than its spacing, hence one side only.
    assert np.all(flip.distance <= first * (1 + 2e-6))
    close = flip.distance >= first - 1.001 * spacing
    assert np.mean(close) > 0.9 and flip.flipped.sum() > 4
    after = f(flip.adversarial)[:, 0]
    np.testing.assert_array_equal(f(x)[:, 0] * after < 0, flip.flipped)


@pytest.mark.parametrize("exact", [True, False])
def test_inputs_do_not_know_of_each_other(exact, monkeypatch):
    network = wang2022_network(width=24)
    params = network.init(jax.random.key(1), (4,))
    x = np.asarray(jax.random.normal(jax.random.key(2), (11, 4)))
    order = np.random.default_rng(5).permutation(11)

    def flips(x):
        return minimal_flip(network, params, x, max_distance=3.0, exact=exact)

    whole = flips(x)
    monkeypatch.setattr(importlib.import_module(minimal_flip.__module__), "ROWS", 4)
    parts = flips(x[order])
    for name in ("step", "distance", "value", "adversarial", "status"):
        one, two = getattr(whole, name)[order], getattr(parts, name)
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_what_becomes_of_inputs_that_do_not_flip():
    network = Sequential((dense(2), Activation(ReLU()), dense(1)))
    first = {"weight": jnp.asarray([[1.0, 0.0], [0.0, 1.0]]), "bias": jnp.zeros(2)}
    last = {"weight": jnp.asarray([[1.0], [-1.0]]), "bias": jnp.asarray([0.5])}
    params = (first, (), last)
    # Dead units; on the boundary; falls to 0.5 and stays; 0.5 - 4 rises to 0.5.
    x = np.asarray([[-1.0, -1], [1, 1.5], [3, -1], [-1, 4], [-1, 2]])
    for exact in (True, False):
        flip = minimal_flip(network, params, x, max_distance=3.0, exact=exact)
        names = [FlipStatus(int(s)).name for s in flip.status]
        assert names == [
            "VANISHING_GRADIENT",
            "ON_BOUNDARY",
            "CENSORED",
            "CENSORED",
            "FLIPPED",
        ]
        np.testing.assert_allclose(flip.distance, [3, 0, 3, 3, 1.5], rtol=2e-6)
        expected = [math.inf, 0, 3, 3, 1.5]
        np.testing.assert_allclose(flip.step, expected, rtol=2e-6)
        assert flip.censored.tolist() == [True, False, True, True, False]
        np.testing.assert_array_equal(flip.adversarial[:4], x[:4])
        assert math.isnan(flip.median()) and flip.mean_lower_bound("step") == math.inf
        np.testing.assert_allclose(flip.mean_lower_bound(), 10.5 / 5, rtol=2e-6)


def test_outputs_that_are_not_finite_or_lost_in_rounding_say_so():
    def f(_, x):
        y = jnp.where(x > 3, jnp.nan, 1 - x)
        y = jnp.where(x < -1, jnp.log(x), y)
        return jnp.where((x > 0.9) & (x < 3), -1e-30, y)

    x = np.asarray([[3.5], [0.25], [-0.5], [-2.0]])
    flip = minimal_flip(f, (), x, max_distance=1.0)
    names = [FlipStatus(int(s)).name for s in flip.status]
    assert names == ["NOT_FINITE", "UNCONFIRMED", "CENSORED", "NOT_FINITE"]
    assert np.isnan(flip.distance).tolist() == [True, False, False, True]
    np.testing.assert_allclose(flip.distance[1], 0.65, rtol=2e-6)
    assert flip.censored.tolist() == [False, True, True, False]

    network = wang2022_network(width=4)
    params = network.init(jax.random.key(0), (2,))
    params[0]["weight"] = params[0]["weight"].at[0, 0].set(jnp.inf)
    flip = minimal_flip(network, params, np.ones((1, 2)), max_distance=1.0)
    assert flip.status == FlipStatus.NOT_FINITE


def censored_flips(distances, norms, cap):
    d, g = jnp.asarray(distances), jnp.asarray(norms)
    status = jnp.where(d >= cap, FlipStatus.CENSORED, FlipStatus.FLIPPED)
    zeros = jnp.zeros((len(d), 2))
    return MinimalFlip(
        step=d / g,
        distance=d,
        gradient_norm=g,
        value=g,
        input_norm=2 * jnp.ones(len(d)),
        adversarial=zeros,
        status=status,
        max_distance=cap,
        exact=True,
    )


def test_medians_of_censored_flips():
    flip = censored_flips([1.0, 9.0, 2.0, 3.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0], 9.0)
    assert flip.median() == 3 and flip.median("relative_distance") == 1.5
    assert flip.mean_lower_bound() == 24 / 5
    # Exactly half are censored: the middle pair has one of them.
    assert math.isnan(censored_flips([1.0, 9.0], [1.0, 1.0], 9.0).median())
    # A large gradient puts the censored step below the middle: it may be anywhere.
    flip = censored_flips([1.0, 9.0, 2.0], [1.0, 90.0, 1.0], 9.0)
    assert flip.median() == 2 and math.isnan(flip.median("step"))


def test_unconfirmed_crossings_are_lower_bounds():
    def flips(*distances):
        flip = censored_flips(distances, [1.0] * len(distances), 9.0)
        status = flip.status.at[0].set(FlipStatus.UNCONFIRMED)
        return dataclasses.replace(flip, status=status)

    # Behind its touch at 1 the first may flip anywhere: the middle may be 3 or 5.
    flip = flips(1.0, 2.0, 3.0, 5.0, 9.0)
    assert flip.censored.tolist() == [True, False, False, False, True]
    assert math.isnan(flip.median()) and flip.mean_lower_bound() == 20 / 5
    # A touch behind the middle leaves it known.
    assert flips(4.0, 2.0, 3.0, 1.0, 9.0).median() == 3


@pytest.mark.parametrize("width", [2, 5])
def test_flips_behind_touches_of_zero_are_found_in_float32(width):
    """Few units die on the way: outputs rest at zero before they cross it."""
    network, limit, spacing = wang2022_network(width=width), 6.0, 2e-4
    scan = np.arange(0.0, limit, spacing)
    rested = close = flips = 0
    for seed in range(10):
        params = network.init(jax.random.key(seed), (2,))
        params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(24, 2)).astype(np.float32)
        flip = minimal_flip(network, params, x, max_distance=limit)
        first, readout = np.asarray(params[0]["weight"], float), params[-1]["signs"]
        readout = np.asarray(readout, float)[:, 0] / math.sqrt(width)
        z = x.astype(float) @ first
        gradient = (readout * (z > 0)) @ first.T
        for k, status in enumerate(map(FlipStatus, flip.status.tolist())):
            norm, value = np.linalg.norm(gradient[k]), readout @ np.maximum(z[k], 0)
            if norm == 0 or value == 0:
                assert status in (FlipStatus.ON_BOUNDARY, FlipStatus.VANISHING_GRADIENT)
                continue
            speed = -np.sign(value) * gradient[k] / norm @ first
            h = np.maximum(z[k] + scan[:, None] * speed, 0) @ readout * np.sign(value)
            negative = h < -1e-6
            if not negative.any():
                assert flip.censored[k]
                continue
            place = scan[np.argmax(negative)]
            assert status == FlipStatus.FLIPPED
            assert float(flip.distance[k]) <= place + 1e-6
            flips += 1
            close += bool(float(flip.distance[k]) >= place - 1.1 * spacing)
            rested += bool(np.any(np.abs(h[: np.argmax(negative) - 1]) < 1e-12))
    assert rested > 3 and close >= 0.98 * flips


NETWORK = wang2022_network(width=4)
PARAMS = NETWORK.init(jax.random.key(0), (3,))
X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"max_distance": 0.0},
            "needs a finite `max_distance > 0`. Got `max_distance=0",
        ),
        ({"max_distance": math.inf}, "needs a finite `max_distance > 0`"),
        ({"max_distance": -1.0}, "needs a finite `max_distance > 0`"),
        ({"x": X * math.nan}, "needs finite numbers in `x`"),
        ({"x": X[0]}, "needs `x` with one input per row"),
        ({"x": X[:, :2]}, "needs `params\\[0\\]\\['weight'\\].shape=\\(2, 4\\)`"),
        ({"params": PARAMS[:2]}, "needs the parameters of its network"),
        ({"threshold": math.nan}, "needs finite numbers in `threshold`"),
        ({"points": 0}, "needs `points >= 1`"),
        ({"tolerance": 0.0}, "needs a finite `tolerance > 0`"),
        ({"apply": lambda p, x: 1.0}, "needs a function of parameters and a batch"),
        (
            {"apply": lambda p, x: x, "threshold": 0.5},
            "needs one output for a `threshold`. Got `threshold=0.5` and 3 outputs",
        ),
        ({"apply": lambda p, x: x[:, :1], "exact": True}, "Leave `exact` out"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    given = {"apply": NETWORK, "params": PARAMS, "x": X, "max_distance": 1.0} | changes
    with unchecked(), pytest.raises(ValueError, match=message):
        minimal_flip(**given)


@pytest.mark.parametrize(
    "network",
    [
        wang2022_network(width=4, depth=2),
        mlp(depth=1, width=4, activation=Erf()),
        Sequential((dense(4), Activation(ReLU()), dense(2))),
    ],
)
def test_what_has_no_exact_crossing_is_refused(network):
    params = network.init(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="one rectifier layer between affine ones"):
        minimal_flip(network, params, X, max_distance=1.0, exact=True)


def test_far_flips_in_float32_are_flips_in_float64_too():
    network = wang2022_network(width=64)
    with jax.enable_x64(False):
        params = network.init(jax.random.key(0), (3,))
    x = np.random.default_rng(64).normal(size=(2000, 3)).astype(np.float32)
    found = minimal_flip(network, params, x, max_distance=1000.0)
    flipped = np.asarray(found.flipped)
    points = np.asarray(found.adversarial, float)[flipped]
    weight, signs = (
        np.asarray(a, float) for a in (params[0]["weight"], params[2]["signs"])
    )
    outputs = np.maximum(points @ weight, 0) @ signs[:, 0] / 8
    assert flipped.sum() > 1000 and np.asarray(found.distance)[flipped].max() > 100
    assert (np.sign(outputs) == -np.sign(np.asarray(found.value)[flipped])).all()
