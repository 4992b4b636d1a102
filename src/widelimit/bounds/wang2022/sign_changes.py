"""Lemmas B.4 and B.6: how many units can change sign, and how probably one does."""

import math
from dataclasses import dataclass

import scipy.stats

from widelimit._checks import check_count, check_positive
from widelimit.bounds.base import Bound
from widelimit.bounds.wang2022.checks import (
    GAUSSIAN,
    Inputs,
    check_perturbation,
    check_sizes,
    half,
    on_sphere,
)
from widelimit.bounds.wang2022.terms import near_probability, possible_probability


@dataclass(frozen=True, kw_only=True)
class LemmaB4(Bound):
    r"""Lemma B.4 for one width; `value` is the printed bound on $|S_v|$.

    Args:
        repaired: The least number that $|S_v|$ exceeds with probability $\gamma$ at
            most: a quantile of its law, which is binomial.
        mean: Of $|S_v|$.
        perturbed: The printed bound on $|S'_v|$.
        perturbed_repaired: The quantile of $|S'_v|$, as it is defined.
        perturbed_mean: Of $|S'_v|$.
        perturbed_holds: Whether `perturbed` is at least `perturbed_repaired`, that is,
            whether the printed bound holds with its probability.
    """

    repaired: float
    mean: float
    perturbed: float
    perturbed_repaired: float
    perturbed_mean: float
    perturbed_holds: bool


def lemma_b4(
    *,
    width: int,
    features: int,
    radius: float,
    gamma: float,
    delta: float = 0.0,
    inputs: Inputs | None = None,
) -> LemmaB4:
    r"""Lemma B.4: units that can change sign within the lazy ball.

    For one input, with probability at least $1 - \gamma$ each, as printed,

    $$|S_v| \le V m + \sqrt{\tfrac m2 \log\tfrac1\gamma}, \qquad
      |S'_v| \le \left(V m + \sqrt{\tfrac m2 \log\tfrac1\gamma}\right) (1 + R).$$

    A unit is in $S_v$ if some $w_s$ within $V$ of $w_{s,0}$ has another sign at $x$, in
    $S'_v$ if it has another sign than $w_{s,0}$ at some common $x + \delta$. Both
    counts are binomial. A unit is in $S_v$ iff $|\langle w_{s,0}, x \rangle| \le V$, of
    probability $\mathrm{erf}(V / \sqrt 2) \le \sqrt{2/\pi}\, V$, and in $S'_v$ iff
    $|p| \sqrt{1 - R^2} - q R \le V$, with $p = \langle w_{s,0}, x \rangle$ and $q$ the
    norm of the rest of $w_{s,0}$ (on the boundary a strict sign decides; it has
    probability 0). `repaired` and `perturbed_repaired` are the quantiles.

    **The bound on $|S'_v|$ is false.** Its proof applies Hoeffding's inequality to one
    $\delta$, but $S'_v$ is a union over all of them. As $q$ is about $\sqrt d$, a
    perturbation of $R = C_1 / \sqrt d$ moves $\langle w, x \rangle$ by $C_1$: a
    constant fraction of all units is in $S'_v$, where the bound is of order $\sqrt m$.
    For one fixed $\delta$ the bound holds, without its factor $1 + R$. What the proof
    of Lemma B.8 needs is between the two, see `lemma_b9`.

    The bound on $|S_v|$ is right; the $\|x\|^2$ in its proof should be $\|x\|$. Both
    together hold with probability $1 - 2 \gamma$.

    Args:
        width: $m$.
        features: $d$; only $S'_v$ depends on it.
        radius: $V$, of the lazy ball; $C_0 / \sqrt m$ in the other lemmas.
        gamma: Probability $\gamma$ of failure.
        delta: $R$, for $S'_v$.
        inputs: Inputs, to check their norm.

    Returns:
        Both bounds, beside the exact quantiles.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared. $R \le 1/2$: checked.
        - Gaussian weights with variance 1: declared.

    Constant:
        None is missing.

    References:
        wang2022, Lemma B.4 (Lemma 4.3).
    """
    caller = "lemma_b4"
    check_sizes(caller, gamma=gamma, c_0=1.0, width=width, features=features)
    check_positive(caller, "radius", radius)
    check_perturbation(caller, delta)
    value = radius * width + math.sqrt(width * math.log(1 / gamma) / 2)
    near = near_probability(radius)
    possible = possible_probability(features, radius, delta)
    quantile, other = (
        float(scipy.stats.binom.isf(gamma, width, p)) for p in (near, possible)
    )
    perturbed = value * (1 + delta)
    return LemmaB4(
        name="Lemma B.4",
        source="wang2022, App. B",
        kind="upper",
        quantity="units that can change sign in the lazy ball",
        value=value,
        assumptions=(on_sphere(caller, inputs, features), half(delta), GAUSSIAN),
        constants=(),
        vacuous=value >= width,
        reason=f"there are {width} units",
        repaired=quantile,
        mean=width * near,
        perturbed=perturbed,
        perturbed_repaired=other,
        perturbed_mean=width * possible,
        perturbed_holds=perturbed >= other,
    )


