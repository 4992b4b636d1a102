"""Lemma B.9: how much the gradient changes with any perturbation."""

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
    possible_probability_bound,
    uniform_terms,
)


@dataclass(frozen=True, kw_only=True)
class LemmaB9(Bound):
    r"""Lemma B.9 for one width.

    Args:
        unrolled: The last bound of the proof before it is simplified.
        repaired: A bound with the gaps of the proof closed.
        main: The first term of `repaired`, of units that differ at initialisation.
        changed: Its last term, of units that change sign in the ball or the net.
        sign_changes: Bound on the number of units that change sign in the ball at one
            and the same $x + \delta$, for all $\delta$: $k_1$.
    """

    unrolled: float
    repaired: float
    main: float
    changed: float
    sign_changes: float


def lemma_b9(
    *,
    width: int,
    features: int,
    c_0: float,
    gamma: float,
    delta: float,
    inputs: Inputs | None = None,
) -> LemmaB9:
    r"""Lemma B.9: the largest change of the gradient over all perturbations.

    With probability at least $1 - \gamma$, for all $W$ within $C_0 / \sqrt m$,

    $$\sup_{\|\delta\| \le R} \|\nabla f(x) - \nabla f(x + \delta)\| \le 9 \left(C_1 d^2
      \log^2(m d) \sqrt{\frac{\log d}d}\right)^{1/4} + \frac{15 d \log(m d)}{\sqrt m} +
      327\, \bar C C_0 d^{1/4}$$

    with $\bar C = \max\{1, C_0\}$ and $C_1 = R \sqrt d$, the least that is allowed. The
    powers are right: the first term is of order $d^{3/8}$. What is not:

    - `unrolled` is the sum before it is simplified. The simplification takes
      $5 \sqrt{\log(4 / \gamma) \log(4 m / \gamma)}$ for at most $50 d^{1/4}$, and
      $113\, \bar C C_0 \sqrt{\log m}$ for terms that do not vanish with $C_0$: for
      $C_0 < 1$ it should have $\bar C^2$ (also in `unrolled`).
    - The step $\sqrt m \ge 0.33\, d \log(m d)$ does not follow from $m \ge d^{2.4}$: at
      $m = d^{2.4}$ it fails for $d$ from 4 to $8.4 \times 10^5$. The line before has
      dropped a term; with it 0.1 is enough, which does follow.
    - The proof uses $d \ge \log(4 m / \gamma)^2$, the statement has
      $d \ge \log(4 / \gamma)^2$.
    - The failures add up to $3.1 \gamma$, not $\gamma$.
    - It begins with Lemma B.8 and its gaps: above all, the number of units that change
      sign at $x + \delta$ is taken for one $\delta$ where all are meant.

    `repaired` is a proof of the same kind without them, for any $m$ and $R < 1$. Take a
    net of the ball of $\delta$ with distance $\varepsilon = C_0 / \sqrt{m d}$, of $N
    \le (1 + 2 R / \varepsilon)^d$ points, and $\tau = \log(14 N / \gamma)$. For all of
    its points at once, $n$ units at most differ between $x$ and $x + \delta$ at
    initialisation (probability $\arcsin(R) / \pi$), and $k_1$ can change sign in the
    ball while $\delta$ moves by $\varepsilon$ (probability as in `lemma_b6`); $k_0$ can
    at $x$. With $k = k_0 + k_1$ the supremum is at most

    $$\sqrt{\frac nm} \sqrt{(\sqrt d + \sqrt{2 \tau})^2 + 8 \tau} + C_0 \frac{n + k}m +
      \frac{\sqrt{k_0} + \sqrt{k_1}}{\sqrt m} \left(\sqrt k + \sqrt d +
      \sqrt{2 k \log(e m / k) + 2 \log(4 / \gamma)}\right).$$

    The first term is of order $d^{1/4} \sqrt{\log(m d)}$ for $R = C_1 / \sqrt d$. The
    units that differ have random signs, Gaussian parts in $d - 2$ directions and
    Rayleigh parts in the plane of $x$ and $x + \delta$; the others may be any $k$, and
    the operator norm of every $k$ columns of $W_0$ bounds their sum.

    Args:
        width: $m$.
        features: $d$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ of failure.
        delta: $R$, the norm of the perturbations at most.
        inputs: Inputs, to check their norm.

    Returns:
        The bound for one input.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared. $R \le 1/2$: checked.
        - $m \ge d^{2.4}$ and $m \ge 58$, $d \ge \log(4 m / \gamma)^2$, $d \ge \log(8 m
          / \gamma)$: checked. `repaired` does not need them.
        - Gaussian weights with variance 1 and random signs: declared.

    Constant:
        None is missing.

    References:
        wang2022, Lemma B.9 (Lemma 4.4).
    """
    caller = "lemma_b9"
    check_sizes(caller, gamma=gamma, c_0=c_0, width=width, features=features)
    check_perturbation(caller, delta)
    m, d = float(width), float(features)
    value = _printed(m, d, c_0, delta)
    known = math.sqrt(m) + math.sqrt(d) + c_0
    main, moved, changed, k_1 = _for_all(m, d, c_0, gamma, delta)
    square = math.log(4 * m / gamma) ** 2
    return LemmaB9(
        name="Lemma B.9",
        source="wang2022, App. B",
        kind="upper",
        quantity="largest change of the gradient within the perturbation",
        value=value,
        assumptions=(
            on_sphere(caller, inputs, features),
            half(delta),
            Assumption.checked(
                "m >= d^2.4 and m >= 58", m >= max(58, d**2.4), f"{d**2.4:.6g}"
            ),
            Assumption.checked("d >= log(4 m / gamma)^2", d >= square, f"{square:.6g}"),
            chi_square(features, math.log(8 * m / gamma)),
            GAUSSIAN,
        ),
        constants=(),
        vacuous=value >= known,
        reason=(
            f"no set of units has a larger sum than {known:.6g}; to be of use it has "
            f"to be below the gradient, of norm about {math.sqrt(d / 2):.6g}"
        ),
        unrolled=_unrolled(m, d, c_0, gamma, delta),
        repaired=main + moved + changed,
        main=main,
        changed=changed,
        sign_changes=k_1,
    )


