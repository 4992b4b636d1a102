r"""Balls in which a kernel predictor provably keeps its decision.

A function of norm $\|f\|_H$ obeys $|f(x) - f(x')| \le \|f\|_H\,d_k(x, x')$ with
$d_k(x, x')^2 = k(x, x) + k(x', x') - 2 k(x, x')$, the distance of the two inputs in the
kernel's space of features. Along a line in the direction $v$ features move at the speed
$(\partial_v \partial_{v'} k)^{1/2}$ at $x = x'$, and this motion changes at the rate
$(\partial_v^2 \partial_{v'}^2 k)^{1/2}$. Let $\Lambda$ and $Q$ be the largest of these
two squares over $v$. They depend on $|x|$ only, and a point at the distance $s$ from
$x$ has a norm within $s$ of $|x|$; with $\bar\Lambda(s)$, $\bar Q(s)$ the maxima over
such norms, all $|x' - x| \le r$ obey

$$|f(x') - f(x)| \le \int_0^r \min\Big(\|f\|_H \bar\Lambda(s)^{1/2},\;
  |\nabla f(x)| + \|f\|_H \int_0^s \bar Q(s')^{1/2} ds'\Big)\,ds.$$

The second term, for smooth kernels, is what a penalty on the gradient makes small. The
maxima are bounded cell by cell on a grid of norms, the integrals by upper sums. Within
a cell, $\Lambda$ and $Q$ are taken to exceed their ends by no more than twice what the
curvature that their neighbours show allows: this, and rounding, are allowed for and not
proven.
"""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import (
    check_count,
    check_kind,
    check_positive,
    check_rows,
    finite_inputs,
)
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.jacobian.block import Kind
from widelimit.layers import AbstractLayer
from widelimit.prediction.gradient_covariance import own_bends, own_blocks
from widelimit.prediction.predictor import KernelPredictor, new_inputs

ROUNDING = 1e-12  # relative error of a kernel and of a sum over it
ROWS = 2048  # inputs whose tables are held at once


class CertifiedRadius(eqx.Module):
    """What is certain about some inputs.

    Attributes:
        radius: Within that l2 distance no input is decided otherwise; 0 where nothing
            is certain.
        margin: How far the decision is from being another, in the units of `f`.
        norm: Norm of the function that decides.
        max_radius: Largest radius that was tried; more may be certain.
    """

    radius: Float[np.ndarray, " n"]
    margin: Float[np.ndarray, " n"]
    norm: Float[np.ndarray, " n"]
    max_radius: float


def certified_radius(
    predictor: KernelPredictor,
    x: ArrayLike,
    *,
    threshold: float | Float[np.ndarray, " n"] = 0.0,
    max_radius: float | None = None,
    cells: int = 1024,
    curvature: bool = True,
) -> CertifiedRadius:
    r"""Radius of a ball in which a kernel predictor keeps its decision.

    The largest $r$ for which the bound above on $|f(x') - f(x)|$ stays within
    $|f(x) - \text{threshold}|$; with several outputs, the least over the others $j$ of
    that of $f_{\max} - f_j$ with its own norm and gradient. All inputs of the ball
    count, not those of the unit sphere alone.

    Args:
        predictor: The function, such as `RobustFlow.predictor` gives.
        x: Inputs, one per row.
        threshold: Where the decision of a single output changes; one number, or one
            for every input.
        max_radius: Where to stop; the largest norm of `x` if `None`.
        cells: Cells of the grid of norms. More cost time and certify a little more.
        curvature: Whether to use the second term, which takes fourth derivatives of the
            kernel. It certifies several times more, and is compiled once per network,
            for up to half a minute. Kernels with kinks do without.

    Returns:
        Radii, margins and norms.

    Raises:
        ValueError: If inputs do not fit, or a number is out of range.
    """
    caller = "certified_radius"
    check_kind(
        caller,
        "predictor",
        predictor,
        KernelPredictor,
        "robust_flow(network, x, y).predictor()",
    )
    rows = new_inputs(caller, x, predictor.x.shape[1])
    threshold = _checked_threshold(caller, threshold, len(rows))
    if not predictor.single and threshold.any():
        raise ValueError(
            f"`{caller}` needs `threshold=0` for several outputs, whose largest "
            f"decides. Got `threshold={threshold[0]}`."
        )
    table = _Table(
        caller, predictor.network, rows, predictor.kind, max_radius, cells, curvature
    )
    cases = _decisions(predictor, rows, threshold)
    radii = np.stack([table.radii(*case) for case in cases])
    least, all_rows = radii.argmin(axis=0), np.arange(len(rows))
    margin, norm = (np.stack([c[i] for c in cases])[least, all_rows] for i in (0, 1))
    return CertifiedRadius(radii[least, all_rows], margin, norm, table.max_radius)


