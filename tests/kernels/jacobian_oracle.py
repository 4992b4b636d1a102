"""Jacobian kernels in mpmath: a kernel of two vectors, and its central differences."""

import mpmath
import numpy as np

from widelimit.activations import Scaled
from widelimit.layers import (
    Activation,
    Dense,
    Parameterization,
    Readout,
    Residual,
    Scale,
    Sequential,
)

DIGITS = 90
STEP = mpmath.mpf(10) ** -20  # of differences, whose error is its square
NUDGE = mpmath.mpf(10) ** -16  # in place of x = x', where kinks have no differences


class Erf:
    def dual(self, c, p, q):
        size = mpmath.sqrt((1 + 2 * p) * (1 + 2 * q))
        return 2 / mpmath.pi * mpmath.asin(2 * c / size)

    def slope(self, c, p, q):
        return 4 / mpmath.pi / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c * c)

    def mean(self, q):
        return mpmath.mpf(0)


class GELU:
    """By Stein's lemma from the mean of two normal distribution functions."""

    def parts(self, c, p, q):
        P, Q = 1 + p, 1 + q
        H = mpmath.sqrt(P * Q - c * c)
        both = 0.25 + mpmath.asin(c / mpmath.sqrt(P * Q)) / (2 * mpmath.pi)
        return both, P, Q, 2 * mpmath.pi * H, H * H

    def dual(self, c, p, q):
        both, P, Q, b, _ = self.parts(c, p, q)
        return c * both + (p * q + c * c) / b - c * c * (p / P + q / Q) / b

    def slope(self, c, p, q):
        both, P, Q, b, D = self.parts(c, p, q)
        return both + c / b * (1 / P + 1 / Q + 1 / D)

    def mean(self, q):
        return q / mpmath.sqrt(2 * mpmath.pi * (1 + q))


class Rectifier:
    """The larger of `z` and `a z`; its NTK is not asked for."""

    def __init__(self, a):
        self.a = mpmath.mpf(a)

    def dual(self, c, p, q):
        r = mpmath.sqrt(p * q)
        theta = mpmath.acos(min(max(c / r, -1), 1))
        k = r * mpmath.sin(theta) + (mpmath.pi - theta) * c
        return self.a * c + (1 - self.a) ** 2 * k / (2 * mpmath.pi)

    def slope(self, c, p, q):
        return mpmath.nan

    def mean(self, q):
        return (1 - self.a) * mpmath.sqrt(q / (2 * mpmath.pi))


class Times:
    """A multiple of another."""

    def __init__(self, function, factor):
        self.function, self.factor = function, mpmath.mpf(factor)

    def dual(self, c, p, q):
        return self.factor**2 * self.function.dual(c, p, q)

    def slope(self, c, p, q):
        return self.factor**2 * self.function.slope(c, p, q)

    def mean(self, q):
        return self.factor * self.function.mean(q)


class State:
    """Covariance, variances, the two means, NTK, and the number of features."""

    def __init__(self, c, p, q, a, b, t, size):
        self.all = self.c, self.p, self.q, self.a, self.b, self.t, self.size = (
            *map(mpmath.mpf, (c, p, q, a, b, t)),
            size,
        )


def behind(layer, phi, s):
    """The state behind a layer whose activations are multiples of `phi`."""
    c, p, q, a, b, t, size = s.all
    if isinstance(layer, Sequential):
        for part in layer.layers:
            s = behind(part, phi, s)
        return s
    if isinstance(layer, Residual):
        x = behind(layer.branch, phi, s)
        y = s if layer.shortcut is None else behind(layer.shortcut, phi, s)
        c, p, q = (
            x.c + y.c + x.a * y.b + y.a * x.b,
            x.p + y.p + 2 * x.a * y.a,
            x.q + y.q + 2 * x.b * y.b,
        )
        # What the layers in front have gathered reaches both ends.
        return State(c, p, q, x.a + y.a, x.b + y.b, x.t + y.t, x.size)
    if isinstance(layer, Activation):
        if isinstance(layer.function, Scaled):
            phi = Times(phi, layer.function.factor)
        t = t * phi.slope(c, p, q) if t else t
        moments = (phi.dual(*m) for m in ((c, p, q), (p, p, p), (q, q, q)))
        return State(*moments, phi.mean(p), phi.mean(q), t, size)
    if isinstance(layer, Scale):
        f = mpmath.mpf(layer.factor)
        return State(*(f * f * v for v in (c, p, q)), f * a, f * b, f * f * t, size)
    if isinstance(layer, Readout):
        v = mpmath.mpf(layer.scale) ** 2
        return State(v * c, v * p, v * q, 0, 0, v * t, layer.outputs)
    assert isinstance(layer, Dense)
    s2, w2, b2 = (
        mpmath.mpf(v or 0) ** 2 for v in (layer.scale, layer.weight_std, layer.bias_std)
    )
    trained = layer.bias_std is not None
    if layer.parameterization is Parameterization.NTK:
        v, slope, bias = s2 * w2, s2 * w2, s2 * b2
    elif layer.parameterization is Parameterization.DIRECT:
        v, slope, bias = s2 * w2 * size, s2 * size, s2 * trained
    else:
        v, slope, bias = s2 * w2, s2 * size, s2 * trained
    moments = (v * m + s2 * b2 for m in (c, p, q))
    return State(*moments, 0, 0, v * t + slope * c + bias, layer.features)


def kernel(network, phi, kind):
    """The NNGP kernel or NTK of a network, of the inner products of its inputs."""

    def k(a, b, c, d):
        s = behind(network, phi, State(c / d, a / d, b / d, 0, 0, 0, d))
        return s.t if kind == "ntk" else s.c

    return k


def block(k, x, y, *, nudge=False):
    """The values and derivatives of a kernel at two vectors of floats."""
    with mpmath.workdps(DIGITS):
        x, y = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        if nudge and x == y:
            y = [v + NUDGE * (i - 0.3) for i, v in enumerate(y)]

        def at(x, y):
            return k(*(mpmath.fdot(u, v) for u, v in ((x, x), (y, y), (x, y))), len(x))

        def moved(row, i, steps):
            return [v + steps * STEP * (j == i - 1) for j, v in enumerate(row)]

        def entry(i, j):
            ends = [
                s * t * at(moved(x, i, s), moved(y, j, t))
                for s in ((1, -1) if i else (1,))
                for t in ((1, -1) if j else (1,))
            ]
            return mpmath.fsum(ends) / (2 * STEP) ** ((i > 0) + (j > 0))

        size = range(len(x) + 1)
        return np.array([[float(entry(i, j)) for j in size] for i in size])


NUMBERS = {
    "k": (0, 0, 0),
    "k_a": (1, 0, 0),
    "k_b": (0, 1, 0),
    "k_c": (0, 0, 1),
    "k_ab": (1, 1, 0),
    "k_ac": (1, 0, 1),
    "k_bc": (0, 1, 1),
    "k_cc": (0, 0, 2),
}


def numbers(k, x, y):
    """The kernel and its derivatives by the inner products, by name."""
    with mpmath.workdps(DIGITS):
        x, y = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        at = [mpmath.fdot(u, v) for u, v in ((x, x), (y, y), (x, y))]
        return {
            name: float(mpmath.diff(lambda *z: k(*z, len(x)), at, orders))
            for name, orders in NUMBERS.items()
        }
