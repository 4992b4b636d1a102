"""One epoch of image networks, against the same networks in PyTorch."""

import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.image_networks import BATCH, IMAGES, MOMENTUM, NETWORKS, RATE, images
from widelimit._cores import cpu_count

os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cpu_count()))  # before JAX is imported

import jax
import jax.numpy as jnp
import optax

from widelimit.networks import cnn, resnet18
from widelimit.training import train

TITLE = "One training epoch of image networks"
NOTE = (
    "2000 images of CIFAR-10, batches of 64, cross-entropy, SGD with momentum, "
    "float32, all cores: widelimit divides its batches over one CPU device per core "
    "(`JAX_NUM_CPU_DEVICES`), batch normalisation being that of the whole batch. "
    "PyTorch runs in a process of its own, its tensors in memory and its batches by "
    "index, without a data loader, in its default order of axes and in "
    "`channels_last`. widelimit's epoch is the second of two less the first, so that "
    "neither compilation nor checks of its arguments count; compilation is listed "
    "apart. Ratios are the median of 7 rounds, in which each takes its turn, with the "
    "lowest and highest. Required: at least 1."
)
ROUNDS = 7
LAYOUTS = {"PyTorch": "contiguous_format", "PyTorch, channels last": "channels_last"}


def measure(count=IMAGES):
    count = int(os.environ.get("WIDELIMIT_BENCHMARK_IMAGES", count))
    command = [sys.executable, "-m", "benchmarks.torch_images"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as torch:
        rows = [one(torch, name, count) for name in NETWORKS]
        torch.stdin.close()
    return rows


def one(torch, name, count):
    ours, compilation = ours_runner(name, count)

    def theirs(layout):
        task = {"network": name, "layout": layout, "images": count}
        print(json.dumps(task), file=torch.stdin, flush=True)
        return float(torch.stdout.readline())

    for layout in LAYOUTS.values():
        theirs(layout)
    rounds = [
        (ours(), *(theirs(layout) for layout in LAYOUTS.values()))
        for _ in range(ROUNDS)
    ]
    row = {
        "network": name,
        "widelimit, s": f"{statistics.median(r[0] for r in rounds):.2f}",
    }
    for place, rival in enumerate(LAYOUTS, start=1):
        ratios = [r[place] / r[0] for r in rounds]
        row[f"{rival}, s"] = f"{statistics.median(r[place] for r in rounds):.2f}"
        row[f"{rival} / widelimit"] = (
            f"**{statistics.median(ratios):.2f}** "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return row | {"compilation, s": f"{compilation:.0f}"}


def ours_runner(name, count):
    kind, channels = NETWORKS[name]
    network = (
        cnn(depth=6, channels=channels, outputs=10)
        if kind == "cnn"
        else resnet18(width_factor=channels / 64)
    )
    x, labels = images()
    x, targets = jnp.asarray(x[:count]), jax.nn.one_hot(labels[:count], 10)
    keys = jax.random.split(jax.random.key(0), 1)
    params = jax.vmap(lambda key: network.init(key, x.shape[1:]))(keys)
    optimizer = optax.sgd(RATE, momentum=MOMENTUM)

    def seconds(epochs):
        start = time.perf_counter()
        train(
            network,
            params,
            x,
            targets,
            loss="cross-entropy",
            optimizer=optimizer,
            epochs=epochs,
            batch_size=BATCH,
            keys=keys,
        )
        return time.perf_counter() - start

    first = seconds(1) + seconds(2)  # each is a program of its own
    again = seconds(1) + seconds(2)
    return (lambda: seconds(2) - seconds(1)), max(first - again, 0) / 2