def feature_distance(
    network: AbstractLayer,
    x: ArrayLike,
    radius: float,
    *,
    kind: Kind = "ntk",
    cells: int = 1024,
) -> Float[np.ndarray, " n"]:
    r"""A bound $D(r)$ on how far features move within a ball.

    $d_k(x, x')^2 = k(x, x) + k(x', x') - 2 k(x, x')$ is at most its square for all
    $|x' - x| \le r$.

    Args:
        network: Description of a fully-connected network.
        x: Inputs, one per row.
        radius: $r$, in the units of `x`.
        kind: `"nngp"` or `"ntk"`.
        cells: Cells of the grid of norms.

    Returns:
        One bound per input.

    Raises:
        ValueError: If inputs do not fit, or a number is out of range.
    """
    caller = "feature_distance"
    rows = finite_inputs(caller, "x", x, "float64")
    check_rows(caller, "x", rows)
    check_positive(caller, "radius", radius)
    return _Table(caller, network, rows, kind, radius, cells, False).distances()


Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _checked_threshold(
    caller: str, threshold: Any, rows: int
) -> Float[np.ndarray, " n"]:
    """One finite threshold for every input."""
    given = np.asarray(threshold, dtype=float)
    if given.shape not in {(), (rows,)} or not np.isfinite(given).all():
        raise ValueError(
            f"`{caller}` needs a finite `threshold`, one number or one for each of the "
            f"{rows} inputs. Got `threshold={threshold}`."
        )
    return np.broadcast_to(given, (rows,))


def _decisions(
    f: KernelPredictor,
    x: Float[np.ndarray, "m d"],
    threshold: Float[np.ndarray, " m"],
) -> list[Case]:
    """For each rival: margins, norms, norms of gradients, and allowances."""
    features = x.shape[1]
    every = np.linalg.norm(np.concatenate([f.x, x]), axis=1)
    own = own_blocks("certified_radius", f.network, every, features, f.kind)
    lengths, speeds = (np.sqrt(np.maximum(a, 0)) for a in (own.value, own.largest))
    n = len(f.x)
    sizes = np.linalg.norm(f.weights[:, 1:], axis=1) * speeds[:n, None]
    sizes = np.sum(lengths[:n, None] * np.abs(f.weights[:, 0]) + sizes, axis=0)
    there = f.at(x)
    squares = np.diagonal(f.gram)

    def case(margin, gradient, square, size) -> Case:
        norm = np.sqrt(np.maximum(square, 0.0) + ROUNDING * size**2)
        slope = np.linalg.norm(gradient, axis=-1) + ROUNDING * size * speeds[n:]
        return (
            margin,
            np.broadcast_to(norm, len(x)),
            slope,
            ROUNDING * size * lengths[n:],
        )

    if f.single:
        margin = np.abs(there.values - threshold)
        return [case(margin, there.gradients, squares[0], sizes[0])]
    rows, top = np.arange(len(x)), np.argmax(there.values, axis=1)
    value, gradient = there.values[rows, top], there.gradients[rows, top]
    cases = []
    for j in range(len(squares)):
        margin = np.where(top == j, np.inf, value - there.values[:, j])
        square = squares[j] + squares[top] - 2 * f.gram[top, j]
        rest = gradient - there.gradients[:, j]
        cases.append(case(margin, rest, square, sizes[j] + sizes[top]))
    return cases


