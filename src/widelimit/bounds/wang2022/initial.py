"""Lemmas B.5 and B.7: the size of the function, and of its gradient."""

import math
from dataclasses import dataclass

from widelimit.bounds.base import Bound
from widelimit.bounds.wang2022.checks import (
    GAUSSIAN,
    Inputs,
    check_sizes,
    chi_square,
    on_sphere,
)
from widelimit.bounds.wang2022.terms import at_most, near_probability

# From m = WIDE log(2 / gamma) on, the second form of Lemma B.5 follows from the first.
WIDE = 4 / (2 - math.sqrt(2)) ** 2


@dataclass(frozen=True, kw_only=True)
class LemmaB5(Bound):
    r"""Lemma B.5 for one width.

    Args:
        repaired: The same with the variance 1/2 that the sum has, a smaller bound.
        simplified: $2 \sqrt{\log(2 / \gamma)} + C_0$, NaN where $m$ is below $C
            \log(2 / \gamma)$. The least $C$ is $4 / (2 - \sqrt 2)^2 = 11.7$.
    """

    repaired: float
    simplified: float


def lemma_b5(
    *, width: int, c_0: float, gamma: float, inputs: Inputs | None = None
) -> LemmaB5:
    r"""Lemma B.5: the function is of order 1 at an input, in the whole lazy ball.

    With probability at least $1 - \gamma$, for all $W$ within $C_0 / \sqrt m$,

    $$|f(x)| \le \sqrt{2 \log(2 / \gamma)} + \frac{2 \log(2 / \gamma)}{\sqrt m} + C_0.$$

    It is right. Bernstein's inequality holds with $v = m / 2$ and $c = 1$, which gives
    `repaired`, $\sqrt{\log(2 / \gamma)} + \log(2 / \gamma) / \sqrt m + C_0$.

    Args:
        width: $m$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ of failure.
        inputs: Inputs, to check their norm.

    Returns:
        The bound for one input.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared.
        - Gaussian weights with variance 1 and random signs: declared.

    Constant:
        None is missing.

    References:
        wang2022, Lemma B.5 (Lemma 4.1).
    """
    caller = "lemma_b5"
    check_sizes(caller, gamma=gamma, c_0=c_0, width=width)
    tail, root = math.log(2 / gamma), math.sqrt(width)
    value = math.sqrt(2 * tail) + 2 * tail / root + c_0
    known = math.sqrt(width / (2 * math.pi)) + c_0
    wide = width >= WIDE * tail
    return LemmaB5(
        name="Lemma B.5",
        source="wang2022, App. B",
        kind="upper",
        quantity="|f(x)| in the lazy ball",
        value=value,
        assumptions=(on_sphere(caller, inputs), GAUSSIAN),
        constants=(),
        vacuous=value >= known,
        reason=f"without cancellation the mean over initialisations is {known:.6g}",
        repaired=math.sqrt(tail) + tail / root + c_0,
        simplified=2 * math.sqrt(tail) + c_0 if wide else math.nan,
    )


@dataclass(frozen=True, kw_only=True)
class LemmaB7(Bound):
    r"""Lemma B.7 for one width; `value` is `initial - moved - changed`.

    Args:
        repaired: The bound with the gap of the proof closed.
        initial: Of the gradient at initialisation; zero if it does not exist.
        moved: $C_0$, for the change of the weights.
        changed: For the units that change sign.
        changed_repaired: The same for all sets of such units.
        simplified: $\sqrt d / 4$, the second form.
    """

    repaired: float
    initial: float
    moved: float
    changed: float
    changed_repaired: float
    simplified: float


