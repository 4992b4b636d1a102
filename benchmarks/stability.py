"""Exact perturbation stability against the sampled estimator at equal error."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.measures import perturbation_stability, sampled_perturbation_stability
from widelimit.networks import zhu2022_network

TITLE = "Exact stability against sampling, 10 outputs"
NOTE = (
    "Time for 256 inputs of 784 features. For a relative standard error of 0.1 % at "
    "one input the sampler needs (spread / mean / 0.001)^2 draws; for 0.1 % in the "
    "mean over all inputs, their number less. Its time is measured at 256 draws and "
    "extended in proportion, as it is linear in the draws. `error` is the median "
    "relative difference of the exact values in float32 from those in float64. Median "
    "of 5 runs. Required: at least 20."
)
INPUTS, FEATURES, DRAWS, ROUNDS = 256, 784, 256, 5


def measure():
    return [one(depth, width) for depth in (1, 3) for width in (64, 256, 1024)]


def one(depth, width):
    network = zhu2022_network(depth=depth, width=width, outputs=10)
    params = network.init(jax.random.key(0), (FEATURES,))
    x = jax.random.normal(jax.random.key(1), (INPUTS, FEATURES))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)

    def function(p):
        return lambda row: network.apply(p, row[None])[0]

    exact = jax.jit(lambda p, rows: perturbation_stability(function(p), rows))
    sampled = jax.jit(
        lambda p, rows, key: sampled_perturbation_stability(
            function(p), rows, key=key, draws=DRAWS, batch_size=16
        )
    )
    key = jax.random.key(2)
    values = np.asarray(exact(params, x))
    draws = sampled(params, x, key)
    spread = np.asarray(draws.standard_error / draws.mean) * DRAWS**0.5
    needed = float(np.mean((spread / 0.001) ** 2))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), params)
        rows = jnp.asarray(np.asarray(x), jnp.float64)
        reference = np.asarray(perturbation_stability(function(wide), rows))
    own = clock(lambda: exact(params, x))
    per_draw = clock(lambda: sampled(params, x, key).mean) / DRAWS
    return {
        "hidden layers": str(depth),
        "width": str(width),
        "exact, s": f"{own:.4f}",
        "error": f"{np.median(np.abs(values / reference - 1)):.0e}",
        "draws for 0.1 % at one input": f"{needed:.0f}",
        "sampled, 0.1 % in the mean, s": f"{per_draw * needed / INPUTS:.2f}",
        "ratio, in the mean": f"**{per_draw * needed / INPUTS / own:.0f}**",
        "ratio, at every input": f"**{per_draw * needed / own:.0f}**",
    }


def clock(function):
    jax.block_until_ready(function())
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)
