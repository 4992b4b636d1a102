"""Lemmas A.3, A.4 and their like: what moving weights do to features and kernel."""

import math
from dataclasses import dataclass

from widelimit._checks import check_at_least, check_finite
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.du2019.architectures import AbstractArchitecture, Residual
from widelimit.bounds.du2019.checks import divide


@dataclass(frozen=True, kw_only=True)
class FeaturePerturbation(Bound):
    r"""How far one layer's features move at most.

    Args:
        layer: $h$.
        unrolled: What the recursion in the proof gives before it is rounded up; the
            value itself for fully-connected networks.
    """

    layer: int
    unrolled: float


@dataclass(frozen=True, kw_only=True)
class GramPerturbation(Bound):
    r"""How far the Gram matrix of the last hidden layer moves at most.

    Args:
        per_entry: Bound of $|G^{(H)}_{ij}(k) - G^{(H)}_{ij}(0)|$.
        target: $\lambda_0 / 4$, to stay below; `None` without $\lambda_0$.
        target_radius: Largest $R$ with a value of at most `target` for which the
            proof's conditions hold; `None` without $\lambda_0$.
    """

    per_entry: float
    target: float | None
    target_radius: float | None


def feature_perturbation(
    architecture: AbstractArchitecture, *, radius: float, layer: int | None = None
) -> FeaturePerturbation:
    r"""Lemmas A.3, B.3, C.3: movement of $x^{(h)}$ when weights move by $\sqrt m R$.

    $$\|x^{(h)}(k) - x^{(h)}(0)\|_F \le
      \sqrt{c_\sigma} L c_{x,0}\, g_{c_x}(h)\, R \quad \text{(A.3)}, \qquad
      \left(\sqrt{c_\sigma} L \sqrt q + \frac{c_{x,0}}{c_{w,0}}\right)
      e^{2 \kappa c_{w,0} L \sqrt q} R \quad \text{(B.3, C.3)},$$

    for each input of unit norm. It is linear in `radius`. Lemma A.3 is attained by
    $\sigma(z) = z$ at width 1. As a statement, Lemma B.3 has $\sqrt{c_{x,0}}$ and
    $e^{2 c_{x,0} c_{w,0} L}$; its proof gives the above.

    Args:
        architecture: `FullyConnected` or `Residual`.
        radius: $R$.
        layer: $h$, the last one if left out.

    Returns:
        The bound.

    Raises:
        ValueError: If `radius` is negative or there is no such layer.

    Assumes:
        - $R \le c_{w,0}$: checked.
        - $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$, $\|x^{(h)}(0)\| \le c_{x,0}$ and
          $\|W^{(h)}(k) - W^{(h)}(0)\|_F \le \sqrt m R$ for all $h$: declared.
        - Inputs of unit norm: declared.

    Constant:
        None is missing.

    References:
        du2019, Lemmas A.3, B.3 and C.3 with their proofs.
    """
    caller = "feature_perturbation"
    _check_radius(caller, radius)
    layer = architecture.depth if layer is None else layer
    if not 0 <= layer <= architecture.depth:
        raise ValueError(
            f"`{caller}` needs `layer` between 0 and `depth`. Got `layer={layer}` and "
            f"`depth={architecture.depth}`. Layer 0 is the input."
        )
    slope = architecture.feature_slope(layer)
    value = slope * radius
    unrolled = (
        architecture.unrolled_slope(layer) * radius
        if isinstance(architecture, Residual)
        else value
    )
    return FeaturePerturbation(
        name=f"Lemma {architecture.letter}.3",
        source=f"du2019, App. {architecture.letter}",
        kind="upper",
        quantity=f"norm of x^({layer})(k) - x^({layer})(0) for an input",
        value=value,
        assumptions=(
            Assumption.checked(
                "R <= c_w0",
                radius <= architecture.c_w0,
                f"{radius:.6g} against {architecture.c_w0:.6g}",
            ),
            *_declared(),
        ),
        constants=(),
        vacuous=value >= 2 * architecture.c_x0,
        reason=f"features start with a norm of at most {architecture.c_x0:.6g}",
        layer=layer,
        unrolled=unrolled,
    )