def lemma_b7(
    *,
    width: int,
    features: int,
    c_0: float,
    gamma: float,
    inputs: Inputs | None = None,
) -> LemmaB7:
    r"""Lemma B.7: the gradient is of order $\sqrt d$, in the whole lazy ball.

    With probability at least $1 - \gamma$, for all $W$ within $C_0 / \sqrt m$, with
    $\ell = \log(4 / \gamma)$,

    $$\|\nabla f(x)\| \ge \sqrt{\left(\tfrac12 - \sqrt{2 \ell / m} - \ell / m\right)
      \left(d - 5 \sqrt{d \log(8 / \gamma)}\right)} - C_0 -
      \sqrt{\frac{C_0 + \sqrt{\ell / 2}}{\sqrt m}}\,
      \sqrt{d + 4 \sqrt{d \log(8 m / \gamma)}}.$$

    The last term has a gap: Eq. (7) puts one Gaussian vector for the sum over the units
    that change sign, as if these were chosen without regard to the weights. But $W$ is
    any in the ball, so any subset of $S_v$ can be among them. `repaired` takes the
    worst one, by the operator norm of the $k = |S_v|$ columns, and counts that about
    half of the units are on and move the gradient: with $t = \log(6 / \gamma)$,
    $h = \sqrt{t / 2 m}$ and $n = d - 1$,

    $$\sqrt{\left(\tfrac12 - h\right) \left(n - 2 \sqrt{n t}\right)} -
      C_0 \min\left\{1, \tfrac12 + h + \tfrac km\right\} -
      \sqrt{\frac km} \left(\sqrt n + \sqrt{2 t} + \tfrac12 \sqrt k\right).$$

    The last term does not vanish with the width, it goes to $0.4\, C_0$. The conclusion
    stands.

    The second form, $\sqrt d / 4$ for $m \ge C \log(4 / \gamma)$ and $d \ge C \log(8 m
    / \gamma) / m$, cannot be right: at $d = 1$ the gradient at initialisation is nearly
    $N(0, 1/2)$, and smaller with probability 0.28. The first form needs
    $d > 25 \log(8 / \gamma)$, and a $C_0$ small against $\sqrt d$.

    Args:
        width: $m$.
        features: $d$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ of failure.
        inputs: Inputs, to check their norm.

    Returns:
        The bound for one input. `value` may be negative.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared.
        - $d \ge \log(8 m / \gamma)$, without which Eq. (2) is false: checked.
          `repaired` does without.
        - Gaussian weights with variance 1 and random signs: declared.

    Constant:
        None is missing.

    References:
        wang2022, Lemma B.7 (Lemma 4.2).
    """
    caller = "lemma_b7"
    check_sizes(caller, gamma=gamma, c_0=c_0, width=width, features=features)
    m, d, tail = float(width), float(features), math.log(4 / gamma)
    on = 0.5 - math.sqrt(2 * tail / m) - tail / m
    rest = d - 5 * math.sqrt(d * math.log(8 / gamma))
    initial = math.sqrt(on * rest) if min(on, rest) > 0 else 0.0
    union = math.log(8 * m / gamma)
    changed = math.sqrt((c_0 + math.sqrt(tail / 2)) / math.sqrt(m)) * math.sqrt(
        d + 4 * math.sqrt(d * union)
    )
    start, moved, any_set = _repaired(m, d, c_0, gamma)
    value = initial - c_0 - changed
    return LemmaB7(
        name="Lemma B.7",
        source="wang2022, App. B",
        kind="lower",
        quantity="norm of the gradient in the input, in the lazy ball",
        value=value,
        assumptions=(
            on_sphere(caller, inputs, features),
            chi_square(features, union),
            GAUSSIAN,
        ),
        constants=(),
        vacuous=value <= 0,
        reason="a norm is not negative",
        repaired=start - moved - any_set,
        initial=initial,
        moved=c_0,
        changed=changed,
        changed_repaired=any_set,
        simplified=math.sqrt(d) / 4,
    )


def _repaired(
    m: float, d: float, c_0: float, gamma: float
) -> tuple[float, float, float]:
    """The three terms of Lemma B.7, repaired."""
    # Six events of probability `gamma / 6`: two tails of the units that are on, the
    # number of those that can change, the norm at initialisation, and the sum and the
    # operator norm of those that can change.
    n, tail = d - 1, math.log(6 / gamma)
    part = math.sqrt(tail / (2 * m))
    k = at_most(m * near_probability(c_0 / math.sqrt(m)), tail, m)
    start = math.sqrt(max(0.5 - part, 0) * max(n - 2 * math.sqrt(n * tail), 0))
    moved = c_0 * min(1, 0.5 + part + k / m)
    any_set = math.sqrt(n) + math.sqrt(2 * tail) + math.sqrt(k) / 2
    return start, moved, math.sqrt(k / m) * any_set
