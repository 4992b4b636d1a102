"""Mean norm of a Gaussian vector, to machine precision."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

# The trapezoidal rule in u of the integral below. Its error falls geometrically in
# 1 / STEP, slowest for many equal variances; 0.14 leaves 1e-14 up to a thousand of
# them. What lies beyond LAST is at most exp(-2 LAST) of the whole.
_STEP = 0.14
_LAST = 18.5


def mean_gaussian_norm(variances: Float[Array, "*s o"]) -> Float[Array, "*s"]:
    r"""Mean of $\sqrt{\sum_i \lambda_i g_i^2}$ over standard Gaussians $g_i$.

    For a Jacobian $J$ with singular values $\sigma_i$ and $\lambda_i = \sigma_i^2$,
    this is $E\|J g\|$. With $Q = \sum_i \lambda_i g_i^2$, integrating
    $E\sqrt Q = \frac{1}{2\sqrt\pi}\int_0^\infty (1 - E e^{-tQ})\, t^{-3/2} dt$ by parts
    and putting $t = v^2$ gives

    $$E\sqrt Q = \frac{2}{\sqrt\pi} \int_0^\infty \sum_i \frac{\lambda_i}{1 + 2 v^2
      \lambda_i} \prod_i (1 + 2 v^2 \lambda_i)^{-1/2} dv,$$

    an even function of $v$. Under $v = \sinh(u) / \sqrt{2 \sum_i \lambda_i}$ it is
    analytic for $|\mathrm{Im}\, u| < \pi / 2$ and decays exponentially, so the
    trapezoidal rule converges geometrically: 133 nodes reach double precision.

    Scales as the square root of `variances`.

    Args:
        variances: The $\lambda_i \ge 0$ along the last axis. Tiny negative values, as
            eigenvalue routines give for zero, count as zero.

    Returns:
        The mean norm, over the last axis; 0 where every $\lambda_i$ is 0.
    """
    # Rounding alone puts an eigenvalue of a Gram matrix below zero. Not `maximum`,
    # whose derivative at zero is halved.
    variances = jnp.where(variances < 0, 0.0, variances)
    # Any positive number may stand for the sum under the root. It is held constant: its
    # derivative is zero in total but overflows in parts, and where all variances are
    # zero the infinite derivative becomes zero, so that one dead input does not spoil
    # the gradient of a mean over inputs.
    total = jax.lax.stop_gradient(jnp.sum(variances, axis=-1, keepdims=True))
    shares = variances / jnp.where(total == 0, 1.0, total)
    x, weights = _nodes(variances.dtype)
    ratio = 1.0 + shares[..., None, :] * x[:, None]
    terms = jnp.sum(shares[..., None, :] / ratio, axis=-1)
    # Not the root of the product, which can overflow.
    product = jnp.prod(jax.lax.rsqrt(ratio), axis=-1)
    return jnp.sqrt(total[..., 0]) * jnp.sum(weights * terms * product, axis=-1)


def mean_gaussian_norm_of_gram(gram: Float[Array, "*s o o"]) -> Float[Array, "*s"]:
    r"""`mean_gaussian_norm` of the eigenvalues of a Gram matrix $G = J J^\top$.

    The eigenvalues are not needed: in the integral of `mean_gaussian_norm`, the product
    is $\det(I + 2 v^2 G)^{-1/2}$ and the sum is half the derivative of the logarithm of
    that determinant with respect to $v^2$. Both follow for all $v$ from one reduction
    of $G$ to a tridiagonal matrix, by the recurrence of its pivots. This is faster than
    many small eigenvalue problems, and calls no external routine, whose threads can
    wait for each other when several CPU devices run at once.

    Args:
        gram: Symmetric matrices without negative eigenvalues, along the last two axes.

    Returns:
        The mean norm of each; 0 for a matrix of zeros.
    """
    trace = jax.lax.stop_gradient(jnp.trace(gram, axis1=-2, axis2=-1))
    trace = jnp.asarray(trace)
    shares = gram / jnp.where(trace == 0, 1.0, trace)[..., None, None]
    diagonal, off = _tridiagonal(shares)
    x, weights = _nodes(gram.dtype)

    def pivot(carry, entries):
        before, share_before, terms, product = carry
        a, square = (entry[..., None] for entry in entries)
        gone = x * square / before
        now = 1.0 + x * (a - gone)
        # A pivot of I + x G is at least 1, and d/dx of its logarithm lies between 0 and
        # 1 / x (eigenvalues interlace). Rounding alone leads out of these ranges.
        now = jnp.where(now < 1.0, 1.0, now)
        share = x * (a - gone * (2.0 - share_before)) / now
        share = jnp.where(share < 0.0, 0.0, jnp.where(share > 1.0, 1.0, share))
        return (now, share, terms + share, product * jax.lax.rsqrt(now)), None

    squares = jnp.concatenate([jnp.zeros_like(diagonal[..., :1]), off**2], axis=-1)
    ones = jnp.ones((*diagonal.shape[:-1], len(x)), gram.dtype)
    zeros = jnp.zeros_like(ones)
    entries = (jnp.moveaxis(diagonal, -1, 0), jnp.moveaxis(squares, -1, 0))
    (_, _, terms, product), _ = jax.lax.scan(pivot, (ones, zeros, zeros, ones), entries)
    # At u = 0, where x = 0, the sum is the trace.
    at_zero = jnp.sum(diagonal, axis=-1)[..., None]
    sums = jnp.where(x > 0, terms / jnp.where(x > 0, x, 1.0), at_zero)
    return jnp.sqrt(trace) * jnp.sum(weights * sums * product, axis=-1)


def _nodes(dtype: DTypeLike) -> tuple[Array, Array]:
    """Where the integrand is evaluated, as 2 v^2 times the sum, and the weights."""
    u = jnp.arange(0.0, _LAST, _STEP, dtype=dtype)
    weights = math.sqrt(2 / math.pi) * _STEP * jnp.cosh(u)
    weights = weights.at[0].multiply(0.5)  # u = 0 belongs to both halves of the line
    return jnp.square(jnp.sinh(u)), weights


def _tridiagonal(matrix: Float[Array, "*s o o"]) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of the tridiagonal form, by Householder reflections."""
    size = matrix.shape[-1]
    index = jnp.arange(size)

    def reflect(step: Array, a: Array) -> Array:
        column = jnp.where(index > step, jnp.take(a, step, axis=-1), 0.0)
        head = jnp.sum(jnp.where(index == step + 1, column, 0.0), axis=-1)
        norm = jnp.sqrt(_positive(jnp.sum(jnp.square(column), axis=-1)))
        shift = jnp.where(head < 0, -norm, norm)
        v = jnp.where(index == step + 1, column + shift[..., None], column)
        v = v / jnp.sqrt(_positive(jnp.sum(jnp.square(v), axis=-1, keepdims=True)))
        w = jnp.einsum("...ij,...j->...i", a, v)
        w = w - jnp.sum(v * w, axis=-1, keepdims=True) * v
        both = v[..., :, None] * w[..., None, :]
        return a - 2.0 * (both + jnp.swapaxes(both, -1, -2))

    matrix = jax.lax.fori_loop(0, max(size - 2, 0), reflect, matrix)
    diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    return diagonal, jnp.diagonal(matrix, offset=1, axis1=-2, axis2=-1)


def _positive(value: Array) -> Array:
    """The value, or 1 for 0: the root's derivative there is infinite."""
    return jnp.where(value == 0, 1.0, value)


def mean_gaussian_radius(dimension: int) -> float:
    r"""Mean norm of a standard Gaussian vector, $\sqrt2\,\Gamma((d+1)/2)/\Gamma(d/2)$.

    Args:
        dimension: Number of entries $d$.

    Returns:
        $E\|g\|$, which lies between $\sqrt{d - 1/2}$ and $\sqrt d$ from $d = 1$ on.
    """
    return math.sqrt(2) * math.exp(
        math.lgamma((dimension + 1) / 2) - math.lgamma(dimension / 2)
    )
