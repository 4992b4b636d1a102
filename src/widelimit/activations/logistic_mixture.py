r"""The logistic function as a mixture of normal distribution functions.

If $K$ has Kolmogorov's distribution, then a normal variable with the random standard
deviation $2K$ is logistic (Andrews & Mallows 1974), so that

$$\sigma(z) = \frac1{1 + e^{-z}} = E\,\Phi\!\left(\frac{z}{2K}\right).$$

Sigmoid, tanh, softplus and SiLU are therefore means over $K$ of blurred steps, ramps
and gates, whose duals are closed forms, and their duals are means over two independent
copies of $K$. The integrand is smooth in $\log K$, uniformly in the variances and in
the correlation, so that a few Gauss nodes are enough. Quadrature in $z$ would need a
number of nodes that grows with the variance.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NODES = {"float64": 14, "float32": 8}


def pair_mean(
    term: Callable[[Float[Array, ""], Float[Array, ""]], Float[Array, "*s"]],
    dtype: np.dtype,
    nodes: int | None = None,
) -> Float[Array, "*s"]:
    r"""$E\,f(K^2, L^2)$ for independent $K$, $L$ of Kolmogorov's distribution.

    One term at a time, forwards and backwards: memory does not grow with the nodes.

    Args:
        term: The function $f$.
        dtype: Float type of its arguments.
        nodes: Nodes for each of the two; chosen by the float type if left out.

    Returns:
        The mean.
    """
    k2, w = (jnp.asarray(a, dtype=dtype) for a in rule(nodes or NODES[dtype.name]))
    first, second = (a.ravel() for a in jnp.meshgrid(k2, k2))
    weights = jnp.outer(w, w).ravel()

    @jax.checkpoint
    def add(total, node):
        s, t, weight = node
        return total + weight * term(s, t), None

    shape = jax.eval_shape(term, k2[0], k2[0])
    start = jnp.zeros(shape.shape, shape.dtype)
    return jax.lax.scan(add, start, (first, second, weights))[0]


def mean(
    term: Callable[[Float[Array, " k"]], Float[Array, "*s k"]], dtype: np.dtype
) -> Float[Array, "*s"]:
    r"""$E\,f(K^2)$, with all nodes at once along the last axis.

    Args:
        term: The function $f$.
        dtype: Float type of its argument.

    Returns:
        The mean.
    """
    k2, w = (jnp.asarray(a, dtype=dtype) for a in rule(NODES[dtype.name]))
    return jnp.sum(w * term(k2), axis=-1)


@functools.cache
def rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Values of $K^2$, and weights: the Gauss rule of the distribution of $\log K$.

    The eigenvalues of the Jacobi matrix that Lanczos finds for the distribution on a
    fine grid (Gautschi 2004, Sec. 2.2).

    Args:
        nodes: Number of nodes.

    Returns:
        Squared values and positive weights that sum to one.
    """
    x = np.linspace(np.log(0.17), np.log(4.6), 400)
    basis = [np.sqrt(_density(np.exp(x)) * np.exp(x))]
    basis[0] /= np.linalg.norm(basis[0])
    jacobi = np.zeros((nodes, nodes))
    for i in range(nodes):
        moved = x * basis[i]
        jacobi[i, i] = moved @ basis[i]
        for _ in range(2):
            for b in basis:
                moved = moved - (moved @ b) * b
        length = np.linalg.norm(moved)
        basis.append(moved / length)
        if i + 1 < nodes:
            jacobi[i, i + 1] = jacobi[i + 1, i] = length
    log_k, vectors = np.linalg.eigh(jacobi)
    return np.exp(2 * log_k), vectors[0] ** 2


def _density(x: np.ndarray) -> np.ndarray:
    """Density of Kolmogorov's distribution, by the series that converges faster."""
    k = np.arange(1, 8)[:, None]
    odd = np.square((2 * k - 1) * np.pi)
    right = 8 * x * np.sum((-1.0) ** (k - 1) * k**2 * np.exp(-2 * np.square(k * x)), 0)
    left = np.sum(np.exp(-odd / (8 * x**2)) * (odd / (4 * x**4) - 1 / x**2), 0)
    return np.where(x < 1, np.sqrt(2 * np.pi) * left, right)
