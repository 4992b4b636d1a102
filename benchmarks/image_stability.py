"""Exact stability of ResNet-18, against one forward pass."""

import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.image_networks import images

TITLE = "Exact stability of ResNet-18, 10 outputs"
NOTE = (
    "256 images, float32, all cores: `plan.measure` of the plan that `stability_plan` "
    "makes, and the network's outputs, all images at once and in tiles of the plan's "
    "size. Times are the median of 3 rounds taken in turn; ratios have "
    "the lowest and highest. Memory is the peak of a process that measures the "
    "stability alone, compilation and JAX itself included. Required: at most 12 times "
    "a forward pass and 2 GB, at width factor 1."
)
COUNT, ROUNDS = 256, 3


def measure():
    count = int(os.environ.get("WIDELIMIT_BENCHMARK_IMAGES", COUNT))
    rows = []
    for factor in (0.25, 1.0):
        times, memory = (
            json.loads(
                subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "benchmarks.image_stability",
                        what,
                        str(factor),
                        str(count),
                    ],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for what in ("times", "memory")
        )
        rows.append(
            {
                "width factor": f"{factor:g}",
                "tile": str(memory["tile"]),
                "forward, s": f"{median(times['forward']):.2f}",
                "forward in tiles, s": f"{median(times['tiles']):.2f}",
                "stability, s": f"{median(times['stability']):.2f}",
                "stability / forward": ratio(times["stability"], times["forward"]),
                "stability / forward in tiles": ratio(
                    times["stability"], times["tiles"]
                ),
                "memory, GB": f"**{memory['peak'] / 1e9:.2f}**",
            }
        )
    return rows


def median(values):
    return statistics.median(values)


def ratio(one, two):
    found = [a / b for a, b in zip(one, two, strict=True)]
    return f"**{median(found):.1f}** ({min(found):.1f} to {max(found):.1f})"


def worker(what, factor, count):
    import resource

    import jax
    import jax.numpy as jnp

    from widelimit.measures import stability_plan
    from widelimit.networks import resnet18

    network = resnet18(width_factor=factor)
    x = jnp.asarray(images()[0][:count])
    params = network.init(jax.random.key(0), x.shape[1:])

    def function(params):
        return lambda row: network(params, row[None])[0]

    plan = stability_plan(function(params), x)
    print(plan, file=sys.stderr)
    tile = plan.batch_size
    stability = jax.jit(lambda p, x: plan.measure(function(p), x).mean)
    forward = jax.jit(network)
    in_tiles = jax.jit(
        lambda p, x: jax.lax.map(
            lambda rows: network(p, rows), x.reshape(-1, tile, *x.shape[1:])
        )
    )
    if what == "memory":
        jax.block_until_ready(stability(params, x))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"peak": peak, "tile": tile}
    runs = {"forward": forward, "tiles": in_tiles, "stability": stability}
    times = {name: [] for name in runs}
    for run in runs.values():
        jax.block_until_ready(run(params, x))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run(params, x))
            times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    what, factor, count = sys.argv[1:]
    print(json.dumps(worker(what, float(factor), int(count))))
