"""What gradient descent records, and the eigenvalues of its Gram matrices."""

import math

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from widelimit.layers import Params


class Descent(eqx.Module):
    r"""A descent of several seeds, with what du2019 follows from step to step.

    Axis `k` counts seeds, `t` steps 0 (the start) to the last, `h` layers $1..H$, those
    with parameters that are trained. Where a seed has diverged, values are NaN.

    Attributes:
        params: The parameters after the last step (or the last finite ones), with a
            leading axis of seeds.
        step_size: $\eta$.
        outputs: $u(k)$.
        loss: $L(k) = \tfrac12 \|y - u(k)\|_2^2$.
        smallest: $\lambda_{\min}(G^{(H)}(k))$.
        change: $\|G^{(H)}(k) - G^{(H)}(0)\|_2$.
        smallest_total: $\lambda_{\min}(G(k))$, $G = \sum_h G^{(h)}$.
        largest_total: $\lambda_{\max}(G(k))$.
        movement: $\|W^{(h)}(k) - W^{(h)}(0)\|_F / \sqrt m$, $m$ the layer's outputs.
        initial_gram: $G^{(H)}(0)$.
        initial_total: $G(0)$.
        margin: $\log$ of the bound of Condition 6.1 less $\log$ of the loss, both over
            the first loss: $k \log(1 - \eta \lambda_0 / 2) - \log(L(k) / L(0))$;
            `None` without $\lambda_0$.
        condition: Whether Condition 6.1 held: `margin` is not negative. It does not
            where the seed has diverged.
        initial_error: $\|G^{(H)}(0) - K^{(H)}\|_2$; `None` without $K^{(H)}$.
        diverged_at: Step at which the loss, a parameter or a Gram matrix stopped being
            finite; 0 if none did. Such a seed keeps its last finite parameters.
    """

    params: Params
    step_size: float
    outputs: Float[np.ndarray, "k t n"]
    loss: Float[np.ndarray, "k t"]
    smallest: Float[np.ndarray, "k t"]
    change: Float[np.ndarray, "k t"]
    smallest_total: Float[np.ndarray, "k t"]
    largest_total: Float[np.ndarray, "k t"]
    movement: Float[np.ndarray, "k t h"]
    initial_gram: Float[np.ndarray, "k n n"]
    initial_total: Float[np.ndarray, "k n n"]
    margin: Float[np.ndarray, "k t"] | None
    condition: Bool[np.ndarray, "k t"] | None
    initial_error: Float[np.ndarray, " k"] | None
    diverged_at: Int[np.ndarray, " k"]


def measured(
    recorded: dict[str, np.ndarray],
    y: Float[np.ndarray, " n"],
    start: Float[np.ndarray, "k n n"],
) -> dict[str, np.ndarray]:
    """What a `Descent` holds for every step, from what the device recorded.

    Args:
        recorded: Some steps, as NumPy arrays.
        y: Targets.
        start: $G^{(H)}(0)$.

    Returns:
        Arrays with axes `k t` in front, by the name of the field.
    """
    total = _eigenvalues(recorded["gram"])
    outputs = recorded["outputs"].astype(float)
    return {
        "outputs": recorded["outputs"],
        "loss": 0.5 * np.sum(np.square(outputs - y), axis=-1),
        "smallest": _eigenvalues(recorded["last_gram"])[..., 0],
        "change": norms(recorded["last_gram"] - start[:, None]),
        "smallest_total": total[..., 0],
        "largest_total": total[..., -1],
        "movement": recorded["movement"],
    }


def _eigenvalues(grams: Float[np.ndarray, "*t n n"]) -> Float[np.ndarray, "*t n"]:
    """Eigenvalues in rising order; NaN for a matrix with a NaN."""
    grams = grams.astype(float)
    lost = np.asarray(np.isnan(grams).any(axis=(-2, -1)))
    found = np.linalg.eigvalsh(np.where(lost[..., None, None], 0.0, grams))
    return np.where(lost[..., None], math.nan, found)


def norms(matrices: Float[np.ndarray, "*t n n"]) -> Float[np.ndarray, "*t"]:
    """Operator norms of symmetric matrices."""
    return np.abs(_eigenvalues(matrices)).max(axis=-1)
