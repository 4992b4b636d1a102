"""Training 8 seeds in one program, against the same training as a PyTorch loop."""

import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.workload import BATCH, SEEDS, workload
from widelimit._cores import cpu_count

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cpu_count()))  # before JAX is imported

import jax
import jax.numpy as jnp

from widelimit.networks import zhu2022_network
from widelimit.training import train, zhu2022_sgd

TITLE = "Training 8 seeds of one network"
NOTE = (
    "Time for all seeds: He initialisation, SGD with batches of 64, cross-entropy, 10 "
    "classes. PyTorch, in a process of its own, trains one seed after the other, its "
    "tensors in memory and its batches by index, without a data loader. widelimit "
    "trains them in one compiled program, its seeds divided over one CPU device per "
    "core (`JAX_NUM_CPU_DEVICES`); its compilation is listed apart. The ratio is the "
    "median of 5 runs of each, taken in turn, with the lowest and highest. Required: "
    "at least 2 at every width on 28x28 inputs, and at least 5 at widths up to 64 on "
    "digits."
)
ROUNDS = 5


def measure():
    rows = []
    command = [sys.executable, "-m", "benchmarks.torch_loop"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as torch:
        for data, features, depth, widths in (
            ("28x28 inputs", 784, 1, (16, 32, 64, 128, 256, 512, 1024)),
            ("28x28 inputs", 784, 3, (16, 32, 64, 128, 256, 512, 1024)),
            ("digits (8x8)", 64, 1, (16, 32, 64)),
            ("digits (8x8)", 64, 3, (16, 32, 64)),
        ):
            rows += [one(torch, data, features, depth, width) for width in widths]
        torch.stdin.close()
    return rows


def one(torch, data, features, depth, width):
    epochs = 2 if width >= 512 else 4
    task = {"features": features, "depth": depth, "width": width, "epochs": epochs}

    def theirs():
        print(json.dumps(task), file=torch.stdin, flush=True)
        return float(torch.stdout.readline())

    ours = ours_runner(features, depth, width, epochs)
    first = clock(ours)
    theirs()
    pairs = [(clock(ours), theirs()) for _ in range(ROUNDS)]
    ratios = [rival / own for own, rival in pairs]
    own = statistics.median(own for own, _ in pairs)
    return {
        "data": data,
        "hidden layers": str(depth),
        "width": str(width),
        "PyTorch, s": f"{statistics.median(t for _, t in pairs):.3f}",
        "widelimit, s": f"{own:.3f}",
        "ratio": f"**{statistics.median(ratios):.1f}** "
        f"({min(ratios):.1f} to {max(ratios):.1f})",
        "compilation, s": f"{max(first - own, 0):.1f}",
    }


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ours_runner(features, depth, width, epochs):
    x, labels = workload(features)
    network = zhu2022_network(depth=depth, width=width, outputs=10)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    params = jax.vmap(lambda key: network.init(key, (features,)))(keys)
    inputs, targets = jnp.asarray(x), jnp.asarray(np.eye(10, dtype=np.float32)[labels])
    optimizer = zhu2022_sgd(steps_per_epoch=len(x) // BATCH, epochs=epochs)
    return lambda: train(
        network,
        params,
        inputs,
        targets,
        loss="cross-entropy",
        optimizer=optimizer,
        epochs=epochs,
        batch_size=BATCH,
        keys=keys,
    )
