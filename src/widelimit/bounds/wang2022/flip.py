"""Theorem 3.1: one gradient step flips the prediction."""

import math
from dataclasses import dataclass

from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.wang2022.all_perturbations import lemma_b9
from widelimit.bounds.wang2022.checks import GAUSSIAN, Inputs, check_sizes, on_sphere
from widelimit.bounds.wang2022.initial import lemma_b5, lemma_b7

KNOWN = "delta = -x, of norm 1, takes the function to zero anyway"
MAY_TURN = "the gradient may change by more than its norm"


@dataclass(frozen=True, kw_only=True)
class Theorem31(Bound):
    r"""Theorem 3.1 for one network; `value` is the size $\|\delta\|$ of a flip.

    Args:
        rate: $1 / \sqrt d$, with the constant of $O(1 / \sqrt d)$ set to 1.
        function_value: $|f(x)|$ in use: measured, or Lemma B.5.
        gradient_norm: $\|\nabla f(x)\|$ in use: measured, or Lemma B.7.
        gradient_difference: The largest change of the gradient in use: measured, or
            Lemma B.9 at the radius `value`.
        eta_tilde: $|\tilde\eta| = |\eta| \|\nabla f(x)\|^2$, the constant $C_2$.
        step_size: $|\eta|$.
        probability: Over the initialisation, at least; NaN for measured quantities.
    """

    rate: float
    function_value: float
    gradient_norm: float
    gradient_difference: float
    eta_tilde: float
    step_size: float
    probability: float


