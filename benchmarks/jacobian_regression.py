"""Jacobian-regularised regression on MNIST at its full dimension, as one process."""

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

DIMENSION, DEPTH, REGULARIZATION = 784, 4, 0.01
TEST, RADIUS, STEPS = 500, 0.1, 10
RUNS = (  # training images, the two digits, GiB for the solver
    (1000, (0, 1), 2.0),
    (1000, (4, 9), 2.0),
)

TITLE = "Jacobian-regularised regression on MNIST, 784 features"
NOTE = (
    "Two digits of MNIST, targets +1 and -1, rows of unit norm; the network of kim2023 "
    f"with GELU and {DEPTH} hidden layers, lambda {REGULARIZATION}, float64, two "
    "cores. Conjugate gradients with the structured preconditioner solve for the "
    "values and gradients of all images. Each row is a process of its own: its time is "
    "that of the kernel and the solution, compilation included, its memory the peak of "
    "the whole, data and evaluation included. `backward error` is the smallest "
    "relative change of the system that the solution is exact for. Accuracy is over "
    f"{TEST} test images, as they are and moved by {STEPS} steps along the "
    f"predictor's own gradient within an l2 ball of radius {RADIUS}; beside it that of "
    "the plain NTK on the same images, attacked along its own. Required: at most "
    "180 s and 2 GB."
)


def measure():
    return [one(*run) for run in RUNS]


def one(images, digits, memory):
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(everything)[:2])  # what the process inherits
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.jacobian_regression"),
                json.dumps({"images": images, "digits": digits, "memory": memory}),
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, everything)
    found = json.loads(done.stdout)
    robust, plain = found["robust"], found["plain"]
    return {
        "images": str(images),
        "digits": " and ".join(map(str, digits)),
        "unknowns": f"{images * (DIMENSION + 1):,}",
        "time, s": f"**{found['seconds']:.0f}**",
        "memory, GB": f"**{found['peak']:.2f}**",
        "steps": str(found["steps"]),
        "backward error": f"{found['residual']:.0e}",
        "accuracy": percents(robust["accuracy"], plain["accuracy"]),
        "under attack": percents(robust["attacked"], plain["attacked"]),
        "mean gradient": f"{robust['gradient']:.2f}, NTK {plain['gradient']:.2f}",
    }


def percents(robust, plain):
    return f"{100 * robust:.1f} %, NTK {100 * plain:.1f} %"


def regression(images, digits, memory):
    """The whole: data, kernel, both solutions, both accuracies."""
    from widelimit.datasets import load, prepare
    from widelimit.kernels import jacobian_kernel
    from widelimit.networks import kim2023_network
    from widelimit.prediction import solve_kernel

    data = prepare(
        load("mnist"), classes=digits, targets="sign", train=images, test=TEST
    )
    x, y = (z.astype(np.float64) for z in (data.x_train, data.t_train[:, 0]))
    test, signs = (z.astype(np.float64) for z in (data.x_test, data.t_test[:, 0]))
    network = kim2023_network(depth=DEPTH, width=1)
    targets = np.zeros((images, DIMENSION + 1))
    targets[:, 0] = y

    began = time.perf_counter()
    kernel = jacobian_kernel(network, x, regularization=REGULARIZATION)
    found = solve_kernel(kernel, targets.ravel(), solver="cg", memory=memory)
    seconds = time.perf_counter() - began

    weights = found.solution.reshape(targets.shape).copy()
    square = float(np.sum(weights * targets))
    weights[:, 1:] *= REGULARIZATION**0.5
    robust = predictor(network, x, weights, square)
    values = solve_kernel(kernel.part("value", "value"), y)
    plain = predictor(network, x, values.solution[:, None], values.solution @ y)
    return {
        "seconds": seconds,
        "steps": found.steps,
        "residual": found.residual,
        "robust": quality(robust, test, signs),
        "plain": quality(plain, test, signs),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def predictor(network, x, weights, square):
    from widelimit.prediction import KernelPredictor

    gram = np.array([[square]])
    return KernelPredictor(network=network, x=x, weights=weights[..., None], gram=gram)


def quality(f, x, signs):
    at = f.at(x)
    moved = attacked(f, x, signs)
    return {
        "accuracy": float(np.mean(signs * at.values > 0)),
        "attacked": float(np.mean(signs * f(moved) > 0)),
        "gradient": float(np.linalg.norm(at.gradients, axis=1).mean()),
    }


def attacked(f, x, signs):
    """Inputs moved down the margin, by steps of one length within a ball."""
    moved = x
    for _ in range(STEPS):
        slope = signs[:, None] * f.at(moved).gradients
        slope = slope / np.linalg.norm(slope, axis=1, keepdims=True)
        shift = moved - 2.5 * RADIUS / STEPS * slope - x
        size = np.linalg.norm(shift, axis=1, keepdims=True)
        moved = x + shift * np.minimum(1.0, RADIUS / np.maximum(size, 1e-300))
    return moved


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    print(json.dumps(regression(**settings)), flush=True)
