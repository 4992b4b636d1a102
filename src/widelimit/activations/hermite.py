r"""Gaussian means of smooth functions by Hermite series.

With orthonormal Hermite polynomials $h_k$ and $b_k(p) = E\,\phi(\sqrt p z) h_k(z)$,

$$E[\phi(u)\psi(v)] = \sum_k \rho^k b_k^\phi(p)\, b_k^\psi(q), \quad
  \rho = c / \sqrt{pq}$$

(Mehler). Coefficients belong to one variance each, so that a matrix of pairs costs a
short polynomial per pair and no evaluation of $\phi$; for $c = p = q$ every term is
positive. If $\phi$ is analytic for $|\mathrm{Im}\,z| < a$, terms fall like
$\exp(-2 a \sqrt{k/p})$ at $\rho = 1$: wide variances need many terms.

Derivatives follow Price's theorem. Nothing is differentiated through the nodes, which
would divide by $\sqrt p$ and $\sqrt{pq - c^2}$.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Function = Callable[[Float[Array, "*s"]], Float[Array, "*s"]]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def pair_mean(
    phi: Function,
    i: int,
    j: int,
    terms: int,
    c: Float[Array, "*#s"],
    p: Float[Array, "*#s"],
    q: Float[Array, "*#s"],
) -> Float[Array, "*#s"]:
    r"""$E[\phi^{(i)}(u)\,\phi^{(j)}(v)]$ by a series of that many terms.

    Args:
        phi: Elementwise function, hashable.
        i: Order of the first derivative.
        j: Order of the second derivative.
        terms: Terms of the series.
        c: Covariance $E[uv]$.
        p: Variance $E[u^2]$.
        q: Variance $E[v^2]$.

    Returns:
        The mean, in the broadcast shape.
    """
    return _series(phi, i, j, terms, c, p, q)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _series(phi, i, j, terms, c, p, q):
    # A zero variance has no correlation, and all its coefficients but one vanish.
    proper = (p > 0) & (q > 0)
    scale = jnp.sqrt(jnp.where(p > 0, p, 1.0)) * jnp.sqrt(jnp.where(q > 0, q, 1.0))
    rho = jnp.where(proper, c / scale, 0.0)
    pairs = (coefficients(phi, i, terms, p), coefficients(phi, j, terms, q))

    def horner(total, pair):
        return total * rho + pair[0] * pair[1], None

    total, _ = jax.lax.scan(horner, jnp.zeros_like(rho), pairs, reverse=True)
    return total


@pair_mean.defjvp
def _price(phi, i, j, terms, primals, tangents):
    def mean(a, b):
        return pair_mean(phi, i + a, j + b, terms, *primals)

    dc, dp, dq = tangents
    slope = mean(1, 1) * dc + 0.5 * (mean(2, 0) * dp + mean(0, 2) * dq)
    return mean(0, 0), slope


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def mean(
    phi: Function, i: int, terms: int, q: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    r"""$E\,\phi^{(i)}(v)$ for $v$ of variance $q$, with the nodes of that many terms.

    Args:
        phi: Elementwise function, hashable.
        i: Order of the derivative.
        terms: Terms that the nodes would resolve.
        q: Variance.

    Returns:
        The mean.
    """
    return coefficients(phi, i, terms, q)[0]


@mean.defjvp
def _heat(phi, i, terms, primals, tangents):
    value, curvature = (mean(phi, i + k, terms, *primals) for k in (0, 2))
    return value, 0.5 * curvature * tangents[0]


def coefficients(
    phi: Function, i: int, terms: int, q: Float[Array, "*s"]
) -> Float[Array, "k *s"]:
    r"""$b_k = E\,\phi^{(i)}(\sqrt q z)\,h_k(z)$ for the first `terms` values of $k$.

    Args:
        phi: Elementwise function.
        i: Order of the derivative.
        terms: Number of coefficients.
        q: Variance.

    Returns:
        The coefficients, along a new first axis.
    """
    for _ in range(i):
        phi = _derivative(phi)
    nodes, weights = (jnp.asarray(a, dtype=q.dtype) for a in grid(terms))
    values = phi(jnp.sqrt(q)[..., None] * nodes)
    return jnp.einsum("kn,...n->k...", weights, values, precision="highest")


def _derivative(phi: Function) -> Function:
    return lambda z: jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


@functools.cache
def grid(terms: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes $z_n$ and the matrix of weights that gives the coefficients.

    The trapezoidal rule: $h_k(z)$ times the density stays below $\exp(-z^2/4)$, which
    is rounding beyond 13, and its frequencies below those that a step of
    $2\pi / (2\sqrt{K} + 10)$ resolves.

    Args:
        terms: Number of coefficients $K$.

    Returns:
        The nodes, and the weights with one row per coefficient.
    """
    step = 2 * math.pi / (2 * math.sqrt(terms) + 10)
    half = math.ceil(13 / step)
    z = step * np.arange(-half, half + 1)
    rows = [step * np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)]
    before = np.zeros_like(z)
    for k in range(terms - 1):
        now = rows[-1]
        rows.append((z * now - math.sqrt(k) * before) / math.sqrt(k + 1))
        before = now
    return z, np.stack(rows)
