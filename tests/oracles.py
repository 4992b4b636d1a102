"""Slow, obviously correct references that share no code with the library."""

import contextlib
import itertools
import math

import jaxtyping
import mpmath
import numpy as np
import scipy.special


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


# Gaussian duals


def exact_gap(c, p, q):
    """`p q - c^2` of three floats in mpmath; never negative."""
    c, p, q = (mpmath.mpf(float(m)) for m in (c, p, q))
    return max(p * q - c * c, mpmath.mpf(0))


def rectifier_duals(slope, c, p, q, gap=None):
    """Duals of a leaky rectifier and of its derivative, by integrals over the angle."""
    with mpmath.workdps(60):
        gap = exact_gap(c, p, q) if gap is None else gap
        c, p, q, a = (mpmath.mpf(float(m)) for m in (c, p, q, slope))
        same = mpmath.acos(-c / mpmath.sqrt(gap + c * c))  # opening where u, v > 0

        def ramps(opening):
            def product(x):
                return mpmath.sin(x) * mpmath.sin(opening - x)

            return mpmath.quad(product, [0, opening]) * mpmath.sqrt(p * q) / mpmath.pi

        other = mpmath.pi - same
        value = (1 + a * a) * ramps(same) - 2 * a * ramps(other)
        slopes = ((1 + a * a) * same + 2 * a * other) / (2 * mpmath.pi)
        return float(value), float(slopes)


def conditional_mean(f, mean_of_g, c, p, q):
    """E f(u) g(v) from the mean of `g(v)` given `u`: one integral over `u`."""
    with mpmath.workdps(25):
        gap = exact_gap(c, p, q)
        c, p = (mpmath.mpf(float(m)) for m in (c, p))
        deviation = mpmath.sqrt(p)

        def integrand(z):
            u = deviation * z
            return f(u) * mean_of_g(c / p * u, gap / p) * mpmath.npdf(z)

        knots = {mpmath.mpf(z) for z in (0, 1, 4, 12)}
        knots |= {x / deviation for x in (1, 4) if x < 12 * deviation}
        knots = sorted(knots | {-z for z in knots})
        return float(mpmath.quad(integrand, knots))


def gaussian_pair_mean(f, g, c, p, q):
    """E f(u) g(v) by quadrature in long doubles, for analytic f and g."""
    u, weights, inner = conditional_means(g, c, p, q)
    return float(np.sum(weights * f(u) * inner))


def conditional_means(g, c, p, q):
    """Nodes for u, their weights, and E g(v) given u there, for analytic g.

    By the trapezoidal rule in long doubles. Nodes crowd around zero by a hyperbolic
    sine, so that wide variances need no more.
    """
    with mpmath.workdps(50):
        deviation = mpmath.sqrt(exact_gap(c, p, q) / mpmath.mpf(float(p)))
        deviation = np.longdouble(mpmath.nstr(deviation, 25))
    c, p, q = (np.longdouble(m) for m in (c, p, q))
    u, du = crowded_nodes(p)
    weights = du * normal_density(u, np.sqrt(p))
    if deviation == 0:
        inner = g(c / p * u)
    elif deviation <= 5:
        z = np.arange(-9.5, 9.5, min(0.2, 0.2 / max(deviation, 0.1)))
        z = np.longdouble(z)
        inner = g(c / p * u[:, None] + deviation * z) @ normal_density(z, 1)
        inner = inner * (z[1] - z[0])
    else:
        v, dv = crowded_nodes(q)
        inner = normal_density(v - c / p * u[:, None], deviation) @ (dv * g(v))
    return u, weights, inner


def gaussian_mean(f, q):
    """E f(v) by the same rule, for analytic f."""
    v, dv = crowded_nodes(np.longdouble(q))
    return float(np.sum(dv * normal_density(v, np.sqrt(np.longdouble(q))) * f(v)))


def crowded_nodes(variance, step=0.02):
    """Nodes out to ten standard deviations, and the length that each stands for."""
    scale = min(np.sqrt(variance), np.longdouble(1))
    end = np.arcsinh(10 * np.sqrt(variance) / scale)
    t = np.arange(-end, end + step, np.longdouble(step))
    return scale * np.sinh(t), scale * np.cosh(t) * np.longdouble(step)


def normal_density(x, deviation):
    """Density of a centred normal variable."""
    return np.exp(-np.square(x / deviation) / 2) / (
        np.sqrt(2 * np.longdouble(math.pi)) * deviation
    )


def logistic_derivative(k, z):
    """Derivative of order `k` of the logistic function, -1 for its integral."""
    if k < 0:
        return np.logaddexp(np.longdouble(0), z)
    s, r = (np.exp(-np.logaddexp(np.longdouble(0), x)) for x in (-z, z))  # r = 1 - s
    return [
        s,
        s * r,
        s * r * (r - s),
        s * r * (1 - 6 * s * r),
        s * r * (r - s) * (1 - 12 * s * r),
    ][k]


def normal_derivative(k, z):
    """Derivative of order `k` of the normal distribution function."""
    if k == 0:
        return scipy.special.ndtr(np.float64(z)).astype(np.longdouble)
    hermite = np.polynomial.hermite_e.hermeval(z, [0] * (k - 1) + [1])
    return (-1) ** (k - 1) * hermite * normal_density(z, 1)


def wick(i, j, c, p, q):
    """E u^i v^j, one pairing at a time."""
    if i == 0:
        if j == 0:
            return 1
        return (j - 1) * q * wick(0, j - 2, c, p, q) if j > 1 else 0
    total = (i - 1) * p * wick(i - 2, j, c, p, q) if i > 1 else 0
    return total + (j * c * wick(i - 1, j - 1, c, p, q) if j else 0)
