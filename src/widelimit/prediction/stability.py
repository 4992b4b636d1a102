r"""Perturbation stability in the infinite-width limit, exactly.

With $J$ the input Jacobian and $\delta$ uniform in the ball of radius $\epsilon$,
$P = E\|J \delta\|$ as in `widelimit.measures.perturbation_stability`. A uniform point
is a Gaussian vector $g$ over its norm, times an independent radius of mean
$\epsilon\,d / (d + 1)$.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import (
    check_kind,
    check_number,
    check_positive,
    check_rows,
    finite_inputs,
)
from widelimit.kernels import jacobian_kernel
from widelimit.layers import AbstractLayer
from widelimit.measures import mean_gaussian_norm, mean_gaussian_radius
from widelimit.prediction.flow import AbstractTraining
from widelimit.prediction.gradient_covariance import own_blocks
from widelimit.prediction.predictor import Prediction, new_inputs

WORK = 2**24  # numbers that an integral may hold at once
STEP, LAST = 0.14, 18.5  # nodes of the trapezoidal rule, as of `mean_gaussian_norm`


def initial_stability(
    network: AbstractLayer, x: ArrayLike, *, radius: float = 1.0
) -> Float[np.ndarray, " n"]:
    r"""Mean perturbation stability of an infinitely wide network at initialisation.

    Each output's gradient is Gaussian with the covariance
    $C = \partial_x \partial_{x'} k(x, x)$ of the Jacobian NNGP kernel: one eigenvalue
    along $x$ and $d - 1$ equal ones across. Given $\delta$, $J \delta$ has $o$
    independent entries of variance $\delta^\top C \delta$, hence

    $$P(x) = \epsilon\,\frac{d}{d+1}\,\frac{E\|g_o\|\,E \sqrt{g^\top C g}}{E\|g\|},$$

    with standard Gaussian $g_o$ of $o$ and $g$ of $d$ entries. The mean over $g$ is one
    integral (`mean_gaussian_norm`); nothing is sampled.

    Args:
        network: Description of a fully-connected network; kinks are allowed.
        x: Inputs, one per row.
        radius: $\epsilon$, in the units of `x`.

    Returns:
        One value per input, averaged over initialisations.

    Raises:
        ValueError: If the network has no limit, or the inputs or `radius` do not fit.

    Example:
        >>> import numpy as np
        >>> from widelimit.networks import mlp
        >>> net = mlp(depth=0, width=1, weight_std=1.0)  # f(x) = w x, w ~ N(0, 1)
        >>> float(initial_stability(net, np.ones((1, 1)))[0])  # E|w| / 2
        0.39894...

    References:
        Zhu et al. (2022), Definition 1, https://arxiv.org/abs/2209.07263
        Kim & Yang (2023), Theorem 3, https://arxiv.org/abs/2312.03386
    """
    caller = "initial_stability"
    rows = finite_inputs(caller, "x", x, "float64")
    check_rows(caller, "x", rows)
    check_positive(caller, "radius", radius)
    d = rows.shape[1]
    (outputs,) = network.output_shape((d,))
    norms, where = np.unique(np.linalg.norm(rows, axis=1), return_inverse=True)
    own = own_blocks(caller, network, norms, d)
    variances = np.repeat(own.across[:, None], d, axis=1)
    variances[:, 0] = own.along
    size = max(1, WORK // (d * int(LAST / STEP)))
    with jax.enable_x64(True):
        means = [
            np.asarray(_mean_norms(jnp.asarray(variances[start : start + size])))
            for start in range(0, len(norms), size)
        ]
    factor = _ball(d, radius) * mean_gaussian_radius(outputs)
    return factor * np.concatenate(means)[where]


def trained_stability(
    training: AbstractTraining,
    x: ArrayLike,
    time: float | int = math.inf,
    *,
    radius: float = 1.0,
    random_start: bool = False,
    initial: Prediction | None = None,
) -> Float[np.ndarray, " n"]:
    r"""Perturbation stability of a trained network in the infinite-width limit.

    The gradient at $x$ is known where the start is: zero, as for small $\kappa$, or
    given. With a random start it is Gaussian: with $B = \Theta(x, X)_{1:}\,\Lambda V
    \varphi(\mu) V^\top \Lambda$ and the Jacobian NNGP kernel $K$, its mean is that of a
    start from zero and its covariance that of $J_0(x) - B u_0(X)$,

    $$K_{xx} - B K_{Xx} - K_{xX} B^\top + B K_{XX} B^\top.$$

    Args:
        training: The training, such as `robust_flow`'s.
        x: Inputs, one per row.
        time: The time, or the number of steps.
        radius: $\epsilon$, in the units of `x`.
        random_start: Whether to average over the initialisations of a wide network
            with one output, in place of starting from zero.
        initial: Values and gradients at `x` at the start, if the training had its own.

    Returns:
        One value per input.

    Raises:
        ValueError: If inputs, time or `radius` do not fit, or a random start is asked
            for with several outputs or with a given start.
    """
    caller = "trained_stability"
    check_kind(
        caller, "training", training, AbstractTraining, "robust_flow(network, x, y)"
    )
    rows = new_inputs(caller, x, training.x.shape[1])
    check_positive(caller, "radius", radius)
    check_number(caller, "time", time)
    if random_start and (training.initialized or not training.single):
        raise ValueError(
            f"`{caller}` needs a training of one output that starts from zero for "
            "`random_start=True`. Got one that has "
            f"{'a start' if training.initialized else 'several outputs'} of its own."
        )
    gradients = training.at(rows, time, initial=initial).gradients
    d = rows.shape[1]
    if training.single and not random_start:
        norms = mean_gaussian_radius(1) * np.linalg.norm(gradients, axis=1)
    elif not random_start:
        squares = np.linalg.svd(gradients, compute_uv=False) ** 2
        with jax.enable_x64(True):
            norms = np.asarray(_mean_norms(jnp.asarray(squares)))
    else:
        covariances = _gradient_covariances(training, rows, time)
        norms = mean_gaussian_radius(1) * np.array(
            [mean_norm(m, c) for m, c in zip(gradients, covariances, strict=True)]
        )
    return _ball(d, radius) * norms


def mean_norm(
    mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]
) -> float:
    r"""Mean norm of a Gaussian vector that is not centred.

    As in `mean_gaussian_norm`, with $m_i$ the mean along the eigenvector of $\lambda_i$
    and $E e^{-t Q} = \prod_i (1 + 2 t \lambda_i)^{-1/2}
    \exp(-t m_i^2 / (1 + 2 t \lambda_i))$,

    $$E\sqrt Q = \frac{2}{\sqrt\pi} \int_0^\infty E[Q e^{-v^2 Q}]\,dv.$$

    Args:
        mean: Its mean.
        covariance: Its covariance.

    Returns:
        The mean norm.
    """
    variances, vectors = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 0.0)
    squares = (vectors.T @ mean) ** 2
    total = float(variances.sum() + squares.sum())
    if total == 0:
        return 0.0
    u = np.arange(0.0, LAST, STEP)
    t = (np.sinh(u) ** 2 / (2 * total))[:, None]
    ratio = 1 + 2 * t * variances
    transform = np.exp(-np.sum(np.log(ratio) / 2 + t * squares / ratio, axis=1))
    slope = np.sum(variances / ratio + squares / ratio**2, axis=1)
    weights = STEP * np.cosh(u) * math.sqrt(2 / (math.pi * total))
    weights[0] /= 2  # u = 0 belongs to both halves of the line
    return float(np.sum(weights * slope * transform))


_mean_norms = jax.jit(mean_gaussian_norm)


def _ball(d: int, radius: float) -> float:
    return radius * d / (d + 1) / mean_gaussian_radius(d)


def _gradient_covariances(
    training: AbstractTraining, x: Float[np.ndarray, "m d"], time: float | int
) -> Float[np.ndarray, "m d d"]:
    """Of the gradients at some inputs, over random starts."""
    grown = training.growth("trained_stability", time)
    part = "both" if training.regularization else "value"
    scaled = training.scale_gradients(training.vectors).reshape(training.vectors.shape)
    pull = (scaled * grown) @ scaled.T
    start = jacobian_kernel(training.network, training.x, kind="nngp").part(part, part)
    pulled = pull @ start.dense() @ pull
    tangent, prior = (
        jacobian_kernel(training.network, x, training.x, kind=kind)
        for kind in ("ntk", "nngp")
    )
    own = jacobian_kernel(training.network, x, kind="nngp").part("gradient", "gradient")
    d, found = x.shape[1], []
    for i in range(len(x)):
        kernel, cross = (
            k.select([i]).part("gradient", part).dense() for k in (tangent, prior)
        )
        mixed = kernel @ pull @ cross.T
        moved = kernel @ pulled @ kernel.T
        found.append(own.select([i], [i]).dense() - mixed - mixed.T + moved)
    return np.reshape(found, (len(x), d, d))
