r"""Balls in which a kernel predictor provably keeps its decision.

A function of norm $\|f\|_H$ obeys $|f(x) - f(x')| \le \|f\|_H\,d_k(x, x')$ with
$d_k(x, x')^2 = k(x, x) + k(x', x') - 2 k(x, x')$, the distance of the two inputs in the
kernel's space of features. Along a straight line features move at the speed
$\sqrt{v^\top G(x) v}$, $G(x) = \partial_x \partial_{x'} k$ at $x = x'$. Its largest
eigenvalue $\Lambda$ depends on $|x|$ only, and a point at the distance $s$ from $x$ has
a norm within $s$ of $|x|$. Hence

$$\sup_{|x' - x| \le r} d_k(x, x') \le D(r) = \int_0^r \max_{|\rho - |x|| \le s}
  \sqrt{\Lambda(\rho)}\,ds.$$

The maximum is bounded cell by cell on a grid of norms, and the integral by an upper
sum. Within a cell, $\Lambda$ is taken to exceed its ends by no more than twice what the
curvature that its neighbours show allows: this, and rounding, are allowed for and not
proven.
"""

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import check_count, check_positive, check_rows, finite_inputs
from widelimit.kernels.jacobian.block import Kind
from widelimit.layers import AbstractLayer
from widelimit.prediction.gradient_covariance import own_blocks
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
    threshold: float = 0.0,
    max_radius: float | None = None,
    cells: int = 1024,
) -> CertifiedRadius:
    r"""Radius of a ball in which a kernel predictor keeps its decision.

    The largest $r$ with $\|f\|_H\,D(r) \le |f(x) - \text{threshold}|$ (see the module's
    docstring); with several outputs, the least over the other outputs $j$ of that of
    $f_{\max} - f_j$ and its own norm. All inputs of the ball count, not those of the
    unit sphere alone.

    Args:
        predictor: The function, such as `RobustFlow.predictor` gives.
        x: Inputs, one per row.
        threshold: Where the decision of a single output changes.
        max_radius: Where to stop; the largest norm of `x` if `None`.
        cells: Cells of the grid of norms. More cost time and certify a little more.

    Returns:
        Radii, margins and norms.

    Raises:
        ValueError: If inputs do not fit, or a number is out of range.
    """
    caller = "certified_radius"
    rows = new_inputs(caller, x, predictor.x.shape[1])
    if not predictor.single and threshold:
        raise ValueError(
            f"`{caller}` needs `threshold=0` for several outputs, whose largest "
            f"decides. Got `threshold={threshold}`."
        )
    margin, norm, allowance = _decision(predictor, rows, threshold)
    with np.errstate(divide="ignore", invalid="ignore"):
        budget = np.where(margin > allowance, (margin - allowance) / norm, 0.0)
    least = np.argmin(budget, axis=1)[:, None]
    margin, norm, budget = (
        np.take_along_axis(a, least, axis=1)[:, 0] for a in (margin, norm, budget)
    )
    table = _Table(caller, predictor.network, rows, predictor.kind, max_radius, cells)
    return CertifiedRadius(table.radii(budget), margin, norm, table.max_radius)


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
    return _Table(caller, network, rows, kind, radius, cells).distances()


def _decision(
    f: KernelPredictor, x: Float[np.ndarray, "m d"], threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins, norms, and what rounding may take of the margins, for each rival."""
    features = x.shape[1]
    every = np.linalg.norm(np.concatenate([f.x, x]), axis=1)
    own = own_blocks("certified_radius", f.network, every, features, f.kind)
    lengths = np.sqrt(np.maximum(own.value, 0))[:, None]
    slopes = np.sqrt(own.largest)[: len(f.x), None]
    sizes = lengths[: len(f.x)] * np.abs(f.weights[:, 0])
    sizes = np.sum(sizes + slopes * np.linalg.norm(f.weights[:, 1:], axis=1), axis=0)
    reach = lengths[len(f.x) :]
    values = f(x).reshape(len(x), -1)
    squares = np.diagonal(f.gram)
    if f.single:
        norm = np.sqrt(squares + ROUNDING * sizes**2)
        margin = np.abs(values - threshold)
        return margin, np.broadcast_to(norm, margin.shape), ROUNDING * sizes * reach
    top = np.argmax(values, axis=1)
    margin = values[np.arange(len(x)), top][:, None] - values
    sums = sizes + sizes[top][:, None]
    norm = squares + squares[top][:, None] - 2 * f.gram[top]
    norm = np.sqrt(np.maximum(norm, 0.0) + ROUNDING * sums**2)
    margin[np.arange(len(x)), top] = np.inf  # its own rival is none
    return margin, norm, ROUNDING * sums * reach


class _Table:
    """Bounds on the distance of features from some inputs, on a grid of radii."""

    def __init__(
        self,
        caller: str,
        network: AbstractLayer,
        x: Float[np.ndarray, "m d"],
        kind: Kind,
        max_radius: float | None,
        cells: int,
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
        self.steps = int(np.ceil(self.max_radius / self.step))

    def distances(self) -> Float[np.ndarray, " m"]:
        """D at the largest radius."""
        found = []
        for speeds, before in self._parts():
            rest = self.max_radius - (self.steps - 1) * self.step
            found.append(before[:, -2] + rest * speeds[:, -1])
        return np.concatenate(found)

    def radii(self, budget: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The largest radii where D is within the budget."""
        found = []
        for number, (speeds, before) in enumerate(self._parts()):
            part = budget[number * ROWS :][: len(speeds), None]
            done = np.sum(before[:, 1:] <= part, axis=1)  # whole steps
            last = np.minimum(done, self.steps - 1)
            rows = np.arange(len(speeds))
            with np.errstate(divide="ignore", invalid="ignore"):
                rest = (part[:, 0] - before[rows, done]) / speeds[rows, last]
            rest = np.where(done == self.steps, 0.0, rest)
            found.append(self.step * done + rest)
        return np.minimum(np.concatenate(found), self.max_radius) * (1 - ROUNDING)

    def _parts(self):
        """Largest speeds in every step away from an input, and their integrals."""
        cells = len(self.speed)
        k = np.arange(1, self.steps + 1)
        for start in range(0, len(self.norms), ROWS):
            here = np.floor(self.norms[start : start + ROWS] / self.step).astype(int)
            here = np.minimum(here, cells - 1)[:, None]
            # After k steps, norms are within k cells of that where it began.
            inner = self.speed[np.maximum(here - k, 0)]
            outer = self.speed[np.minimum(here + k, cells - 1)]
            speeds = np.maximum(np.maximum(inner, outer), self.speed[here])
            speeds = np.maximum.accumulate(speeds, axis=1)
            before = np.zeros((len(here), self.steps + 1))
            np.cumsum(self.step * speeds, axis=1, out=before[:, 1:])
            yield speeds, before


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
