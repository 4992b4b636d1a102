r"""Preconditioned conjugate gradients for several right-hand sides at once.

The sides share products with the matrix, and nothing else: each has its own steps, and
leaves when it has converged.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from widelimit.prediction.approximate_inverse import (
    AbstractApproximateInverse,
)
from widelimit.prediction.solution import Status

Columns = Float[np.ndarray, "r k"]
SLACK = 0.5  # the recursion's residual must be that much below the tolerance
FLOOR = 8  # units of rounding
RESTARTS = 3  # of one side, from its true residual
MISFIT = 1e-2  # largest residual, relative to the targets, of what is a solution


@dataclasses.dataclass
class Iterates:
    """Where conjugate gradients ended.

    Args:
        x: The best iterates.
        status: How every side ended.
        steps: Steps of every side.
        norm: The largest quotient of a product's and a vector's norm.
        least: The smallest Rayleigh quotient of a direction.
    """

    x: Columns
    status: list[Status]
    steps: np.ndarray
    norm: float
    least: float


def conjugate_gradients(
    product: Callable[[Columns], Columns],
    b: Columns,
    preconditioner: AbstractApproximateInverse,
    *,
    norm: float,
    tolerance: float,
    max_steps: int,
    progress: Callable[[int, float], None] | None = None,
) -> Iterates:
    r"""Solves $A x = b$ until $\|A x - b\| \le$ tolerance $(\|A\| \|x\| + \|b\|)$.

    And until $\|A x - b\| \le \sqrt{\text{tolerance}}\,\|b\|$, or as near to it as
    rounding allows, but `MISFIT` at most: where $A$ is singular, a huge $x$ meets the
    first alone. When the residuals of the recursion say so, the true one is formed;
    where it disagrees, the side starts again from there, a few times.

    Args:
        product: Products with a symmetric positive definite matrix.
        b: Right-hand sides.
        preconditioner: An approximate inverse.
        norm: Estimate of $\|A\|_2$ from below.
        tolerance: Of the scaled residual ratio.
        max_steps: Steps of one side at most.
        progress: Called with the step and the largest ratio that is left.

    Returns:
        The iterates. Nothing is raised: look at the status.
    """
    sizes = np.linalg.norm(b, axis=0)
    x = preconditioner.start(b)
    x[:, sizes == 0] = 0
    out = Iterates(
        x, [Status.CONVERGED] * len(sizes), np.zeros(len(sizes), int), norm, np.inf
    )
    open_ = np.flatnonzero(sizes > 0)  # sides that have not converged
    restarts, last = np.zeros(len(sizes), int), np.full(len(sizes), np.inf)
    r = b - product(x) if len(open_) else b.copy()
    fresh = np.ones(len(sizes), bool)  # whether the direction is the residual's own
    p, rz = np.zeros_like(b), np.ones(len(sizes))

    def ratios(residual, sides):
        left = np.linalg.norm(residual, axis=0)
        scale = out.norm * np.linalg.norm(x[:, sides], axis=0) + sizes[sides]
        return left / scale, left / sizes[sides]

    def goal(scaled, relative):  # at most the tolerance where both are small enough
        return np.maximum(scaled, relative * np.sqrt(tolerance))

    floor = FLOOR * np.finfo(b.dtype).eps  # where rounding may hold the residual up
    step = 0
    while len(open_):
        ended = []
        scaled, relative = ratios(r[:, open_], open_)
        close = goal(scaled, relative) <= SLACK * tolerance
        near = open_[close | (scaled <= floor)]
        if len(near):
            r[:, near] = b[:, near] - product(x[:, near])
            scaled, relative = ratios(r[:, near], near)
            found = goal(scaled, relative)
            enough = (scaled <= tolerance) & (relative <= MISFIT)
            for side, value, will_do in zip(near, found, enough, strict=True):
                if value <= tolerance:
                    ended.append((side, Status.CONVERGED))
                elif restarts[side] == RESTARTS or value > last[side] / 2:
                    status = Status.CONVERGED if will_do else Status.STAGNATED
                    ended.append((side, status))
                restarts[side], last[side], fresh[side] = (
                    restarts[side] + 1,
                    value,
                    True,
                )
        if step == max_steps:
            done = {side for side, _ in ended}
            ended += [(s, Status.MAX_STEPS) for s in open_ if s not in done]
        for side, status in ended:
            out.status[side], out.steps[side] = status, step
        open_ = np.setdiff1d(open_, [side for side, _ in ended])
        if not len(open_):
            break
        z = preconditioner.apply(r[:, open_])
        new = np.einsum("rk,rk->k", r[:, open_], z)
        beta = np.where(fresh[open_], 0.0, new / rz[open_])
        p[:, open_] = z + beta * p[:, open_]
        rz[open_], fresh[open_] = new, False
        d = p[:, open_]
        q = product(d)
        curved = np.einsum("rk,rk->k", d, q)
        squares = np.einsum("rk,rk->k", d, d)
        bad = ~((new > 0) & (curved > 0))
        if bad.any():
            for side in open_[bad]:
                out.status[side] = Status.NOT_POSITIVE_DEFINITE
                out.steps[side] = step
            good = ~bad
            open_, d, q = open_[good], d[:, good], q[:, good]
            new, curved, squares = new[good], curved[good], squares[good]
            if not len(open_):
                break
        out.least = min(out.least, float((curved / squares).min()))
        longest = np.linalg.norm(q, axis=0) / np.sqrt(squares)
        out.norm = max(out.norm, float(longest.max()))
        alpha = new / curved
        x[:, open_] += alpha * d
        r[:, open_] -= alpha * q
        step += 1
        if progress is not None:
            progress(step, float(ratios(r[:, open_], open_)[0].max()))
    return out


def estimated_norm(
    product: Callable[[Columns], Columns],
    start: Float[np.ndarray, " r"],
    steps: int = 8,
) -> float:
    r"""$\|A\|_2$ from below, by power iteration.

    Args:
        product: Products with the matrix.
        start: A vector to begin with.
        steps: Number of products.

    Returns:
        The largest quotient $\|A v\| / \|v\|$ seen.
    """
    v, best = start[:, None] / np.linalg.norm(start), 0.0
    for _ in range(steps):
        v = product(v)
        size = float(np.linalg.norm(v))
        if not size > 0:
            break
        best, v = max(best, size), v / size
    return best
