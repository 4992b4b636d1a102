"""The Gaussian process of a wide network, given values and derivatives at inputs."""

from typing import Literal

import equinox as eqx
import jax
import numpy as np
import scipy.linalg
from jaxtyping import Array, ArrayLike, Float, Key

from widelimit._checks import (
    as_array,
    check_count,
    check_finite,
    check_number,
    check_rows,
    finite_inputs,
)
from widelimit.kernels import jacobian_kernel
from widelimit.kernels.empirical_checks import check_key
from widelimit.layers import AbstractLayer
from widelimit.prediction.decomposition import (
    check_room,
    eigen,
    nearest_to_parallel,
    root,
    rounding,
)
from widelimit.prediction.flow_checks import check_targets
from widelimit.prediction.predictor import (
    KernelPredictor,
    Prediction,
    new_inputs,
)


class JointGaussian(eqx.Module):
    """A Gaussian over the values and gradients at some inputs.

    Attributes:
        mean: Their mean.
        covariance: Their covariance, with the value first on the axes of length
            `d + 1`; symmetric.
    """

    mean: Prediction
    covariance: Float[np.ndarray, "m r m r"]

    @property
    def variance(self) -> Prediction:
        """Variances of the values and of each partial derivative.

        Where data leave nothing open, rounding would have some below zero: these are 0.
        """
        m, r = self.covariance.shape[:2]
        own = np.diagonal(self.covariance.reshape(m * r, m * r)).reshape(m, r)
        own = np.maximum(own, 0.0)
        return Prediction(own[:, 0], own[:, 1:])

    def samples(self, key: Key[Array, ""], draws: int) -> Prediction:
        """Independent joint draws.

        Args:
            key: Random key.
            draws: How many.

        Returns:
            Values and gradients, with the draws in front.

        Raises:
            ValueError: If `draws` is not a positive whole number, or `key` is none.
        """
        check_key("samples", key)
        check_count("samples", "draws", draws, 1)
        m, r = self.covariance.shape[:2]
        with jax.enable_x64(True):
            noise = jax.random.normal(key, (draws, m * r), dtype=np.float64)
        moved = np.asarray(noise) @ root(self.covariance.reshape(m * r, m * r)).T
        moved = moved.reshape(draws, m, r)
        return Prediction(
            self.mean.values + moved[..., 0], self.mean.gradients + moved[..., 1:]
        )


class Posterior(eqx.Module):
    """A Gaussian process given data. Made by `gaussian_posterior`.

    Attributes:
        network: The network.
        x: Inputs of the observed values, then of the observed gradients.
        part: `"both"`, or `"value"` if no derivative was observed.
        observed: Which values and partial derivatives were observed.
        noise: Variances of the noise of these.
        factor: Lower Cholesky factor of the data's covariance, noise included.
        whitened: The factor's inverse times the data.
    """

    network: AbstractLayer = eqx.field(static=True)
    x: Float[np.ndarray, "n d"]
    part: Literal["both", "value"] = eqx.field(static=True)
    observed: np.ndarray
    noise: Float[np.ndarray, " k"]
    factor: Float[np.ndarray, "k k"]
    whitened: Float[np.ndarray, " k"]

    @property
    def mean_function(self) -> KernelPredictor:
        """The posterior's mean as a function, with its norm."""
        triangle = scipy.linalg.solve_triangular
        alpha = triangle(self.factor, self.whitened, lower=True, trans=1)
        r = self.x.shape[1] + 1 if self.part == "both" else 1
        weights = np.zeros(len(self.x) * r)
        weights[self.observed] = alpha
        # The kernel's own part of the quadratic form, without the noise.
        square = self.whitened @ self.whitened - np.sum(self.noise * alpha**2)
        return KernelPredictor(
            network=self.network,
            x=self.x,
            weights=weights.reshape(len(self.x), r, 1),
            gram=np.array([[max(float(square), 0.0)]]),
            kind="nngp",
        )

    @property
    def log_evidence(self) -> float:
        """Logarithm of the density of the data."""
        half = float(np.sum(np.log(np.diagonal(self.factor))))
        size = float(self.whitened @ self.whitened)
        return -half - (size + len(self.whitened) * np.log(2 * np.pi)) / 2

    def at(self, x: ArrayLike) -> JointGaussian:
        """Values and gradients at any inputs, given the data.

        Args:
            x: Inputs, one per row.

        Returns:
            Their joint distribution, without noise.

        Raises:
            ValueError: If the inputs do not fit, or the matrix the memory.
        """
        x = new_inputs("at", x, self.x.shape[1])
        m, r = len(x), x.shape[1] + 1
        cross = jacobian_kernel(self.network, x, self.x, kind="nngp")
        cross = cross.part(columns=self.part).dense()[:, self.observed]
        pulled = scipy.linalg.solve_triangular(self.factor, cross.T, lower=True)
        mean = (pulled.T @ self.whitened).reshape(m, r)
        covariance = jacobian_kernel(self.network, x, kind="nngp").dense()
        covariance = covariance - pulled.T @ pulled
        covariance = (covariance + covariance.T) / 2
        return JointGaussian(
            Prediction(mean[:, 0], mean[:, 1:]), covariance.reshape(m, r, m, r)
        )


