"""Projected gradient descent against Foolbox's, on one network and the same images."""

import time
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.kernel_worker import in_turn, ratio
from widelimit import datasets
from widelimit.attacks import PGD, attack
from widelimit.losses import cross_entropy
from widelimit.networks import mlp
from widelimit.training import train

TITLE = "PGD, 100 steps, against Foolbox"
NOTE = (
    "A trained 784-1024-10 ReLU network in float32 and 1000 test images of MNIST, all "
    "cores: 100 steps from the image itself, in the box [0, 1], with the cross-entropy "
    "and the step 2.5 radius / 100 on both sides, Foolbox by its JAX model. Times are "
    "the median of 7 rounds taken in turn after one; ratios have the lowest and the "
    "highest. Losses and accuracies are at the points that each returns, recomputed "
    "alike; beside them widelimit's with the margin for a loss. Required: at least 2 "
    "in time, and a loss that is not lower."
)
ROUNDS, IMAGES, STEPS = 7, 1000, 100
RADII = {"l2": 1.0, "linf": 0.05}


def measure():
    network, params, x, y = trained()
    return [one(network, params, x, y, norm) for norm in RADII]


def trained():
    data = datasets.load("mnist")
    x, test = (
        jnp.asarray(a.reshape(len(a), -1), jnp.float32)
        for a in (data.x_train[:6000], data.x_test[:IMAGES])
    )
    y, goals = (
        jax.nn.one_hot(jnp.asarray(a), 10) for a in (data.y_train[:6000], data.y_test)
    )
    network = mlp(depth=1, width=1024, outputs=10)
    keys = jax.random.split(jax.random.key(0), 1)
    start = jax.vmap(lambda k: network.init(k, (784,)))(keys)
    plan = {"loss": "cross-entropy", "optimizer": optax.sgd(0.1), "epochs": 5}
    run = train(network, start, x, y, batch_size=64, keys=keys, **plan)
    return network, jax.tree.map(lambda a: a[0], run.params), test, goals[:IMAGES]


def one(network, params, x, y, norm):
    radius = RADII[norm]
    points = {}

    def ours():
        method = PGD(radius, norm, steps=STEPS, low=0.0, high=1.0)
        points["widelimit"] = attack(
            method, network, params, x, y, loss="cross-entropy"
        ).points

    theirs = foolbox(network, params, x, y, norm)

    def rival():
        points["Foolbox"] = theirs()

    runs = {"widelimit": seconds(ours), "Foolbox": seconds(rival)}
    for run in runs.values():
        run()
    times = in_turn(runs, rounds=ROUNDS)
    method = PGD(radius, norm, steps=STEPS, low=0.0, high=1.0)
    points["margin"] = attack(method, network, params, x, y).points
    row = {"norm": norm, "radius": f"{radius:g}"}
    row |= {f"{name}, s": f"{median(times[name]):.2f}" for name in runs}
    row["Foolbox / widelimit"] = ratio(times["Foolbox"], times["widelimit"])
    for name, found in points.items():
        outputs = network(params, jnp.asarray(found))
        right = jnp.argmax(outputs, axis=1) == jnp.argmax(y, axis=1)
        row[f"loss, {name}"] = f"{float(cross_entropy(outputs, y).mean()):.5f}"
        row[f"accuracy, {name}"] = f"{100 * float(right.mean()):.1f} %"
        gap = (np.asarray(found) - np.asarray(x)).reshape(len(x), -1)
        size = np.linalg.norm(gap, 2 if norm == "l2" else np.inf, axis=1).max()
        assert size <= radius * (1 + 1e-5), f"{name} left the ball"
    return row


def foolbox(network, params, x, y, norm):
    import eagerpy
    import foolbox

    model = foolbox.JAXModel(lambda z: network(params, z), bounds=(0, 1))
    kinds = {
        "l2": foolbox.attacks.L2ProjectedGradientDescentAttack,
        "linf": foolbox.attacks.LinfProjectedGradientDescentAttack,
    }
    method = kinds[norm](rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=False)
    labels = foolbox.criteria.Misclassification(eagerpy.astensor(jnp.argmax(y, axis=1)))

    def run():
        _, clipped, _ = method(model, eagerpy.astensor(x), labels, epsilons=RADII[norm])
        return clipped.raw.block_until_ready()

    return run


def seconds(run):
    def timed():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return timed
