r"""Kernels of infinitely wide networks in mpmath, with a derivative by one input.

The recursion over layers, one pair at a time, for inputs exactly as given:

$$K^{l+1} = \sigma_w^2\, E[\phi(u)\phi(v)] + \sigma_b^2, \quad
  \Theta^{l+1} = K^{l+1} + \sigma_w^2\, E[\phi'(u)\phi'(v)]\, \Theta^l,$$

and likewise for residual networks, whose features may keep a mean $b$. Numbers carry
their derivative along a direction of the first input, by the chain rule.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mpmath

from widelimit.accuracy.closed_forms import Partials
from widelimit.accuracy.real import Real

Mean = Callable[[Real], tuple[Real, Real]]
r"""$E\,\phi(v)$ and its derivative, from the variance."""

BY_C, BY_P, BY_Q = (1, 0, 0), (0, 1, 0), (0, 0, 1)


class Jet(NamedTuple):
    """A number and its derivative."""

    value: Real
    slope: Real

    def __add__(self, other) -> "Jet":  # pyright: ignore[reportIncompatibleMethodOverride]
        other = _jet(other)
        return Jet(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other) -> "Jet":  # pyright: ignore[reportIncompatibleMethodOverride]
        other = _jet(other)
        slope = self.value * other.slope + self.slope * other.value
        return Jet(self.value * other.value, slope)


class State(NamedTuple):
    r"""What a layer hands on for one pair of inputs.

    Attributes:
        cross: $K(x, x')$.
        first: $K(x, x)$.
        second: $K(x', x')$.
        ntk: $\Theta(x, x')$.
        mean_first: $b(x)$.
        mean_second: $b(x')$.
        ntk_first: $\Theta(x, x)$.
        ntk_second: $\Theta(x', x')$.
        steepness: Squared slope of a feature along the direction, as the product of
            the layers' mean squared slopes.
    """

    cross: Jet
    first: Jet
    second: Jet
    ntk: Jet
    mean_first: Jet
    mean_second: Jet
    ntk_first: Real
    ntk_second: Real
    steepness: Real

    @property
    def scales(self) -> tuple[Real, Real, Real, Real]:
        r"""Natural sizes of $K$, $\Theta$, and of their derivatives."""
        variance = mpmath.sqrt(self.first.value * self.second.value)
        tangent = mpmath.sqrt(self.ntk_first * self.ntk_second)
        rate = mpmath.sqrt(self.steepness / self.first.value)
        return variance, tangent, rate * variance, rate * tangent


def inputs(x: Sequence[float], y: Sequence[float], along: Sequence[float]) -> State:
    r"""$K = \langle x, x' \rangle / d$ of two inputs, and no tangent kernel yet.

    Args:
        x: First input.
        y: Second input.
        along: Direction in which the first one moves.

    Returns:
        The state before the first layer.
    """
    a, b, t = ([mpmath.mpf(float(v)) for v in row] for row in (x, y, along))
    d, zero = len(a), Jet(mpmath.mpf(0), mpmath.mpf(0))
    return State(
        cross=Jet(mpmath.fdot(a, b) / d, mpmath.fdot(t, b) / d),
        first=Jet(mpmath.fdot(a, a) / d, 2 * mpmath.fdot(a, t) / d),
        second=Jet(mpmath.fdot(b, b) / d, mpmath.mpf(0)),
        ntk=zero,
        mean_first=zero,
        mean_second=zero,
        ntk_first=mpmath.mpf(0),
        ntk_second=mpmath.mpf(0),
        steepness=mpmath.fdot(t, t) / d,
    )


def dense(s: State, weight_std: float, bias_std: float) -> State:
    """A dense layer in the NTK parameterization, weights and biases trained.

    Args:
        s: State of its input.
        weight_std: Standard deviation of weights, times the root of the fan-in.
        bias_std: Standard deviation of biases.

    Returns:
        The state of its output, Gaussian with mean zero.
    """
    w2, b2 = mpmath.mpf(weight_std) ** 2, mpmath.mpf(bias_std) ** 2
    zero = Jet(mpmath.mpf(0), mpmath.mpf(0))
    cross, first, second = (k * w2 + b2 for k in (s.cross, s.first, s.second))
    return State(
        cross=cross,
        first=first,
        second=second,
        ntk=s.ntk * w2 + cross,
        mean_first=zero,
        mean_second=zero,
        ntk_first=s.ntk_first * w2 + first.value,
        ntk_second=s.ntk_second * w2 + second.value,
        steepness=s.steepness * w2,
    )


def activate(s: State, partials: Partials, mean: Mean | None = None) -> State:
    """An activation.

    Args:
        s: State of its input, Gaussian.
        partials: Partial derivatives of the dual.
        mean: The Gaussian mean; without it, means are left out.

    Returns:
        The state of its output.
    """
    moments = (s.cross, s.first, s.second)
    slopes = ((2, 0, 0), (1, 1, 0), (1, 0, 1))
    orders = ((0, 0, 0), BY_C, BY_P, BY_Q, *slopes)
    found = partials(s.cross.value, s.first.value, s.second.value, orders)
    cross = Jet(found[0, 0, 0], _chain(found, (BY_C, BY_P, BY_Q), moments))
    derivative = Jet(found[BY_C], _chain(found, slopes, moments))
    zero = Jet(mpmath.mpf(0), mpmath.mpf(0))
    first, slope_first = _second_moments(partials, s.first)
    second, slope_second = _second_moments(partials, s.second)
    return State(
        cross=cross,
        first=first,
        second=second,
        ntk=derivative * s.ntk,
        mean_first=_mean(mean, s.first) if mean else zero,
        mean_second=_mean(mean, s.second) if mean else zero,
        ntk_first=s.ntk_first * slope_first,
        ntk_second=s.ntk_second * slope_second,
        steepness=s.steepness * slope_first,
    )


def disturb(s: State, unit: float, draw: Callable[[], float], by_angle: bool) -> State:
    r"""The state after relative changes of its numbers by up to a unit of rounding.

    Args:
        s: The state.
        unit: The largest relative change.
        draw: Gives random numbers between -1 and 1.
        by_angle: Whether to change the angle between the features instead of $c$, as
            for a method that stores angles.

    Returns:
        The state that rounding might have left.
    """

    def shake(x: Real) -> Real:
        return x * (1 + mpmath.mpf(unit) * mpmath.mpf(draw()))

    first, second, ntk = (
        Jet(shake(k.value), shake(k.slope)) for k in (s.first, s.second, s.ntk)
    )
    cross = shake(s.cross.value)
    side = 1 if cross > 0 else -1
    before = mpmath.sqrt(s.first.value * s.second.value)
    most = mpmath.sqrt(first.value * second.value)
    if by_angle and before:
        distance = (before - abs(s.cross.value)) / before  # 1 - cos, below at most 0
        angle = 2 * mpmath.asin(mpmath.sqrt(max(distance, mpmath.mpf(0)) / 2))
        cross = side * most * mpmath.cos(shake(angle))
    elif abs(cross) > most:  # no pair has such moments: as far on the other side
        cross = side * (2 * most - abs(cross))
    moved = Jet(cross, shake(s.cross.slope))
    return s._replace(cross=moved, first=first, second=second, ntk=ntk)


def scale(s: State, factor: float) -> State:
    """A multiple of the features.

    Args:
        s: State of the features.
        factor: The factor.

    Returns:
        The state of the multiple.
    """
    a = mpmath.mpf(factor)
    linear = {"mean_first", "mean_second"}
    fields = s._asdict().items()
    return s._replace(**{n: k * (a if n in linear else a**2) for n, k in fields})


def add(s: State, t: State) -> State:
    """The sum of two features that are independent but for the inputs.

    Args:
        s: State of the one.
        t: State of the other.

    Returns:
        The state of the sum.
    """
    b, b_, e, e_ = s.mean_first, s.mean_second, t.mean_first, t.mean_second
    return State(
        cross=s.cross + t.cross + b * e_ + e * b_,
        first=s.first + t.first + b * e * 2,
        second=s.second + t.second + b_ * e_ * 2,
        ntk=s.ntk + t.ntk,
        mean_first=b + e,
        mean_second=b_ + e_,
        ntk_first=s.ntk_first + t.ntk_first,
        ntk_second=s.ntk_second + t.ntk_second,
        steepness=s.steepness + t.steepness,
    )


def _jet(x) -> Jet:
    return x if isinstance(x, Jet) else Jet(mpmath.mpf(x), mpmath.mpf(0))


def _chain(found, orders, moments) -> Real:
    # What does not move does not count, even if the derivative is infinite. Not fsum,
    # which is exact: numbers far apart in size would take megabytes.
    return sum(
        found[order] * m.slope
        for order, m in zip(orders, moments, strict=True)
        if m.slope
    )


def _second_moments(partials: Partials, v: Jet) -> tuple[Jet, Real]:
    """E phi(u)^2 with its derivative, and E phi'(u)^2."""
    orders = ((0, 0, 0), BY_C, BY_P, BY_Q) if v.slope else ((0, 0, 0), BY_C)
    found = partials(v.value, v.value, v.value, orders)
    slope = sum(found[o] for o in orders[1:]) * v.slope
    return Jet(found[0, 0, 0], slope), found[BY_C]


def _mean(mean: Mean, v: Jet) -> Jet:
    value, slope = mean(v.value)
    return Jet(value, slope * v.slope)