def theorem31(
    *,
    width: int,
    features: int,
    c_0: float,
    gamma: float,
    inputs: Inputs | None = None,
    repaired: bool = False,
) -> Theorem31:
    r"""Theorem 3.1: the size of a gradient step that flips the sign of the function.

    For $\delta = \eta \nabla f(x)$ against the sign of $f(x)$,
    $\mathrm{sign} f(x + \delta) \ne \mathrm{sign} f(x)$ at

    $$|\tilde\eta| = |\eta| \|\nabla f(x)\|^2 = \frac{2 |f(x)|}{1 - D(R) /
      \|\nabla f(x)\|}, \quad D(R) = \sup_{\|\delta\| \le R}
      \|\nabla f(x + \delta) - \nabla f(x)\|, \quad
      R = \|\delta\| = \frac{|\tilde\eta|}{\|\nabla f(x)\|}$$

    (the proof prints the difference of a norm and of $f$ for $D$). As $R$ is on both
    sides, `value` is the least solution of $R = 2 |f| / (\|\nabla f\| - D(R))$, with
    Lemmas B.5, B.7 and B.9 for the three, each at $\gamma / 3$ so that together they
    fail with probability $\gamma$ (the paper spends $\gamma$ on each). It is infinite
    if there is none up to 1/2, beyond which the lemmas say nothing.

    **The explicit size is infinite at all practical dimensions.** At $C_0 = 1$,
    $\gamma = 0.1$ and the least width, $d^{2.4}$, the printed lemmas give a size from
    $d = 8.3 \times 10^{23}$ on, the `repaired` ones from $d = 1.1 \times 10^8$; at
    $C_0 = 10$, from $1.5 \times 10^{25}$ and $2.1 \times 10^9$; more at larger widths.
    With the constants $C_3 = C_4 = 1$ there is no width between $d^{2.4}$ and
    $\exp(d^{0.24})$ for any $d$ from 2 to $2.97 \times 10^6$, MNIST's 784 among them.
    `flip_certificate` takes measured quantities in place of the lemmas.

    Args:
        width: $m$.
        features: $d$.
        c_0: $C_0$, the radius of the lazy ball times $\sqrt m$.
        gamma: Probability $\gamma$ of failure.
        inputs: Inputs, to check their norm.
        repaired: Whether to use the repaired values of the lemmas.

    Returns:
        The size with everything that it is made of.

    Raises:
        ValueError: If a number is out of range, or `inputs` are no finite rows.

    Assumes:
        - Unit norm: checked on `inputs`, else declared.
        - $\max\{d^{2.4}, C_3 \log(1 / \gamma)\} \le m \le C_4 \exp(d^{0.24})$: checked.
        - That there is a size, and the lemmas' own assumptions there (not with
          `repaired`): checked.
        - $|\eta| = C_2 / \|\nabla f(x)\|^2$ with $C_2 = |\tilde\eta|$ and Gaussian
          weights: declared.

    Constant:
        $C_3$, $C_4$, and that of `rate`. None in `value`.

    References:
        wang2022, Theorem 3.1 and its proof in App. B.
    """
    caller = "theorem31"
    check_sizes(caller, gamma=gamma, c_0=c_0, width=width, features=features)
    each = gamma / 3
    f = lemma_b5(width=width, c_0=c_0, gamma=each)
    g = lemma_b7(width=width, features=features, c_0=c_0, gamma=each)

    def difference(delta: float):
        return lemma_b9(
            width=width, features=features, c_0=c_0, gamma=each, delta=delta
        )

    def of(lemma) -> float:
        return lemma.repaired if repaired else lemma.value

    size = _least_size(of(f), of(g), lambda delta: of(difference(delta)))
    exists = math.isfinite(size)
    change = difference(size if exists else 0.5)
    assumptions = [on_sphere(caller, inputs, features)]
    assumptions += _window(width, features, gamma)
    assumptions.append(
        Assumption.checked(
            "some size up to 1/2 solves its equation", exists, f"{size:.6g}"
        )
    )
    if not repaired:
        for lemma in (g, change):
            assumptions += [
                Assumption.checked(f"{lemma.name}: {a.statement}", a.holds, a.detail)
                for a in lemma.assumptions
                if a.holds is not None
            ]
    step = "the step is C_2 / |grad f|^2, with C_2 the eta_tilde below"
    assumptions += [Assumption.declared(step), GAUSSIAN]
    return Theorem31(
        name="Theorem 3.1, repaired" if repaired else "Theorem 3.1",
        source="wang2022, App. B",
        kind="upper",
        quantity="size of a gradient step that flips the sign",
        value=size,
        assumptions=tuple(assumptions),
        constants=("C_3", "C_4", "the constant of `rate`"),
        vacuous=size >= 1,
        reason=KNOWN if exists else MAY_TURN,
        rate=1 / math.sqrt(features),
        function_value=of(f),
        gradient_norm=of(g),
        gradient_difference=of(change),
        eta_tilde=size * of(g) if exists else math.inf,
        step_size=size / of(g) if exists else math.inf,
        probability=1 - gamma,
    )


def _window(width: int, features: int, gamma: float) -> list[Assumption]:
    """The condition on the width, in logarithms: it may be huge."""
    m, d = math.log(width), math.log(features)
    least = max(2.4 * d, math.log(max(math.log(1 / gamma), 1e-300)))
    largest = math.exp(0.24 * d)
    return [
        Assumption.checked(
            "m >= max(d^2.4, C_3 log(1 / gamma))",
            m >= least,
            f"log m = {m:.6g}, the least is {least:.6g}",
        ),
        Assumption.checked(
            "m <= C_4 exp(d^0.24)",
            m <= largest,
            f"log m = {m:.6g}, the largest is {largest:.6g}",
        ),
    ]


def _least_size(value: float, norm: float, difference) -> float:
    """The least R with `R = 2 value / (norm - difference(R))`, if it is up to 1/2."""
    size = 0.0  # iteration from below rises to it, as `difference` does not fall
    for _ in range(10_000):
        room = norm - difference(size)
        if room <= 0 or 2 * value / room > 0.5:
            return math.inf
        size, last = 2 * value / room, size
        if size - last <= 1e-13 * size:
            return size
    return math.inf
