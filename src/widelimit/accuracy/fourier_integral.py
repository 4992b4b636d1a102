r"""Means of smooth even functions of a Gaussian pair, from their Fourier transforms.

If $F$ is the transform of $f''$ then, in the sense of Hadamard's finite part,

$$E[f^{(i)}(u)\,f^{(j)}(v)] = \frac{(-1)^{(i+j)/2}}{4\pi^2} \iint
  F(s)\, s^{i-2}\, F(t)\, t^{j-2}\, e^{-(p s^2 + 2 c s t + q t^2) / 2}\,ds\,dt.$$

The exponent is $-w^2/2 - (pq - c^2)\,t^2 / 2p$ with $w = \sqrt p\,(s + c t / p)$: the
inner integral runs over $w$, the outer one over $\log t$. Both take the trapezoidal
rule with nodes half a step away from zero. It is right for $1/s$ as it stands, and adds
$\pi^2/h$ times the residue for $1/s^2$; the error falls like $e^{-2\pi a/h}$ with the
distance $a$ of singularities. Any variance above 0.1 or so will do.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import mpmath
import numpy as np

from widelimit.accuracy.fixed_point import ONE, div, fixed, floating, mul
from widelimit.accuracy.real import Real

NATS = 50 * math.log(10)  # the sums are cut at 50 digits
REACH = math.sqrt(2 * NATS)  # where the Gaussian density is that small

Orders = tuple[int, int]
Transform = Callable[[Any, Any], Any]
r"""$F(s) / s^2$ as a function of $s > 0$ or $s < 0$, and $e^{\pi s}$."""


def softplus_transform(s, x):
    r"""For $f = \log(2\cosh(z/2))$: $F = \pi s / \sinh \pi s$."""
    return div(2 * mul(_pi(), x), mul(s, mul(x, x) - ONE))


def silu_transform(s, x):
    r"""For $f = z \tanh(z/2) / 2$: $F = (\pi s)^2 \cosh(\pi s) / \sinh(\pi s)^2$."""
    del s
    square, pi = mul(x, x), _pi()
    below = mul(square - ONE, square - ONE)
    return div(2 * mul(mul(mul(pi, pi), x), square + ONE), below)


def pair_means(
    transform: Transform,
    orders: Collection[Orders],
    c: Real,
    p: Real,
    q: Real,
) -> dict[Orders, Real]:
    r"""$E[f^{(i)}(u)\,f^{(j)}(v)]$ for pairs $(i, j)$ of orders.

    Args:
        transform: Transform of $f''$, with poles at $\pm i, \pm 2i, \dots$.
        orders: Orders of the derivatives, both even or both odd, at most 4.
        c: Covariance.
        p: Variance of $u$.
        q: Variance of $v$.

    Returns:
        The means.
    """
    if q > p:
        swapped = pair_means(transform, [(j, i) for i, j in orders], c, q, p)
        return {(i, j): swapped[j, i] for i, j in orders}
    inner = _Inner(transform, c, p)
    spread = (p * q - c * c) / p
    # With t = scale * sinh(tau), every feature is about one wide in tau.
    step, scale = mpmath.mpf(math.pi**2 / 2 / NATS), 1 / mpmath.sqrt(max(q, 1))
    t, jacobian = [], []
    while not t or mpmath.pi * t[-1] + spread * t[-1] ** 2 / 2 < NATS + 20:
        tau = (len(t) + mpmath.mpf(1) / 2) * step
        t.append(scale * mpmath.sinh(tau))
        jacobian.append(2 * step * scale * mpmath.cosh(tau))  # both halves of the line
    weights = transform(fixed(t), fixed(mpmath.exp(mpmath.pi * x) for x in t))
    weights = [
        floating(w) * mpmath.exp(-spread * x * x / 2) * d
        for w, x, d in zip(weights, t, jacobian, strict=True)
    ]
    sums = [inner(x) for x in t]
    middle = inner(mpmath.mpf(0))
    means = {}
    for i, j in orders:
        total = mpmath.fsum(
            w * x**j * s[i] for w, x, s in zip(weights, t, sums, strict=True)
        )
        if j == 0:
            total -= mpmath.pi**2 / (step * scale) * middle[i]
        means[i, j] = (-1) ** ((i + j) // 2) * total / (4 * mpmath.pi**2)
    return means


class _Inner:
    r"""$\int F(s)\,s^{i-2}\,e^{-w^2/2}\,ds$ as a function of $t$, for $i$ up to 4."""

    def __init__(self, transform: Transform, c: Real, p: Real) -> None:
        self.transform = transform
        self.deviation: Real = mpmath.sqrt(p)
        self.slope = c / self.deviation
        # The density has no singularity, but grows off the real axis.
        width = min(2 * math.pi * float(self.deviation), math.pi * math.sqrt(2 * NATS))
        self.h = mpmath.mpf(width / NATS)
        self.half = math.ceil(REACH / self.h)
        n = range(-self.half, self.half + 1)
        self.offsets = np.array(n, dtype=object)
        self.density = fixed(mpmath.exp(-((self.h * k) ** 2) / 2) for k in n)
        self.growth = _powers(
            mpmath.exp(mpmath.pi * self.h / self.deviation), self.half
        )

    def __call__(self, t: Real) -> list[Real]:
        # Nodes w = slope * t - s * deviation, with s at odd multiples of half a step.
        nearest: Real = mpmath.floor(self.slope * t / self.h)
        center = int(nearest)
        first = (center + mpmath.mpf(1) / 2) * self.h
        rest = first - self.slope * t
        unit = self.h / self.deviation
        s = fixed([unit])[0] * (2 * (self.offsets + center) + 1) >> 1
        x = mul(self.growth, fixed([mpmath.exp(mpmath.pi * first / self.deviation)])[0])
        tilt = _powers(mpmath.exp(-rest * self.h), self.half)
        terms = mul(mul(self.transform(s, x), self.density), tilt)
        factor, sums = unit * mpmath.exp(-rest * rest / 2), []
        for _ in range(5):
            sums.append(factor * floating(terms.sum()))
            terms = mul(terms, -s)  # the nodes are at minus s
        sums[0] -= mpmath.pi**2 / unit * mpmath.exp(-((self.slope * t) ** 2) / 2)
        return sums


def _powers(base: Real, half: int) -> np.ndarray:
    """Powers of a number from `-half` to `half`."""
    up, down = fixed([base, 1 / base])
    right, left = [ONE], [ONE]
    for _ in range(half):
        right.append(mul(right[-1], up))
        left.append(mul(left[-1], down))
    return np.array(left[:0:-1] + right, dtype=object)


def _pi() -> int:
    return fixed([mpmath.pi])[0]