class _Table:
    """Bounds on the motion of features away from some inputs, on a grid of radii."""

    def __init__(
        self,
        caller: str,
        network: AbstractLayer,
        x: Float[np.ndarray, "m d"],
        kind: Kind,
        max_radius: float | None,
        cells: int,
        bends: bool,
    ):
        check_count(caller, "cells", cells, 8)
        self.norms = np.linalg.norm(x, axis=1)
        largest = float(self.norms.max())
        if max_radius is None:
            max_radius = largest or 1.0
        check_positive(caller, "max_radius", max_radius)
        self.max_radius = float(max_radius)
        self.step = (largest + self.max_radius) / cells
        nodes = self.step * np.arange(cells + 1)
        own = own_blocks(caller, network, nodes, x.shape[1], kind)
        self.speed = np.sqrt(np.maximum(_over(own.along), _over(own.across)))
        self.bend = None
        if bends and not has_kinks(network):
            self.bend = np.sqrt(_over(own_bends(network, nodes, x.shape[1], kind)))
        self.steps = int(np.ceil(self.max_radius / self.step))

    def distances(self) -> Float[np.ndarray, " m"]:
        """The first bound for a function of norm 1, at the largest radius."""
        rest = self.max_radius - (self.steps - 1) * self.step
        found = [
            self.step * np.sum(speeds[:, :-1], axis=1) + rest * speeds[:, -1]
            for part in self._parts()
            for speeds in [self._largest(self.speed, part)]
        ]
        return np.concatenate(found)

    def radii(
        self,
        margin: Float[np.ndarray, " m"],
        norm: Float[np.ndarray, " m"],
        slope: Float[np.ndarray, " m"],
        allowance: Float[np.ndarray, " m"],
    ) -> Float[np.ndarray, " m"]:
        """The largest radii where the bound is within the margin less an allowance."""
        found = []
        for part in self._parts():
            size, start = norm[part, None], slope[part, None]
            gain = size * self._largest(self.speed, part)  # over its length
            if self.bend is not None:
                bends = size * self._largest(self.bend, part) * self.step
                turned = np.cumsum(bends, axis=1) - bends / 2
                gain = np.minimum(gain, start + turned)
            # Within a step both are convex, so that the lower chord is above them.
            bound = np.cumsum(self.step * gain, axis=1)
            budget = np.maximum(margin[part] - allowance[part], 0.0)[:, None]
            done = np.sum(bound <= budget, axis=1)  # whole steps
            rows, last = np.arange(len(done)), np.minimum(done, self.steps - 1)
            before = np.where(done > 0, bound[rows, np.maximum(done - 1, 0)], 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                rest = (budget[:, 0] - before) / gain[rows, last]
            found.append(self.step * done + np.where(done == self.steps, 0.0, rest))
        return np.minimum(np.concatenate(found), self.max_radius) * (1 - ROUNDING)

    def _parts(self) -> Iterator[slice]:
        for start in range(0, len(self.norms), ROWS):
            yield slice(start, start + ROWS)

    def _largest(
        self, table: Float[np.ndarray, " c"], part: slice
    ) -> Float[np.ndarray, "m k"]:
        """Maxima over the norms that can be met until the end of every step."""
        cells = len(table)
        k = np.arange(1, self.steps + 1)
        here = np.floor(self.norms[part] / self.step).astype(int)
        here = np.minimum(here, cells - 1)[:, None]
        # After k steps, norms are within k cells of that where it began.
        inner = table[np.maximum(here - k, 0)]
        outer = table[np.minimum(here + k, cells - 1)]
        largest = np.maximum(np.maximum(inner, outer), table[here])
        return np.maximum.accumulate(largest, axis=1)


def _over(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " c"]:
    """A bound on an even function in every cell, from its values at the nodes.

    A function exceeds both ends of a cell by at most an eighth of its largest second
    difference; a quarter of that of the four nearest nodes is allowed.

    Args:
        values: Its values at equidistant nodes, from zero on.

    Returns:
        One bound for every cell.
    """
    padded = np.concatenate([values[2:0:-1], values, values[-1:], values[-1:]])
    bends = np.abs(padded[:-2] - 2 * padded[1:-1] + padded[2:])
    bends[-2:] = bends[-3]
    # Node j has the number j + 1 here; the cell's neighbours are j - 1 to j + 2.
    cells = len(values) - 1
    near = np.max([bends[i : i + cells] for i in range(4)], axis=0)
    ends = np.maximum(values[:-1], values[1:])
    return np.maximum(ends, 0) * (1 + ROUNDING) + near / 4
