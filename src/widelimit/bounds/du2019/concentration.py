"""Theorem D.1: how close the Gram matrices at initialisation are to their limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from widelimit._checks import check_at_least, check_finite, check_positive
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.du2019.checks import check_probability


@dataclass(frozen=True, kw_only=True)
class Concentration(Bound):
    r"""Theorem D.1 for one recursion; `value` is the right side of Eq. (9).

    Args:
        mean_value: The right side of Eq. (10), for $b^{(h)}$.
        gram_error: $\mathcal E_K$.
        mean_error: $\mathcal E_b$.
        first_factor: The factor of the first layer, which concentration gives.
        layer_factors: Those of the layers after it, which pass errors on.
        accumulated_gram_error: $\mathcal E_K$ with the concentration error of every
            layer, as in the proof, in place of the first one's alone.
        accumulated_mean_error: $\mathcal E_b$ likewise.
        probability: $1 - \delta$, over the initialisation.
    """

    mean_value: float
    gram_error: float
    mean_error: float
    first_factor: float
    layer_factors: tuple[float, ...]
    accumulated_gram_error: float
    accumulated_mean_error: float
    probability: float


def theorem_d1(
    *,
    samples: int,
    width: int,
    delta: float,
    moment_scale: float,
    mean_scale: float,
    separation: float,
    branch_constants: Sequence[float],
    skip_norms: Sequence[float],
    patch_norm: float = 1.0,
    pixels: int = 1,
) -> Concentration:
    r"""Theorem D.1: distance of the Gram matrices at width $m$ from their limits.

    With probability at least $1 - \delta$, for all layers and pairs of inputs,

    $$\left\|\tfrac1m \textstyle\sum_\alpha X_i^{[\alpha]} X_j^{[\alpha]\top} - K_{ij}
      \right\|_\infty \le \mathcal E_K \sqrt{\ell / m}, \quad
      \left\|\tfrac1m \textstyle\sum_\alpha X_i^{[\alpha]} - b_i\right\|_\infty \le
      \mathcal E_b \sqrt{\ell / m}, \quad \ell = \log(H n^2 p^2 / \delta),$$

    $$\mathfrak W \mathcal E_K = \sqrt M \mathcal E_b = F_1 \prod_{h=2}^H F_h, \quad
      F_1 = \max\left\{4 \mathfrak W M \sqrt{1 + 2 C_1^2 / \sqrt\pi},\;
      \sqrt 2\, C_1 M\right\},$$

    $$F_h = \max\left\{A_h^2 + \mathfrak W \left(2 A_h C_h
      \left(1 + \frac{B M}{\lambda^{3/2}}\right) + C_h^2 \sqrt{M / \lambda}\right),\;
      A_h + C_h \frac{M^{3/2}}{\lambda^{3/2}}\right\}.$$

    Here $M$ is 100 times the largest entry of a covariance, $B$ 100 times that of a
    mean, and $C_h = |\rho_h(0)| + \sup |\rho_h'|$. By Remark D.4:

    - Eq. (2): $C_h = \sqrt{c_\sigma} (|\sigma(0)| + L)$, $A_h = 0$, $M = 100$;
    - Eq. (3): the same $C_1$, then $C_h = \kappa (|\sigma(0)| + L) / H$ and $A_h = 1$;
      $M = 100 \max_{h < H} K^{(h)}_{ii}$.

    The proof adds a concentration error in each layer, but its result has that of the
    first one only; `accumulated_gram_error` has $\sum_l \prod_{h > l} F_h$ in place of
    $\prod_{h \ge 2} F_h$. The proof's own logarithm has $4 H n^2 p^2 / \delta$, and its
    last display a misplaced bracket, $(A_h + C_h) M^{3/2} / \lambda^{3/2}$; its
    recursion gives the statement's. It says nothing on the last matrix, with $\sigma'$.

    Args:
        samples: Inputs, $n$.
        width: $m$.
        delta: Probability $\delta$ of failure.
        moment_scale: $M$, with its factor 100.
        mean_scale: $B$, with its factor 100; without skip connections it plays no part.
        separation: $\lambda$, the least eigenvalue of the covariances of pairs of
            different inputs, over all pairs and layers $0, \dots, H - 1$.
        branch_constants: $C_1, \dots, C_H$.
        skip_norms: $A_1, \dots, A_H$; the first is 0, and not used.
        patch_norm: $\mathfrak W$, 1 but for convolutions.
        pixels: $p$.

    Returns:
        Both bounds, with their factors.

    Raises:
        ValueError: If an argument is out of range, or the sequences differ in length.

    Assumes:
        - $A_1 = 0$; $M \ge 100 \lambda$, as a least eigenvalue is at most any
          variance; every $F_h \ge 1$, or an earlier layer could be the worst: checked.
        - $\lambda > 0$: checked; an error otherwise.
        - The constants belong to one recursion (8) with Gaussian weights: declared.
        - The Bernstein and Hoeffding bounds of the base case, which the paper does
          not derive: declared.

    Constant:
        None is missing.

    References:
        du2019, Theorem D.1 with its proof.
    """
    caller = "theorem_d1"
    for name, size in [("samples", samples), ("width", width), ("pixels", pixels)]:
        check_at_least(caller, name, size, 1)
    check_probability(caller, "delta", delta)
    scales = {"moment_scale": moment_scale, "separation": separation}
    for name, scale in (scales | {"patch_norm": patch_norm}).items():
        check_positive(caller, name, scale)
    check_at_least(caller, "mean_scale", mean_scale, 0)
    C = _layers(caller, "branch_constants", branch_constants)
    A = _layers(caller, "skip_norms", skip_norms)
    if len(A) != len(C):
        raise ValueError(
            f"`{caller}` needs one number per layer. Got `len(branch_constants)="
            f"{len(C)}` and `len(skip_norms)={len(A)}`. Begin with the first layer."
        )
    W, M, B, low, p = patch_norm, moment_scale, mean_scale, separation, pixels
    gram = A**2 + W * (2 * A * C * (1 + B * M / low**1.5) + C**2 * math.sqrt(M / low))
    factors = np.maximum(gram, A + C * (M / low) ** 1.5)[1:]
    first = M * max(
        4 * W * math.sqrt(1 + 2 * C[0] ** 2 / math.sqrt(math.pi)),
        math.sqrt(2) * C[0],
    )
    # prod_{h > l} F_h for l = 1..H, the last of which is an empty product.
    passed = np.append(np.cumprod(factors[::-1])[::-1], 1.0)
    product, total = float(first * passed[0]), float(first * passed.sum())
    rate = math.sqrt(math.log(len(C) * (samples * p) ** 2 / delta) / width)
    value = product / W * rate
    return Concentration(
        name="Theorem D.1",
        source="du2019, App. D, Eq. (9)",
        kind="upper",
        quantity="largest entry of the Gram matrices minus their limits, at initial.",
        value=value,
        assumptions=(
            Assumption.checked("A_1 = 0", bool(A[0] == 0), f"A_1 = {A[0]:.6g}"),
            Assumption.checked(
                "M >= 100 lambda", M >= 100 * low, f"{M:.6g} against {100 * low:.6g}"
            ),
            Assumption.checked(
                "every later layer's factor is at least 1",
                bool((factors >= 1).all()),
                f"the least is {factors.min(initial=math.inf):.6g}",
            ),
            Assumption.declared("the constants belong to one recursion (8)"),
            Assumption.declared("the concentration bounds of the first layer"),
        ),
        constants=(),
        vacuous=value >= M / 100,
        reason=f"no entry of a covariance is above M / 100 = {M / 100:.6g} anyway",
        mean_value=product / math.sqrt(M) * rate,
        gram_error=product / W,
        mean_error=product / math.sqrt(M),
        first_factor=first,
        layer_factors=tuple(float(f) for f in factors),
        accumulated_gram_error=total / W,
        accumulated_mean_error=total / math.sqrt(M),
        probability=1 - delta,
    )


def _layers(caller: str, name: str, numbers: Sequence[float]) -> np.ndarray:
    array = np.asarray(numbers, dtype=float)
    if array.ndim != 1 or not len(array):
        raise ValueError(
            f"`{caller}` needs one number per layer in `{name}`. Got shape "
            f"{array.shape}. Pass a sequence that begins with the first layer."
        )
    check_finite(caller, name, array)
    check_at_least(caller, f"min({name})", float(array.min()), 0)
    return array
