"""Perturbation stability, exactly and by sampling."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_one_of, check_positive
from widelimit.balls import Norm
from widelimit.measures.gaussian_norm import (
    mean_gaussian_norm_of_gram,
    mean_gaussian_radius,
)
from widelimit.measures.input_jacobian import (
    Function,
    flattened,
    jacobians_at_once,
    over_tiles,
)


def perturbation_stability(
    f: Function,
    x: Float[Array, "n *s"],
    *,
    radius: float = 1.0,
    batch_size: int | None = None,
) -> Float[Array, " n"]:
    r"""Perturbation stability at every input, exactly: no perturbation is drawn.

    $$P(f, \epsilon)(x) = E_{\hat x}\,\|\nabla f(x)^\top (x - \hat x)\|_2, \quad
      \hat x \sim \mathrm{Unif}(B(x, \epsilon)),$$

    whose mean over inputs and initialisations is zhu2022's Definition 1. A uniform
    point of the ball is a uniform direction times a radius of mean
    $\epsilon\, d / (d + 1)$, and a Gaussian vector is a uniform direction times an
    independent norm, so with the input Jacobian $J$ and a standard Gaussian $g$

    $$P(f, \epsilon)(x) = \epsilon\,\frac{d}{d+1}\,\frac{E\|J g\|}{E\|g\|},$$

    where $E\|Jg\|$ follows from the singular values of $J$ by one integral
    (`mean_gaussian_norm_of_gram`). For a single output this is
    $\epsilon \|\nabla f\| \, \Gamma(d/2) / (\sqrt\pi\,\Gamma((d+1)/2)) \cdot d/(d+1)$.

    Linear in `radius` and in `f`; unchanged by rotations of the inputs or outputs.

    Args:
        f: Function of one input (close over the parameters), scalar or with any number
            of outputs.
        x: Inputs, vectors or images, one per row; d counts the features of either.
        radius: Radius $\epsilon$ of the l2 ball, in the units of `x`.
        batch_size: Inputs to work on at once; all of them if `None`. `stability_plan`
            finds how many fit into a memory.

    Returns:
        One value per input, in the units of the outputs.

    Raises:
        ValueError: If `x` has no rows, `radius` is not positive, or `f` returns several
            arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.array([3.0, 4.0])
        >>> float(perturbation_stability(lambda x: w @ x, jnp.ones((1, 2)))[0])
        2.12206...
        >>> 5 * (2 / math.pi) * (2 / 3)  # norm of w, E|cos|, E of the radius
        2.12206...

    References:
        Zhu et al. (2022), Definition 1, https://arxiv.org/abs/2209.07263
    """
    caller = "perturbation_stability"
    f, flat = flattened(caller, f, x)
    check_positive(caller, "radius", radius)
    images, d = x.ndim > 2, flat.shape[1]

    def at(rows: Float[Array, "n d"]) -> Float[Array, " n"]:
        jacobians, size = _scaled(jacobians_at_once(f, rows, images), axis=(1, 2))
        # The norm depends on the squares of the singular values alone, so the Gram
        # matrix of a Jacobian of size 1 loses no digits.
        if jacobians.shape[1] <= d:
            gram = jnp.einsum("nod,npd->nop", jacobians, jacobians)
        else:
            gram = jnp.einsum("noi,noj->nij", jacobians, jacobians)
        return size[:, 0, 0] * mean_gaussian_norm_of_gram(gram)

    scale = radius * d / (d + 1) / mean_gaussian_radius(d)
    return scale * over_tiles(at, flat, batch_size)


class SampledStability(eqx.Module):
    """Perturbation stability by sampling, per input.

    Attributes:
        mean: Mean over the draws, one per input.
        standard_error: Its standard error, one per input.
    """

    mean: Float[Array, " n"]
    standard_error: Float[Array, " n"]


def sampled_perturbation_stability(
    f: Function,
    x: Float[Array, "n *s"],
    *,
    key: Key[Array, ""],
    radius: float = 1.0,
    norm: Norm = "l2",
    draws: int = 256,
    batch_size: int | None = None,
) -> SampledStability:
    r"""Perturbation stability at every input by drawing perturbations.

    The mean of $\|\nabla f(x)^\top \delta\|_2$ over `draws` perturbations $\delta$,
    uniform in the ball, each by one forward-mode derivative. Use it where the exact
    `perturbation_stability` does not reach: for the l-infinity ball, or as its check.

    Args:
        f: Function of one input, scalar or with any number of outputs.
        x: Inputs, vectors or images, one per row; d counts the features of either.
        key: Random key.
        radius: Radius of the ball, in the units of `x`.
        norm: Which ball: `"l2"` or `"linf"`.
        draws: Perturbations per input; the standard error falls as `draws**-0.5`.
        batch_size: Inputs to work on at once; all of them if `None`.

    Returns:
        Mean and standard error per input, in the units of the outputs.

    Raises:
        ValueError: If `x` has no rows, `radius` is not positive, `norm` is unknown,
            there are fewer than two draws, or `f` returns several arrays.
    """
    caller = "sampled_perturbation_stability"
    f, x = flattened(caller, f, x)
    check_positive(caller, "radius", radius)
    check_count(caller, "draws", draws, 2)
    check_one_of(caller, "norm", norm, ("l2", "linf"))
    d = x.shape[1]

    def at(row: Float[Array, " d"], row_key: Key[Array, ""]) -> tuple[Array, Array]:
        if norm == "l2":
            # `jax.random.ball` would draw gamma variables, many times slower.
            direction_key, size_key = jax.random.split(row_key)
            deltas = jax.random.normal(direction_key, (draws, d), x.dtype)
            deltas = deltas / jnp.linalg.norm(deltas, axis=1, keepdims=True)
            deltas *= jax.random.uniform(size_key, (draws, 1), x.dtype) ** (1 / d)
        else:
            deltas = jax.random.uniform(row_key, (draws, d), x.dtype, -1.0, 1.0)
        _, directional = jax.linearize(lambda z: jnp.reshape(f(z), (-1,)), row)
        changes, size = _scaled(jax.vmap(directional)(deltas), axis=(0, 1))
        norms = jnp.linalg.norm(changes, axis=-1)
        return size[0, 0] * jnp.mean(norms), size[0, 0] * jnp.std(norms, ddof=1)

    keys = jax.random.split(key, len(x))
    mean, spread = jax.lax.map(
        lambda a: at(*a), (x, keys), batch_size=batch_size or len(x)
    )
    return SampledStability(radius * mean, radius * spread / math.sqrt(draws))


def _scaled(values: Array, *, axis: tuple[int, int]) -> tuple[Array, Array]:
    """Values over their largest, and that: squares must neither overflow nor vanish."""
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(values), axis=axis, keepdims=True))
    size = jnp.where(size > 0, size, 1.0)
    return values / size, size
