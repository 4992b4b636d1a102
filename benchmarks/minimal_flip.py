"""Exact smallest flips of a two-layer network against bisection image by image."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.attacks import minimal_flip
from widelimit.networks import wang2022_network

TITLE = "Smallest flips along the gradient, two-layer ReLU network"
NOTE = (
    "Time for 2000 inputs of 784 features and unit norm, the network of wang2022 at "
    "initialisation, float32. By hand: for each input a compiled gradient, then the "
    "compiled network along the ray, at distances doubled from 1e-3 until the sign "
    "changes, and the bracket halved to a relative 1e-6. `bracketed` is "
    "`minimal_flip(exact=False)`. By hand 16 inputs are timed, bracketed 256, exactly "
    "all (256 at width 100000), and times extended in proportion. Errors are relative "
    "to distances from `minimal_flip` in float64, on the 16 inputs: median and "
    "largest. Medians of 3 runs, taken in turn after one that compiles; ratios with "
    "their lowest and highest. Required: at least 10 at width 10000."
)
INPUTS, FEATURES, BY_HAND, PART, ROUNDS, FARTHEST = 2000, 784, 16, 256, 3, 2.0


def measure():
    return [one(width) for width in (1_000, 10_000, 100_000)]


def one(width):
    network = wang2022_network(width=width)
    params = network.init(jax.random.key(0), (FEATURES,))
    x = jax.random.normal(jax.random.key(1), (INPUTS, FEATURES))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    value, at = by_hand(network)

    def flips(rows, exact=True):
        flip = minimal_flip(network, params, rows, max_distance=FARTHEST, exact=exact)
        return np.asarray(flip.distance)

    few = x[:BY_HAND]
    ways = {
        "hand": (lambda: [bisected(value, at, params, row) for row in few], BY_HAND),
        "exact": (lambda: flips(x[: INPUTS if width < 100_000 else PART]), INPUTS),
        "bracketed": (lambda: flips(x[:PART], exact=False), PART),
    }
    if width == 100_000:
        ways["exact"] = (ways["exact"][0], PART)
        del ways["bracketed"]
    found = {name: np.asarray(run())[:BY_HAND] for name, (run, _) in ways.items()}
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (run, count) in ways.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * INPUTS / count)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), jnp.float64), params)
        rows = np.asarray(few, float)
        flip = minimal_flip(network, wide, rows, max_distance=FARTHEST)
        true = np.asarray(flip.distance)
    errors = {name: np.abs(values / true - 1) for name, values in found.items()}
    ratios = [a / b for a, b in zip(times["hand"], times["exact"], strict=True)]
    middle = statistics.median(ratios)
    return {
        "width": str(width),
        "by hand, s": seconds(times, "hand"),
        "bracketed, s": seconds(times, "bracketed"),
        "exact, s": seconds(times, "exact"),
        "by hand / exact": f"**{middle:.0f}** ({min(ratios):.0f} to {max(ratios):.0f})",
        "error by hand": error(errors["hand"]),
        "error, exact": error(errors["exact"]),
    }


def by_hand(network):
    """Compiled value with gradient, and value along a ray."""

    def f(x, params):
        return network(params, x[None])[0, 0]

    return (
        jax.jit(jax.value_and_grad(f)),
        jax.jit(lambda t, way, x, params: f(x + t * way, params)),
    )


def bisected(value, at, params, x):
    start, gradient = value(x, params)
    start = float(start)
    way = -np.sign(start) * gradient / jnp.linalg.norm(gradient)

    def flipped(t):
        return float(at(t, way, x, params)) * start < 0

    low, high = 0.0, 1e-3
    while not flipped(high):
        if high >= FARTHEST:
            return FARTHEST
        low, high = high, min(2 * high, FARTHEST)
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if flipped(middle) else (middle, high)
    return high


def seconds(times, name):
    return f"{statistics.median(times[name]):.2f}" if name in times else "–"


def error(errors):
    return f"{np.median(errors):.0e}, {np.max(errors):.0e}"
