"""Lemma B.8: how much the gradient changes with one perturbation."""

import math
from dataclasses import dataclass

from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.wang2022.checks import (
    GAUSSIAN,
    Inputs,
    check_perturbation,
    check_sizes,
    chi_square,
    half,
    on_sphere,
)
from widelimit.bounds.wang2022.terms import (
    any_units,
    at_most,
    fourth_root,
    near_probability,
    uniform_terms,
)


@dataclass(frozen=True, kw_only=True)
class LemmaB8(Bound):
    r"""Lemma B.8 for one width.

    Args:
        proof: The bound at the end of the proof, which has $\sqrt{\log(4 m / \gamma)} +
            3$ where the statement has the root alone.
        repaired: A bound with the gaps of the proof closed.
    """

    proof: float
    repaired: float


def lemma_b8(
    *,
    width: int,
    features: int,
    c_0: float,
    gamma: float,
    delta: float,
    inputs: Inputs | None = None,
) -> LemmaB8:
    r"""Lemma B.8: change of the gradient along one direction, for one perturbation.

    For fixed unit $r$ and fixed $\delta$ of norm at most $R$, with probability at least
    $1 - \gamma$, for all $W$ within $C_0 / \sqrt m$, with $\ell = \log(4 / \gamma)$,
    $r^\top (\nabla f(x) - \nabla f(x + \delta))$ is at most

    $$2 \sqrt\ell \left((4 R \sqrt{\log d})^{1/4} + \sqrt{\ell / m}\right) + C_0 +
      3 \sqrt{\frac{C_0 + \sqrt{\ell / 2}}{\sqrt m}}
      \sqrt{d + 4 \sqrt{d \log(8 m / \gamma)}} +
      5 (C_0 + \sqrt\ell) \sqrt{\log(4 m / \gamma)}.$$

    The proof ends with $\sqrt{\log(4 m / \gamma)} + 3$ as the last factor (`proof`).
    Further slips in it:

    - the moments of order $q \ge 3$ need $v = 2^{11/4} m \sqrt{R \sqrt{\log d}}$ in
      Bernstein's inequality, 1.7 times the $v$ used; and $R \sqrt{2 \log d} \ge 1 / d$;
    - the largest of $m$ Gaussians is bounded by $\sqrt{\log(m / \gamma)}$, without the
      2 under the root;
    - the units that change sign are summed as if chosen without regard to the weights
      (see `lemma_b7`), and their number at $x + \delta$ is that of the false half of
      `lemma_b4`. It is only needed for one $\delta$ at a time.

    `repaired` replaces all this. Let $n$, $k_0$, $k_1$ bound (Bernstein) the numbers of
    units that differ between $x$ and $x + \delta$ at initialisation, of probability
    $\arcsin(R) / \pi$ at most, and of those that can change sign in the ball at $x$,
    and at $x + \delta$. Then, with $\tau = \log(5 / \gamma)$ and $k = k_0 + k_1$,

    $$\sqrt{4 n \tau / m} + C_0 \frac{n + k}m + \frac{\sqrt{k_0} + \sqrt{k_1}}{\sqrt m}
      \left(\sqrt k + \sqrt{2 k \log(e m / k) + 2 \tau}\right).$$

    The first term is a sum with random signs, whose terms have moments
    $E e^{\lambda X} \le e^{\lambda^2}$ (a Gaussian part and a Rayleigh part); the last
    takes the worst $k$ of the $m$ numbers $w_{s,0}^\top r$.

    Args:
        width: $m$.
        features: $d$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ of failure.
        delta: $R$, the norm of the perturbation at most.
        inputs: Inputs, to check their norm.

    Returns:
        The bound for one input, direction and perturbation.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared. $R \le 1/2$: checked.
        - $R \sqrt{2 \log d} \ge 1 / d$, $d \ge \log(m / \gamma) \log(1 / \gamma)$, $d
          \ge \log(8 m / \gamma)$, which the proof uses: checked. `repaired` does not
          need them.
        - Gaussian weights with variance 1 and random signs: declared.

    Constant:
        None is missing; $C_1 = R \sqrt d$ does not appear.

    References:
        wang2022, Lemma B.8.
    """
    caller = "lemma_b8"
    check_sizes(caller, gamma=gamma, c_0=c_0, width=width, features=features)
    check_perturbation(caller, delta)
    m, d, tail = float(width), float(features), math.log(4 / gamma)
    first, second, factor = uniform_terms(m, d, c_0, gamma)
    value = 2 * math.sqrt(tail) * (fourth_root(d, delta) + math.sqrt(tail / m))
    value += c_0 + first
    last = second * math.sqrt(math.log(4 * m / gamma))
    known = math.sqrt(2 * m / math.pi) + c_0
    root = delta * math.sqrt(2 * math.log(d))
    product = math.log(m / gamma) * math.log(1 / gamma)
    return LemmaB8(
        name="Lemma B.8",
        source="wang2022, App. B",
        kind="upper",
        quantity="change of the gradient along a fixed direction",
        value=value + last,
        assumptions=(
            on_sphere(caller, inputs, features),
            half(delta),
            Assumption.checked(
                "R sqrt(2 log d) >= 1/d", root >= 1 / d, f"{root:.6g} and {1 / d:.6g}"
            ),
            Assumption.checked(
                "d >= log(m / gamma) log(1 / gamma)", d >= product, f"{product:.6g}"
            ),
            chi_square(features, math.log(8 * m / gamma)),
            GAUSSIAN,
        ),
        constants=(),
        vacuous=value + last >= known,
        reason=f"sum |w_s r| / sqrt(m) + C_0 has mean {known:.6g} at most",
        proof=value + second * factor,
        repaired=_for_one(m, c_0, gamma, delta),
    )


def _for_one(m: float, c_0: float, gamma: float, delta: float) -> float:
    """Lemma B.8, repaired. Five events of probability `gamma / 5`."""
    tail = math.log(5 / gamma)
    n = at_most(m * math.asin(delta) / math.pi, tail, m)
    k = at_most(m * near_probability(c_0 / math.sqrt(m)), tail, m)
    moved = c_0 * min(1, (n + 2 * k) / m)
    return math.sqrt(4 * n * tail / m) + moved + any_units(m, k, k, 0.0, tail)
