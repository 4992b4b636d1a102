"""Jacobian kernels in mpmath: a kernel of two vectors, differentiated by differences."""

import mpmath
import numpy as np

DIGITS = 90
STEP = mpmath.mpf(10) ** -20  # of differences, whose error is its square
NUDGE = mpmath.mpf(10) ** -16  # in place of x = x', where kinks have no differences


def erf_duals():
    def dual(c, p, q):
        return (
            2 / mpmath.pi * mpmath.asin(2 * c / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q)))
        )

    def slope(c, p, q):
        return 4 / mpmath.pi / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c * c)

    return dual, slope


def gelu_duals():
    """By Stein's lemma from the mean of two normal distribution functions."""

    def parts(c, p, q):
        P, Q = 1 + p, 1 + q
        H = mpmath.sqrt(P * Q - c * c)
        both = 0.25 + mpmath.asin(c / mpmath.sqrt(P * Q)) / (2 * mpmath.pi)
        return both, P, Q, 2 * mpmath.pi * H, H * H

    def dual(c, p, q):
        both, P, Q, b, _ = parts(c, p, q)
        return c * both + (p * q + c * c) / b - c * c * (p / P + q / Q) / b

    def slope(c, p, q):
        both, P, Q, b, D = parts(c, p, q)
        return both + c / b * (1 / P + 1 / Q + 1 / D)

    return dual, slope


def rectifier_dual(a):
    def dual(c, p, q):
        r = mpmath.sqrt(p * q)
        theta = mpmath.acos(min(max(c / r, -1), 1))
        k = r * mpmath.sin(theta) + (mpmath.pi - theta) * c
        return a * c + (1 - a) ** 2 * k / (2 * mpmath.pi)

    return dual, None


def kernel(duals, *, depth, kind, weight_std, bias_std, factor=1.0, divisor=None):
    """NNGP kernel or NTK of a multilayer perceptron, of two vectors.

    `factor` multiplies the activation; `divisor` of the inputs' products is their
    length if it is left out.
    """
    dual, slope = duals
    w2, b2, s2 = (mpmath.mpf(v) ** 2 for v in (weight_std, bias_std or 0, factor))

    def k(x, y):
        d = divisor or len(x)
        c, p, q = (w2 * mpmath.fdot(u, v) / d + b2 for u, v in ((x, y), (x, x), (y, y)))
        t = c
        for _ in range(depth):
            rise = s2 * slope(c, p, q) if kind == "ntk" else 0
            moments = ((c, p, q), (p, p, p), (q, q, q))
            c, p, q = (w2 * s2 * dual(*m) + b2 for m in moments)
            t = c + w2 * rise * t
        return t if kind == "ntk" else c

    return k


def block(k, x, y):
    """The values and derivatives of a kernel at two vectors of floats."""
    with mpmath.workdps(DIGITS):
        x, y = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        if x == y:
            y = [v + NUDGE * (i - 0.3) for i, v in enumerate(y)]

        def moved(row, i, steps):
            return [v + steps * STEP * (j == i - 1) for j, v in enumerate(row)]

        def entry(i, j):
            ends = [
                s * t * k(moved(x, i, s), moved(y, j, t))
                for s in ((1, -1) if i else (1,))
                for t in ((1, -1) if j else (1,))
            ]
            return mpmath.fsum(ends) / (2 * STEP) ** ((i > 0) + (j > 0))

        size = range(len(x) + 1)
        return np.array([[float(entry(i, j)) for j in size] for i in size])