def prior(network: AbstractLayer, x: ArrayLike) -> JointGaussian:
    """Values and gradients of an infinitely wide network at initialisation.

    The Gaussian process of kim2023, Theorem 3: mean zero, and the Jacobian NNGP kernel
    as covariance. Every output of the network is an independent copy.

    Args:
        network: Description of a fully-connected network; kinks are allowed.
        x: Inputs, one per row.

    Returns:
        The joint distribution at these inputs.

    Raises:
        ValueError: If the inputs do not fit, or the matrix the memory.
    """
    rows = finite_inputs("prior", "x", x, "float64")
    check_rows("prior", "x", rows)
    m, d = rows.shape
    covariance = jacobian_kernel(network, rows, kind="nngp").dense()
    return JointGaussian(
        Prediction(np.zeros(m), np.zeros((m, d))),
        covariance.reshape(m, d + 1, m, d + 1),
    )


def gaussian_posterior(
    network: AbstractLayer,
    x: ArrayLike | None = None,
    values: ArrayLike | None = None,
    *,
    gradients: ArrayLike | None = None,
    gradient_x: ArrayLike | None = None,
    noise: float = 0.0,
    gradient_noise: float = 0.0,
) -> Posterior:
    r"""The Gaussian process of kim2023, Theorem 3, given values and derivatives.

    Joint Gaussians are conditioned: with $u$ the observed values and partial
    derivatives, and $K$ the Jacobian NNGP kernel,
    $E[v \mid u] = K_{vu} (K_{uu} + \sigma^2)^{-1} u$ and
    $\mathrm{Cov}[v \mid u] = K_{vv} - K_{vu} (K_{uu} + \sigma^2)^{-1} K_{uv}$.

    Args:
        network: Description of a fully-connected network; kinks are allowed.
        x: Inputs of the values, one per row; `None` if only gradients are observed.
        values: One value per row of `x`.
        gradients: One gradient per row of `gradient_x`; entries that are NaN count as
            not observed.
        gradient_x: Inputs of the gradients; `x` if `None`.
        noise: Variance of the noise of values.
        gradient_noise: Variance of the noise of partial derivatives.

    Returns:
        The posterior, to be asked for any inputs.

    Raises:
        ValueError: If there are no data, or of a wrong shape; if a variance is
            negative; if the data's covariance is singular.

    References:
        Kim & Yang (2023), Thm. 3, https://arxiv.org/abs/2312.03386
    """
    caller = "gaussian_posterior"
    for name, value in (("noise", noise), ("gradient_noise", gradient_noise)):
        check_number(caller, name, value)
        if not 0 <= value < np.inf:
            raise ValueError(
                f"`{caller}` needs a finite `{name} >= 0`. Got `{name}={value}`."
            )
    inputs, data = _observations(caller, x, values, gradients, gradient_x)
    variances = np.full(data.shape, float(gradient_noise))
    variances[:, 0] = noise
    part = "both" if not np.isnan(data[:, 1:]).all() else "value"
    if part == "value":  # the matrix of the derivatives is not needed
        data, variances = data[:, :1], variances[:, :1]
    observed = np.flatnonzero(~np.isnan(data))
    check_room(caller, len(inputs) * (inputs.shape[1] + 1 if part == "both" else 1))
    kernel = jacobian_kernel(network, inputs, kind="nngp").part(part, part)
    matrix = kernel.dense()[np.ix_(observed, observed)]
    variances = variances.ravel()[observed]
    matrix[np.diag_indices_from(matrix)] += variances
    factor = _factor(caller, matrix, inputs)
    whitened = scipy.linalg.solve_triangular(factor, data.ravel()[observed], lower=True)
    return Posterior(network, inputs, part, observed, variances, factor, whitened)


