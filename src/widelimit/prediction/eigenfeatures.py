"""The parts that eigenvectors of the kernel contribute to a trained network."""

import math

import numpy as np
from jaxtyping import ArrayLike

from widelimit._checks import check_kind
from widelimit.kernels import jacobian_kernel
from widelimit.prediction.flow import AbstractTraining
from widelimit.prediction.predictor import PAIRS, Prediction, new_inputs, split


def eigenfeatures(
    training: AbstractTraining,
    x: ArrayLike,
    time: float | int = math.inf,
    *,
    gradients: bool = True,
) -> Prediction:
    r"""The eigenfeatures of kim2023, Sec. 5.2, of all eigenvalues at once.

    $$f_i(x) = \Theta_\lambda(x, X)_0^\top \mu_i^{-1} v_i v_i^\top \mathbf y,$$

    from the largest eigenvalue $\mu_i$ of $\Theta_\lambda$ on, with their gradients.
    They sum to the network at $t = \infty$. At another time $\mu_i^{-1}$ becomes
    $(1 - e^{-t \mu_i / N}) / \mu_i$, and they sum to the network then (to what training
    has added, if it did not start from zero).

    Args:
        training: The training, such as `robust_flow`'s.
        x: Inputs, one per row.
        time: The time, or the number of steps.
        gradients: Whether gradients are wanted; without, they are empty.

    Returns:
        Values and gradients, with the eigenvalues (`training.eigenvalues`) in front.

    Raises:
        ValueError: If inputs or time do not fit, or the time is `inf` and an
            eigenvalue cannot be told from zero.

    References:
        Kim & Yang (2023), Sec. 5.2, https://arxiv.org/abs/2312.03386
    """
    check_kind(
        "eigenfeatures",
        "training",
        training,
        AbstractTraining,
        "robust_flow(network, x, y)",
    )
    rows = new_inputs("eigenfeatures", x, training.x.shape[1])
    grown = training.growth("eigenfeatures", time)
    factors = -grown[:, None] * training.coefficients
    weights = training.scale_gradients(training.vectors)
    n, r, count = weights.shape
    weights = weights.reshape(n * r, count)
    side = max(1, PAIRS // (n * r * (rows.shape[1] if gradients else 1)))
    found = []
    for start in range(0, len(rows), side):
        kernel = jacobian_kernel(
            training.network, rows[start : start + side], training.x
        )
        kernel = kernel.part(
            "both" if gradients else "value", "both" if r > 1 else "value"
        )
        parts = (kernel.dense() @ weights).reshape(len(kernel.x1), -1, count)
        found.append(np.einsum("msi,io->imso", parts, factors))
    return split(np.concatenate(found, axis=1), training.single)
