"""Whether duals by quadrature are accurate enough."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.activations.base import AbstractActivation, Pairs


def check_quadrature(
    activation: AbstractActivation,
    c: Pairs,
    p: Pairs,
    q: Pairs,
    *,
    tolerance: float = 1e-10,
) -> None:
    r"""Raise unless `activation.dual` has converged at all these moments.

    The estimate of `quadrature_error` is compared with $\sqrt{E\phi(u)^2 E\phi(v)^2}$,
    for the pairs and for each variance alone: without a second moment there is no dual.
    It is the error of a cheaper rule, so that a converged dual is far better than its
    estimate says. Call it outside `jit`.

    Args:
        activation: The activation.
        c: Covariances.
        p: Variances of the first.
        q: Variances of the second.
        tolerance: Largest allowed ratio.

    Raises:
        ValueError: If the estimate exceeds the tolerance somewhere, or is not a number.
    """
    for own in (p, q):
        if own is not c:  # the mean square, whose series converges last
            check_quadrature(activation, own, own, own, tolerance=tolerance)
    error = np.asarray(relative_quadrature_error(activation, c, p, q))
    bad = ~(error <= tolerance)
    if bad.any():
        where = np.unravel_index(np.argmax(np.where(bad, error, -1)), error.shape)
        moments = [float(np.broadcast_to(m, error.shape)[where]) for m in (c, p, q)]
        raise ValueError(
            "`check_quadrature` needs duals that converge to `tolerance="
            f"{tolerance:g}`. Got an estimated relative error of {error[where]:.1e} "
            f"for `{activation}` at (c, p, q) = {tuple(moments)} ({bad.sum()} such "
            "pairs). Use more `terms`, smaller variances, or an activation with a "
            "closed form; no number of terms suits a function with a kink."
        )


def relative_quadrature_error(
    activation: AbstractActivation, c: Pairs, p: Pairs, q: Pairs
) -> Float[Array, "..."]:
    r"""`quadrature_error` relative to $\sqrt{E\phi(u)^2 E\phi(v)^2}$.

    Args:
        activation: The activation.
        c: Covariances.
        p: Variances of the first.
        q: Variances of the second.

    Returns:
        The ratio, in the broadcast shape.
    """
    scale = jnp.sqrt(activation.second_moment(p)) * jnp.sqrt(
        activation.second_moment(q)
    )
    error = activation.quadrature_error(c, p, q)
    return jnp.where(scale > 0, error / jnp.where(scale > 0, scale, 1.0), error)