def _observations(
    caller: str,
    x: ArrayLike | None,
    values: ArrayLike | None,
    gradients: ArrayLike | None,
    gradient_x: ArrayLike | None,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n r"]]:
    """The inputs, and values and gradients there; NaN where nothing was observed."""
    if (x is None) != (values is None) or (values is None and gradients is None):
        raise ValueError(
            f"`{caller}` needs `x` with `values`, or `gradient_x` with `gradients`, or "
            "both. Got neither, or one without the other."
        )
    if gradients is None and gradient_x is not None:
        raise ValueError(
            f"`{caller}` needs `gradients` for `gradient_x`. Got `gradients=None`."
        )
    inputs, parts = [], []
    if x is not None and values is not None:
        rows = finite_inputs(caller, "x", x, "float64")
        check_rows(caller, "x", rows)
        y = check_targets(caller, values, len(rows), "values")
        if y.ndim == 2:
            raise ValueError(
                f"`{caller}` needs one value per input. Got `values.shape={y.shape}`. "
                "Outputs are independent: call it for each."
            )
        inputs.append(rows)
        parts.append(np.full((len(rows), rows.shape[1] + 1), np.nan))
        parts[0][:, 0] = y
    if gradients is None:
        return inputs[0], parts[0]
    if gradient_x is not None:
        where = finite_inputs(caller, "gradient_x", gradient_x, "float64")
        features = inputs[0].shape[1] if inputs else where[0].size
        where = new_inputs(caller, where, features, "gradient_x")
    elif inputs:
        slopes = _check_gradients(caller, gradients, inputs[0])
        parts[0][:, 1:] = slopes
        return inputs[0], parts[0]
    else:
        raise ValueError(
            f"`{caller}` needs `gradient_x` for `gradients` without values. Got "
            "`gradient_x=None`."
        )
    slopes = _check_gradients(caller, gradients, where)
    inputs.append(where)
    parts.append(np.insert(slopes, 0, np.nan, axis=1))
    return np.concatenate(inputs), np.concatenate(parts)


def _factor(
    caller: str, matrix: Float[np.ndarray, "k k"], x: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "k k"]:
    try:
        factor = scipy.linalg.cholesky(matrix, lower=True)
        # Pivots that are rounding let a singular matrix pass.
        least = float(np.diagonal(factor).min() ** 2)
        if least > len(matrix) * np.finfo(np.float64).eps * np.diagonal(matrix).max():
            return factor
    except np.linalg.LinAlgError:
        pass
    values = eigen(matrix)[0]
    raise ValueError(
        f"`{caller}` needs data whose covariance is positive definite. Got a smallest "
        f"eigenvalue of {values[-1]:.3g}, where rounding is {rounding(values):.3g}. "
        f"{nearest_to_parallel(x)} Give `noise` and `gradient_noise`, or observe less."
    )


def _check_gradients(
    caller: str, gradients: ArrayLike, where: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n d"]:
    slopes = as_array(caller, "gradients", gradients)
    if slopes.shape != where.shape or slopes.dtype.kind not in "fiu":
        raise ValueError(
            f"`{caller}` needs one real gradient per input, of shape {where.shape}. "
            f"Got `gradients.shape={slopes.shape}` of `dtype={slopes.dtype}`. For "
            "gradients at fewer inputs, give these as `gradient_x`."
        )
    slopes = slopes.astype(np.float64)
    check_finite(caller, "gradients", np.where(np.isnan(slopes), 0.0, slopes))
    return slopes
