"""Duals and means of the library beside their references."""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from widelimit.accuracy import means
from widelimit.accuracy.cases import QUANTITIES, Case
from widelimit.accuracy.closed_forms import Orders
from widelimit.accuracy.comparison import Comparison, relative_error, singular_value
from widelimit.accuracy.grid import Moments
from widelimit.accuracy.real import DIGITS, Real
from widelimit.activations import GELU, AbstractActivation, Custom, Scaled, SiLU
from widelimit.activations.waves import AbstractWave

# Powers of two, which both precisions hold.
VARIANCES = (2.0**-27, 0.25, 3.0, 2.0**27)
MEANS = ("mean", "mean by q")


def library_duals(
    activation: AbstractActivation, precision: str, grid: Sequence[Moments]
) -> np.ndarray:
    """Duals and their first derivatives from the library.

    Args:
        activation: The activation.
        precision: `"float64"` or `"float32"`.
        grid: Points in that precision.

    Returns:
        One row per point, one column per quantity.
    """
    found = np.zeros((len(grid), len(QUANTITIES)))
    with jax.enable_x64(True):
        for known in (False, True):
            at = [k for k, m in enumerate(grid) if (m.height is not None) == known]
            if not at:
                continue
            columns = np.array([grid[k].rounded for k in at], precision).T
            height = (
                np.array([grid[k].height for k in at], precision) if known else None
            )
            every = jax.jit(functools.partial(_all_duals, activation))
            rows = every(tuple(map(jnp.asarray, columns)), height)
            found[at] = np.asarray(rows, float).T
    return found


def _all_duals(activation, moments, height):
    rows = []
    for dual in (activation.dual, activation.dual_derivative):
        f = functools.partial(_at, dual, height)
        rows.append(f(*moments))
        for k in range(3):
            along = [jnp.full_like(m, float(i == k)) for i, m in enumerate(moments)]
            rows.append(jax.jvp(f, moments, tuple(along))[1])
    return rows


def _at(dual: Callable, height, c, p, q):
    return dual(c, p, q) if height is None else dual(c, p, q, height)


def library_means(activation: AbstractActivation, precision: str) -> np.ndarray:
    """Gaussian means and their derivatives from the library.

    Args:
        activation: The activation.
        precision: `"float64"` or `"float32"`.

    Returns:
        One row per variance, one column per quantity.
    """
    with jax.enable_x64(True):
        q = jnp.asarray(np.array(VARIANCES, precision))
        both = jax.jit(jax.vmap(jax.value_and_grad(activation.mean)))(q)
        return np.asarray(both, float).T


def compare_duals(
    case: Case, precision: str, grid: Sequence[Moments], actual: np.ndarray
) -> list[Comparison]:
    """Duals beside their references.

    Args:
        case: The activation.
        precision: `"float64"` or `"float32"`.
        grid: Points in that precision.
        actual: What `library_duals` gave.

    Returns:
        The comparisons.
    """
    with mpmath.workdps(DIGITS):
        rows = zip(grid, actual, strict=True)
        return [c for m, row in rows for c in _compare(case, precision, m, row)]


def _compare(case: Case, precision: str, m: Moments, row) -> Iterator[Comparison]:
    expected = case.partials(*m.exact, set(QUANTITIES.values()))
    c, p, q = m.rounded
    place = f"{m.place}, c={c:.8g} p={p:.4g} q={q:.4g}"
    for (quantity, order), value in zip(QUANTITIES.items(), row, strict=True):
        truth = expected[order]
        singular = singular_value(truth, precision) or _singular(case, precision, m)
        scale = 0
        if quantity in case.zeros or not truth:
            scale = _scale(case, order, m.exact[1], m.exact[2])
        yield Comparison(
            case.name,
            quantity,
            precision,
            place,
            expected=float(truth),
            actual=float(value),
            error=relative_error(float(value), truth, scale),
            singular=singular,
        )


def _scale(case: Case, order: Orders, p: Real, q: Real) -> Real:
    r"""$\sqrt{E\phi^{(i)}(u)^2\,E\phi^{(j)}(v)^2}$, which bounds the derivative."""
    i, j = order[0] + 2 * order[1], order[0] + 2 * order[2]
    product = _square(case, i, p) * _square(case, j, q)
    bound = mpmath.sqrt(product) / 2 ** (order[1] + order[2])
    return bound if mpmath.isfinite(bound) else mpmath.mpf(0)


@functools.lru_cache(maxsize=1000)
def _square(case: Case, derivative: int, q: Real) -> Real:
    order = (derivative, 0, 0)
    return case.partials(q, q, q, [order])[order]


def _singular(case: Case, precision: str, m: Moments) -> str | None:
    """Sets that lie in the method, not in the value; each is named in the table."""
    phi, (_, p, q) = case.activation, m.rounded
    if isinstance(phi, Scaled):
        phi = phi.function
    if isinstance(phi, Custom) and not (min(p, q) >= 0.01 and max(p, q) <= 1.5):
        return (
            "Hermite series at variances above 1.5, which need more terms, and below "
            "0.01, where JAX's own second derivative of tanh loses digits"
        )
    if isinstance(phi, GELU | SiLU) and precision == "float32" and max(p, q) > 1e12:
        return "variances above 1e12 in float32, whose products overflow"
    large = {"float64": 1e3, "float32": 10.0}[precision]
    if isinstance(phi, AbstractWave) and m.height is not None and max(p, q) > large:
        return (
            "waves of inputs with moments above 1000 (10 in float32), where rounding "
            "the moments moves the exponent"
        )
    return None


def compare_means(case: Case, precision: str, actual: np.ndarray) -> list[Comparison]:
    """Gaussian means beside integrals.

    Args:
        case: The activation.
        precision: `"float64"` or `"float32"`.
        actual: What `library_means` gave.

    Returns:
        The comparisons.
    """
    with mpmath.workdps(DIGITS):
        rows = zip(VARIANCES, actual, strict=True)
        return [c for q, row in rows for c in _compare_mean(case, precision, q, row)]


def _compare_mean(case: Case, precision: str, q: float, row) -> Iterator[Comparison]:
    scale = mpmath.sqrt(_square(case, 0, mpmath.mpf(q)))
    inside = _singular(case, precision, Moments("", (0.0, q, q), (0, q, q)))
    columns = zip(
        MEANS, row, _means(case, mpmath.mpf(q)), (scale, scale / q), strict=True
    )
    for quantity, value, truth, size in columns:
        yield Comparison(
            case.name,
            quantity,
            precision,
            f"q={q:.4g}",
            expected=float(truth),
            actual=float(value),
            error=relative_error(float(value), truth, 0 if truth else size),
            singular=singular_value(truth, precision) or inside,
        )


@functools.lru_cache(maxsize=1000)
def _means(case: Case, q: Real) -> tuple[Real, Real]:
    if case.mean is None:
        return means.mean(case.function, q)
    return case.mean(q), mpmath.diff(case.mean, q)
