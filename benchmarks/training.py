"""Training 8 seeds in one program, against the same training as a PyTorch loop."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.networks import zhu2022_network
from widelimit.training import train, zhu2022_sgd

TITLE = "Training 8 seeds of one network"
NOTE = (
    "Time for all seeds: He initialisation, SGD with batches of 64, cross-entropy, 10 "
    "classes. PyTorch trains one seed after the other, its tensors in memory and its "
    "batches by index, without a data loader. widelimit trains them in one compiled "
    "program, its seeds divided over one CPU device per core (`JAX_NUM_CPU_DEVICES`); "
    "its compilation is listed apart. The ratio is the median of 5 runs of each, taken "
    "in turn, with the lowest and highest. Required: at least 2 at every "
    "width on 28x28 inputs, and at least 5 at widths up to 64 on digits."
)
SEEDS, BATCH, ROUNDS = 8, 64, 5


def measure():
    rows = []
    for data, features, widths in (
        ("28x28 inputs", 784, (16, 32, 64, 128, 256, 512, 1024)),
        ("digits (8x8)", 64, (16, 32, 64)),
    ):
        for depth in (1, 3):
            rows += [one(data, features, depth, width) for width in widths]
    return rows


def one(data, features, depth, width):
    epochs = 2 if width >= 512 else 4
    rng = np.random.default_rng(0)
    n = 2048 if features == 784 else 1408
    x = rng.uniform(size=(n, features)).astype(np.float32)
    labels = rng.integers(0, 10, size=n)
    ours = ours_runner(x, labels, depth, width, epochs)
    start = time.perf_counter()
    ours()
    first = time.perf_counter() - start
    theirs = torch_runner(x, labels, depth, width, epochs)
    theirs()
    pairs = [(clock(ours), clock(theirs)) for _ in range(ROUNDS)]
    ratios = [torch / own for own, torch in pairs]
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


def ours_runner(x, labels, depth, width, epochs):
    network = zhu2022_network(depth=depth, width=width, outputs=10)
    keys = jax.random.split(jax.random.key(0), SEEDS)
    shape = (x.shape[1],)
    params = jax.vmap(lambda key: network.init(key, shape))(keys)
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


def torch_runner(x, labels, depth, width, epochs):
    import torch

    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels)
    steps = len(x) // BATCH

    def train_seeds():
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            sizes = [x.shape[1], *[width] * depth, 10]
            layers = []
            for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
                linear = torch.nn.Linear(fan_in, fan_out, bias=False)
                torch.nn.init.normal_(linear.weight, std=(2 / fan_in) ** 0.5)
                layers += [linear, torch.nn.ReLU()]
            model = torch.nn.Sequential(*layers[:-1])
            optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
            schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [25, 35, 45])
            loss = torch.nn.CrossEntropyLoss()
            for _ in range(epochs):
                order = torch.randperm(len(x))[: steps * BATCH].view(steps, BATCH)
                for rows in order:
                    optimizer.zero_grad()
                    loss(model(inputs[rows]), targets[rows]).backward()
                    optimizer.step()
                schedule.step()

    return train_seeds
