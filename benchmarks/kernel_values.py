"""Values of both libraries' kernels against 50 digits, near coincident inputs too."""

from contextlib import ExitStack

import numpy as np
from mpmath import mp, mpf

from benchmarks.kernel_worker import BIAS_STD, DEPTH, WEIGHT_STD, Worker, sides
from benchmarks.large_kernel import LABELS

TITLE = "Limit NNGP and NTK, digits"
NOTE = (
    "The largest relative error of float64 over 5 pairs of inputs of norm about 3 in 7 "
    "dimensions, 3 hidden layers with biases, against the recursion in 50 digits. "
    "Distances are between the inputs of a pair. Required of widelimit: 1e-12."
)
NEAR = tuple(10.0**-digits for digits in range(3, 9))
CASES = {"relu": (None, *NEAR), "erf": (None, 1e-8), "gelu": (None, 1e-8)}


def measure():
    with ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(side)) for side in sides()}
        return [
            one(workers, activation, distance)
            for activation, distances in CASES.items()
            for distance in distances
        ]


@mp.workdps(50)
def one(workers, activation, distance):
    x1, x2 = pairs(distance)
    exact = np.array(
        [reference(activation, *pair) for pair in zip(x1, x2, strict=True)]
    )
    row = {
        "activation": activation,
        "distance": "any" if distance is None else f"{distance:.0e}",
    }
    for side, worker in workers.items():
        sets = {"x1": x1.tolist(), "x2": x2.tolist()}
        got = worker.ask("values", "limit", activation=activation, **sets)
        for name, expected in zip(("nngp", "ntk"), exact.T, strict=True):
            found = [mpf(number) for number in np.diag(got[name])]
            errors = [abs(a / b - 1) for a, b in zip(found, expected, strict=True)]
            row[f"{LABELS[side]}, {name.upper()}"] = f"{float(max(errors)):.0e}"
    return row


def pairs(distance):
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 5, 7))
    if distance is None:
        return x1, x2
    return x1, x1 + distance * x2 / np.linalg.norm(x2, axis=1, keepdims=True)


def reference(activation, x1, x2):
    """NNGP and NTK of one pair."""
    w2, b2 = mpf(WEIGHT_STD) ** 2, mpf(BIAS_STD) ** 2
    a, b = ([mpf(float(entry)) for entry in row] for row in (x1, x2))
    c, p, q = (w2 * mp.fdot(u, v) / len(a) + b2 for u, v in ((a, b), (a, a), (b, b)))
    dual, derivative = DUALS[activation]
    ntk = c
    for _ in range(DEPTH):
        slope = w2 * derivative(c, p, q)
        c, p, q = (w2 * dual(*m) + b2 for m in ((c, p, q), (p, p, p), (q, q, q)))
        ntk = c + slope * ntk
    return c, ntk


def relu(c, p, q):
    height = mp.sqrt(p * q - c * c)
    return (height + (mp.pi - mp.atan2(height, c)) * c) / (2 * mp.pi)


def relu_derivative(c, p, q):
    return (mp.pi - mp.atan2(mp.sqrt(p * q - c * c), c)) / (2 * mp.pi)


def erf(c, p, q):
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt((1 + 2 * p) * (1 + 2 * q)))


def erf_derivative(c, p, q):
    return 4 / (mp.pi * mp.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c * c))


def gelu(c, p, q):
    """By Stein's lemma, from the mean of two Gaussian distribution functions."""
    both = mpf(1) / 4 + mp.asin(c / mp.sqrt((1 + p) * (1 + q))) / (2 * mp.pi)
    density = 1 / (2 * mp.pi * mp.sqrt((1 + p) * (1 + q) - c * c))
    return c * both + density * (p * q - c * c + c * c / (1 + p) + c * c / (1 + q))


def gelu_derivative(c, p, q):
    return mp.diff(lambda moment: gelu(moment, p, q), c)


DUALS = {
    "relu": (relu, relu_derivative),
    "erf": (erf, erf_derivative),
    "gelu": (gelu, gelu_derivative),
}