@dataclass(frozen=True, kw_only=True)
class LemmaB6(Bound):
    r"""Lemma B.6 for one unit; `value` is the right side of Eq. (4).

    Args:
        exact: The largest probability that Eq. (4) bounds, over all $\delta$.
        flip: The right side of Eq. (3).
        flip_exact: The largest probability that Eq. (3) bounds, $\arcsin(R) / \pi$.
    """

    exact: float
    flip: float
    flip_exact: float


def lemma_b6(
    *,
    features: int,
    radius: float,
    delta: float,
    net_radius: float,
    inputs: Inputs | None = None,
) -> LemmaB6:
    r"""Lemma B.6: the probability that one unit changes sign with the input.

    For fixed $\delta$ of norm at most $R$, as printed,

    $$P(\mathrm{sign}\, w_0^\top x \ne \mathrm{sign}\, w_0^\top (x + \delta)) \le
      R \sqrt{2 \log d} + 1/d, \tag{3}$$

    $$P(\exists\, w, \delta':\ \mathrm{sign}\, w^\top (x + \delta) \ne
      \mathrm{sign}\, w^\top (x + \delta')) \le
      2 \varepsilon (\sqrt d + 2 \sqrt{d \log(2 / \varepsilon)}) +
      (1 + R + \varepsilon) V, \tag{4}$$

    with $\|w - w_0\| \le V$ and $\|\delta' - \delta\| \le \varepsilon$. Both statements
    are right, and both probabilities have exact values: the first is the angle between
    $x$ and $x + \delta$ over $\pi$, at most $\arcsin(R) / \pi$, without logarithms. The
    second is that of $|p| \cos\alpha - q \sin\alpha \le V$ with $\sin\alpha =
    \varepsilon / \|x + \delta\|$ and independent $p \sim N(0, 1)$,
    $q \sim \chi_{d-1}$; it is largest for $\|x + \delta\| = 1 - R$.

    The proof of Eq. (4) takes the variance of $w_0^\top (x + \delta)$ for at least 1/2
    (its standard deviation is), and uses a density that needs 2/pi; its
    last step has room for the factor 1.6 that is lost. It also uses Eq. (2) where that
    may fail, for $\log(2 / \varepsilon) > d$; there is room for that too.

    Args:
        features: $d$.
        radius: $V$.
        delta: $R$.
        net_radius: $\varepsilon$, below 1.
        inputs: Inputs, to check their norm.

    Returns:
        Eq. (4), with Eq. (3) and the exact values beside it.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared. $R \le 1/2$: checked.
        - Gaussian weights with variance 1: declared.

    Constant:
        None is missing.

    References:
        wang2022, Lemma B.6; Eq. (3) is from Bubeck et al. (2021).
    """
    caller = "lemma_b6"
    check_count(caller, "features", features, 1)
    check_positive(caller, "radius", radius)
    check_perturbation(caller, delta)
    if not 0 < net_radius < 1:
        raise ValueError(
            f"`{caller}` needs `0 < net_radius < 1`. Got `net_radius={net_radius}`."
        )
    d, eps = features, net_radius
    value = 2 * eps * math.sqrt(d) * (1 + 2 * math.sqrt(math.log(2 / eps)))
    value += (1 + delta + eps) * radius
    turn = eps / (1 - delta)
    if turn >= 1:  # the input can reach zero, and pass it
        exact = 1.0
    else:  # on a line it cannot turn
        exact = possible_probability(d, radius, turn) if d > 1 else 0.0
    return LemmaB6(
        name="Lemma B.6",
        source="wang2022, Eq. (4)",
        kind="upper",
        quantity="probability that one unit changes sign",
        value=value,
        assumptions=(on_sphere(caller, inputs, features), half(delta), GAUSSIAN),
        constants=(),
        vacuous=value >= 1,
        reason="a probability is at most 1",
        exact=exact,
        flip=delta * math.sqrt(2 * math.log(d)) + 1 / d,
        flip_exact=math.asin(delta) / math.pi if d > 1 else 0.0,
    )