def _printed(m: float, d: float, c_0: float, delta: float) -> float:
    """The right side of Lemma B.9."""
    c_1, log = delta * math.sqrt(d), math.log(m * d)
    first = 9 * (c_1 * d**2 * log**2 * math.sqrt(math.log(d) / d)) ** 0.25
    return first + 15 * d * log / math.sqrt(m) + 327 * max(1, c_0) * c_0 * d**0.25


def _unrolled(m: float, d: float, c_0: float, gamma: float, delta: float) -> float:
    """The first line of the last display in the proof of Lemma B.9."""
    log_net = 2 * d * math.log(10 * (m * d) ** (4 / 7)) + math.log(4 / gamma)
    first, second, factor = uniform_terms(m, d, c_0, gamma)
    spread = fourth_root(d, delta) + math.sqrt(log_net / m)
    near = math.sqrt(m * d + 4 * m * math.sqrt(d * math.log(m / gamma))) + c_0
    far = math.sqrt(math.log(m) + 2 / math.sqrt(m) * math.log(8 / gamma))
    return (
        2 * math.sqrt(log_net) * spread
        + c_0
        + first
        + second * factor
        + (m * d) ** (-4 / 7) * near
        + 226 * max(1, c_0) * c_0 * far
    )


def _for_all(
    m: float, d: float, c_0: float, gamma: float, delta: float
) -> tuple[float, float, float, float]:
    """Lemma B.9, repaired: its three terms, and the bound on sign changes."""
    # Seven events for each point of the net share `gamma / 2`: two counts, a chi
    # variable and four tails in the plane. The count at x and the operator norm have
    # `gamma / 4` each.
    radius = c_0 / math.sqrt(m)
    near = radius / math.sqrt(d)
    turn = near / (1 - delta)
    if turn >= 1:
        return math.inf, c_0, math.inf, m
    tail = math.log(4 / gamma)
    net = d * math.log1p(2 * delta / near) + math.log(14 / gamma)
    n = at_most(m * math.asin(delta) / math.pi, net, m)
    k_0 = at_most(m * near_probability(radius), tail, m)
    k_1 = at_most(m * possible_probability_bound(d, radius, turn), net, m)
    root = math.sqrt(d)
    main = math.sqrt(n / m) * math.sqrt((root + math.sqrt(2 * net)) ** 2 + 8 * net)
    moved = c_0 * min(1, (n + k_0 + k_1) / m)
    return main, moved, any_units(m, k_0, k_1, root, tail), k_1
