"""Slow, obviously correct references that share no code with the library."""

import contextlib
import itertools
import math

import jaxtyping
import mpmath
import numpy as np


def assert_mean_matches(samples, expected, *, bias=0.0, sigmas=5.0):
    """`samples` (draw, ...) average to `expected`, up to sampling error and `bias`."""
    samples, expected = np.asarray(samples), np.asarray(expected)
    standard_error = samples.std(0, ddof=1) / len(samples) ** 0.5
    allowed = sigmas * standard_error + bias + 1e-12 * np.abs(expected) + 1e-300
    worst = (np.abs(samples.mean(0) - expected) / allowed).max()
    assert worst <= 1, f"worst error is {worst:.2f} times the allowance"


@contextlib.contextmanager
def unchecked():
    """Shape checking switched off, so that the library's own messages show."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


# Layers and networks


def dense(weight, x, *, factor, shift):
    """`factor * (W x) + shift`, one multiplication at a time."""
    rows, features = len(x), len(weight[0])
    y = np.zeros((rows, features))
    for n in range(rows):
        for j in range(features):
            for i in range(len(weight)):
                y[n, j] += factor * x[n][i] * weight[i][j]
            y[n, j] += shift[j]
    return y


def relu_network(weights, x):
    """Bias-free ReLU network; returns the input of every weight, and the outputs."""
    inputs = [np.asarray(x)]
    for weight in weights[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight, 0))
    return inputs, inputs[-1] @ weights[-1]


def central_differences(f, x, step=1e-5):
    """Jacobian of `f` at the vector `x`, outputs flattened, from differences."""
    columns = []
    for i in range(len(x)):
        shift = np.zeros(len(x))
        shift[i] = step
        above, below = np.ravel(f(x + shift)), np.ravel(f(x - shift))
        columns.append((above - below) / (2 * step))
    return np.stack(columns, axis=1)


# Gaussian norms and perturbations


def mean_gaussian_norm(variances):
    r"""E sqrt(Q) = (1 / (2 sqrt pi)) int (1 - E exp(-tQ)) t^(-3/2) dt, with t = v^2."""
    with mpmath.workdps(50):
        rates = [2 * mpmath.mpf(float(a)) for a in variances if a > 0]
        scales = sorted({1 / mpmath.sqrt(a) for a in rates})

        def integrand(v):
            product = mpmath.mpf(1)
            for a in rates:
                product /= mpmath.sqrt(1 + a * v * v)
            return (1 - product) / (v * v)

        points = [0, *scales, 10 * scales[-1], mpmath.inf]
        return float(mpmath.quad(integrand, points) / mpmath.sqrt(mpmath.pi))


def mean_gaussian_norm_of_two(a, b):
    """Mean radius sqrt(pi / 2) times the mean over angles, an elliptic integral."""
    a, b = mpmath.mpf(a), mpmath.mpf(b)
    angles = 2 / mpmath.pi * mpmath.sqrt(a) * mpmath.ellipe(1 - b / a)
    return float(mpmath.sqrt(mpmath.pi / 2) * angles)


def mean_chi(k):
    """Mean norm of a standard Gaussian vector with `k` entries."""
    half = mpmath.mpf(1) / 2
    return float(mpmath.sqrt(2) * mpmath.gamma((k + 1) * half) / mpmath.gamma(k * half))


def mean_ball_shadow(o, d, radius):
    """Mean norm of the first `o` coordinates of a uniform point of the `d`-ball."""
    return radius * d / (d + 1) * mean_chi(o) / mean_chi(d)


def mean_absolute_in_cube(w, radius):
    """Mean of `abs(w @ u)` with `u` uniform in the cube of half-width `radius`."""
    d = len(w)
    total = 0.0
    for signs in itertools.product((-1, 1), repeat=d):
        z = float(np.dot(signs, w))
        total += np.prod(signs) * abs(z) * z**d  # (d + 1)! times a d-fold primitive
    return radius * total / (2**d * np.prod(w) * math.factorial(d + 1))


def mean_norm_in_cube(jacobian, radius, cells=120):
    """Mean of `norm(jacobian @ u)` over a grid of the cube, by midpoints."""
    line = radius * (2 * (np.arange(cells) + 0.5) / cells - 1)
    grid = np.stack(np.meshgrid(*[line] * jacobian.shape[1]), axis=-1)
    return np.linalg.norm(grid @ jacobian.T, axis=-1).mean()


# Statistics


def crossed_variance(values):
    """Variance of the mean of a two-way table, from its mean squares, by loops."""
    k, n = len(values), len(values[0])
    mean = sum(map(sum, values)) / (k * n)
    rows = [sum(row) / n for row in values]
    columns = [sum(row[j] for row in values) / k for j in range(n)]
    ms_rows = n * sum((r - mean) ** 2 for r in rows) / (k - 1)
    ms_columns = k * sum((c - mean) ** 2 for c in columns) / (n - 1)
    ms_residual = sum(
        (values[i][j] - rows[i] - columns[j] + mean) ** 2
        for i in range(k)
        for j in range(n)
    ) / ((k - 1) * (n - 1))
    return (ms_rows + ms_columns - ms_residual) / (k * n)


# Training


def loss_and_slope(name, outputs, targets):
    """Mean loss over the rows, and its derivative with respect to the outputs."""
    n = len(outputs)
    if name == "squared":
        gap = outputs - targets
        return 0.5 * (gap**2).sum() / n, gap / n
    if name == "logistic":
        margin = outputs * targets
        return np.log1p(np.exp(-margin)).sum() / n, -targets / (1 + np.exp(margin)) / n
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    loss = -(targets * np.log(shares)).sum() / n
    return loss, (shares * targets.sum(1, keepdims=True) - targets) / n


def descend(rate):
    """Gradient descent; `rate` is a number, or a function of the step."""

    def move(step, slopes, memory):
        now = rate(step) if callable(rate) else rate
        return [-now * g for g in slopes], memory

    return move


def heavy_ball(rate, momentum):
    """Gradient descent with momentum."""

    def move(step, slopes, memory):
        memory = memory or [0.0 * g for g in slopes]
        memory = [momentum * m + g for m, g in zip(memory, slopes, strict=True)]
        return [-rate * m for m in memory], memory

    return move


def adam(rate, b1=0.9, b2=0.999, eps=1e-8):
    """Adam with bias correction."""

    def move(step, slopes, memory):
        first, second = memory or ([0.0 * g for g in slopes],) * 2
        first = [b1 * m + (1 - b1) * g for m, g in zip(first, slopes, strict=True)]
        second = [
            b2 * m + (1 - b2) * g * g for m, g in zip(second, slopes, strict=True)
        ]
        c1, c2 = 1 - b1 ** (step + 1), 1 - b2 ** (step + 1)
        pairs = zip(first, second, strict=True)
        moves = [-rate * (m / c1) / (np.sqrt(v / c2) + eps) for m, v in pairs]
        return moves, (first, second)

    return move


def train_relu_network(weights, x, targets, *, loss, move, orders, batch_size):
    """Mini-batch training by hand-written back-propagation; `orders` one per epoch."""
    weights, memory, step, history = [w.copy() for w in weights], None, 0, []
    for order in orders:
        losses = []
        for start in range(0, len(x) - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            inputs, outputs = relu_network(weights, x[rows])
            value, slope = loss_and_slope(loss, outputs, targets[rows])
            slopes = [None] * len(weights)
            for layer in reversed(range(len(weights))):
                slopes[layer] = inputs[layer].T @ slope
                slope = (slope @ weights[layer].T) * (inputs[layer] > 0)
            moves, memory = move(step, slopes, memory)
            weights = [w + m for w, m in zip(weights, moves, strict=True)]
            losses.append(value)
            step += 1
        history.append(np.mean(losses))
    return weights, np.array(history)