def gram_perturbation(
    architecture: AbstractArchitecture,
    *,
    radius: float,
    samples: int,
    lambda_0: float | None = None,
) -> GramPerturbation:
    r"""Lemmas A.4, B.4, C.4: movement of $G^{(H)}$ when weights move by $\sqrt m R$.

    $$\|G^{(H)}(k) - G^{(H)}(0)\|_2 \le \|\cdot\|_F \le s n R, \quad
      s = (2 \beta c_{x,0} + 3 \sqrt{c_\sigma} L^2) L c_\sigma c_{x,0}^2 g_{c_x}(H)
      \quad \text{(A.4)},$$

    and $s$ for residual networks as in `Residual`, where the paper's constants of
    Lemmas B.4 and C.4 are corrected. The lemmas then choose $R$ so small that the right
    side is at most $\lambda_0 / 4$; this is `target_radius`. Lemmas B.4 and C.4 say
    $\lambda_0 / 2$, which would leave $\lambda_{\min}(G^{(H)}(k)) \ge \lambda_0 / 4$,
    too little for the theorems' rate. It is linear in `radius` and `samples`.

    Args:
        architecture: `FullyConnected` or `Residual`.
        radius: $R$.
        samples: Inputs, $n$.
        lambda_0: Least eigenvalue $\lambda_0$ of $K^{(H)}$.

    Returns:
        The bound.

    Raises:
        ValueError: If `radius` is negative, `samples` below 1 or `lambda_0` not finite.

    Assumes:
        - $R \le c_{w,0}$, and features move by at most $c_{x,0}$: checked.
        - $\sigma'$ is Lipschitz: checked.
        - $\lambda_0 > 0$: checked if given.
        - $\|W^{(h)}(0)\|_2 \le c_{w,0} \sqrt m$, $\|x^{(h)}(0)\| \le c_{x,0}$ and
          $\|W^{(h)}(k) - W^{(h)}(0)\|_F \le \sqrt m R$ for all $h$: declared.
        - Inputs of unit norm: declared.

    Constant:
        None is missing.

    References:
        du2019, Lemmas A.4, B.4 and C.4 with their proofs.
    """
    caller = "gram_perturbation"
    _check_radius(caller, radius)
    check_at_least(caller, "samples", samples, 1)
    slope, limit = architecture.gram_slope, architecture.largest_radius
    value = slope * samples * radius if radius else 0.0
    assumptions = [
        Assumption.checked(
            "weights and features at most double",
            radius <= limit,
            f"R = {radius:.6g} against {limit:.6g}",
        ),
        _smooth(architecture),
        *_declared(),
    ]
    target = reached = vacuous = None
    reason = "no lambda_0 was given to compare with"
    if lambda_0 is not None:
        check_finite(caller, "lambda_0", lambda_0)
        assumptions.append(Assumption.checked("lambda_0 > 0", lambda_0 > 0))
        target = lambda_0 / 4
        reached = stable_radius(architecture, samples, lambda_0)
        vacuous = lambda_0 <= 0 or value > target
        reason = f"the theorems need at most lambda_0 / 4 = {target:.6g}, above zero"
    return GramPerturbation(
        name=f"Lemma {architecture.letter}.4",
        source=f"du2019, proof in App. {architecture.letter}.1",
        kind="upper",
        quantity="operator norm of G^(H)(k) - G^(H)(0)",
        value=value,
        assumptions=tuple(assumptions),
        constants=(),
        vacuous=vacuous,
        reason=reason,
        per_entry=value / samples,
        target=target,
        target_radius=reached,
    )


def stable_radius(
    architecture: AbstractArchitecture, samples: int, lambda_0: float
) -> float:
    r"""Largest $R$ for which `gram_perturbation` gives at most $\lambda_0 / 4$.

    Args:
        architecture: `FullyConnected` or `Residual`.
        samples: Inputs, $n$.
        lambda_0: Least eigenvalue of $K^{(H)}$.

    Returns:
        The radius, zero unless $\lambda_0$ is positive.
    """
    reached = divide(lambda_0 / 4, architecture.gram_slope * samples)
    return max(min(architecture.largest_radius, reached), 0.0)


def _smooth(architecture: AbstractArchitecture) -> Assumption:
    beta = architecture.activation.smoothness
    return Assumption.checked(
        "the activation's derivative is Lipschitz", beta < math.inf, f"beta = {beta}"
    )


def _declared() -> tuple[Assumption, ...]:
    return (
        Assumption.declared("every |W^(h)(0)|_2 <= c_w0 sqrt(m), |x^(h)(0)| <= c_x0"),
        Assumption.declared("every |W^(h)(k) - W^(h)(0)|_F <= R sqrt(m)"),
        Assumption.declared("inputs of unit norm"),
    )


def _check_radius(caller: str, radius: float) -> None:
    check_finite(caller, "radius", radius)
    check_at_least(caller, "radius", radius, 0)
