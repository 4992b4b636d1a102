"""Theorem 3: perturbation stability of a two-layer network early in training."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from widelimit._checks import check_at_least, check_positive
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.relu_chain import ReLUChain
from widelimit.bounds.zhu2022.gram import LimitGram, two_layers
from widelimit.bounds.zhu2022.initial import LINEARIZED
from widelimit.bounds.zhu2022.inputs import rows, targets_of, unit_norm
from widelimit.bounds.zhu2022.rates import theorem3_rate
from widelimit.layers import AbstractLayer

MEAN_ABS = math.sqrt(2 / math.pi)  # of a standard Gaussian


@dataclass(frozen=True, kw_only=True)
class Theorem3(Bound):
    r"""Theorem 3 for one network, data set and time; the letters are those of App. D.

    Quantities that do not exist are NaN.

    Args:
        smallest_eigenvalue: $\lambda_0$ in use.
        data_eigenvalue: $\lambda_{\min}(H^\infty)$ of the given data.
        residual: $\|y - f(0)\|_2$.
        R_a: Largest admissible change of an output weight, Eq. (17).
        R_w: Largest admissible change of a hidden unit's weights, Eq. (17).
        t_1: $t_1^\star$, until which no hidden unit leaves $R_w$.
        t_2: $t_2^\star$, until which no output weight leaves $R_a$.
        R_a_star: $R_a^\star(t)$, bound on the change of an output weight (Lemma 11).
        R_w_star: $R_w^\star(t)$, the same for a hidden unit.
        trivial: Lipschitz bound from the same $R^\star_a$ and $R^\star_w$.
        rate: Eq. (4), with its constant set to 1; NaN if a scale exceeds $m^{-1.5}$.
        probability: Over the initialisation, at least.
    """

    smallest_eigenvalue: float
    data_eigenvalue: float
    residual: float
    R_a: float
    R_w: float
    t_1: float
    t_2: float
    R_a_star: float
    R_w_star: float
    trivial: float
    rate: float
    probability: float


def theorem3(
    network: AbstractLayer,
    inputs: Float[Array | np.ndarray, "n d"],
    targets: Float[Array | np.ndarray, "n *o"],
    *,
    time: float,
    outputs_at_init: Float[Array | np.ndarray, "n *p"] | None = None,
    smallest_eigenvalue: float | None = None,
    repaired: bool = False,
) -> Theorem3:
    r"""Perturbation stability of a two-layer network early in non-lazy training.

    Up to `time`, with `probability`, and with $n$ inputs, the explicit Eq. (25) is

    $$\frac{P(f_t, \epsilon)}{\epsilon} \le \frac m\alpha
      \left(R^\star_a(t) + \sqrt{2/\pi}\, n \beta_2\right)
      \left(R^\star_w(t) + 4 \beta_1 \sqrt m + 2 \beta_1 \sqrt{\log n}\right),$$

    $$R^\star_a = b \left(3 \beta_1 \sqrt{\log(m n^2)} + R_w\right), \quad
      R^\star_w = b \left(\sqrt n \beta_2 + R_a\right),$$

    $$b = \frac{2 \sqrt n}{\lambda_0 \alpha}
      \|y - f(0)\|_2 \left(1 - e^{-\lambda_0 t / 2}\right).$$

    Time is that of gradient flow on $\frac12 \sum_i (f(x_i) - y_i)^2$, the loss of
    App. D; on the main text's mean over $n$ everything takes $n$ times longer.

    **As printed the theorem applies to no data set.** Its
    $R_a = \frac\alpha n \sqrt{\lambda_0 / (8 n m)} - \sqrt{2/\pi}\, \beta_2$ has to be
    positive. But $\lambda_0 \le m \beta_2^2 / (2 \alpha^2)$ (see `limit_gram`), hence
    $R_a \le \beta_2 (1/4 - 0.79) < 0$ for all widths, scales and data. The order which
    the proof gives, $R_a = \Theta(1 / \sqrt{n^3 m})$, takes $\lambda_0$ for a constant,
    although it is of order $m^{1 - 2c}$ at $\beta_2 = m^{-c}$; pass
    `smallest_eigenvalue` to follow the paper in that. Lemma 7 fails for the same
    reason: $\alpha \lambda_0 \ge 16 n \beta_2 \sqrt{\log 2 n^3}$ would need
    $m^{1-c} \ge 32 n \sqrt{\log 2 n^3}$, which no $c \ge 1$ allows.

    `repaired` mends the proof:

    - Eq. (19) bounds $R_a (R_a + 2 E|a|)$ by $(R_a + E|a|)^2$, which does not vanish
      with $R_a$. Left as it is, it gives the positive $R_a = \sqrt{2 \beta_2^2 / \pi +
      \alpha^2 \lambda_0 / (8 n^3 m)} - \sqrt{2/\pi}\, \beta_2$.
    - Lemma 7 sets a tail in the unit of $\beta_2$ against a matrix in that of
      $\beta_2^2$. Chebyshev's inequality gives the lemma if
      $n\, E\|H(0) - H^\infty\|_F^2 \le (\lambda_0 / 4)^2$, where the mean is exact.
    - Lemma 9 needs $|a_r| \le \sqrt n \beta_2$ for all $m$ units, so the union is over
      $m$, not $n$. Lemmas 7, 8 and 10, with $E|a|$ in Eq. (25), cost $5/n$, not $3/n$.
      The probability is at least $1 - m e^{-n/2} - 5/n - e^{-2m} / n^2$.

    Even so, for $m \ge d$ and $n \ge 3$ the bound is always above the Lipschitz bound
    from the same $R^\star_a$ and $R^\star_w$, at $t = 0$ by about $3 n \sqrt m$: it
    takes $\sqrt m$ for the $\sqrt d$ in $\|w_r\|$, sums $|a_r| \|w_r\|$ over the units,
    and pays $n$ to Markov's inequality. So `vacuous` is true in all these cases.

    Args:
        network: Bias-free ReLU network with one hidden layer, as at initialisation.
        inputs: Training inputs, one per row.
        targets: Training targets, one number per row.
        time: Training time $t$.
        outputs_at_init: $f(x_i; W(0))$. Without it $\|y - f(0)\|_2$ becomes its root
            mean square, $(\|y\|^2 + n m \beta_1^2 \beta_2^2 / (2 \alpha^2))^{1/2}$.
        smallest_eigenvalue: A value to use for $\lambda_0$ instead of
            $\lambda_{\min}(H^\infty)$.
        repaired: Whether to mend the proof as above.

    Returns:
        The bound per unit radius with every intermediate quantity. `value` is infinite
        if $\lambda_0$ or $R_a$ is not positive.

    Raises:
        ValueError: If `network` is no such network, if the data are not finite or do
            not match, or if `time` is negative or `smallest_eigenvalue` not positive.

    Assumes:
        - One output, inputs of unit norm (Assumption 1), $\lambda_0 > 0$, $R_a > 0$,
          Lemma 7's condition, `time` up to $\min(t_1^\star, t_2^\star)$, and
          $m \ge d$, which Eq. (25) uses without saying so: checked.
        - $\beta_1, \beta_2 \le m^{-1.5}$ and $m > n^2$: checked. $\alpha$ of order 1:
          declared. All three without `repaired` only.
        - Gradient flow, a given `smallest_eigenvalue`, a missing `outputs_at_init`:
          declared.

    Constant:
        None in `value`. That of `rate`, whose exponent is $c = -\log \beta / \log m$
        for the larger of the two scales.

    References:
        zhu2022, Theorem 3 and App. D.
    """
    caller = "theorem3"
    x = rows(caller, inputs)
    y = targets_of(caller, targets, x)
    check_at_least(caller, "time", time, 0)
    chain = two_layers(caller, network, x.shape[1])
    gram = LimitGram.of(caller, chain, x)
    own = gram.smallest_eigenvalue
    if smallest_eigenvalue is not None:
        check_positive(caller, "smallest_eigenvalue", smallest_eigenvalue)
    eigenvalue = own if smallest_eigenvalue is None else float(smallest_eigenvalue)

    n, m = len(x), chain.m
    if outputs_at_init is None:
        variance = m * math.prod(chain.betas) ** 2 / (2 * chain.alpha**2)
        residual = math.sqrt(np.sum(y**2) + y.size * variance)
    else:
        f = targets_of(caller, outputs_at_init, x, name="outputs_at_init")
        residual = float(np.linalg.norm(y - f))
    drift = _drift(chain, n, eigenvalue, residual, time, repaired=repaired)
    exists = drift["R_a"] > 0
    value, trivial = _stability(chain, n, drift) if exists else (math.inf, math.nan)
    probability = _probability(n, m, repaired=repaired)

    exponent = -math.log(max(chain.betas)) / math.log(m) if m > 1 else math.nan
    small = exponent >= 1.5 - 1e-12
    until = min(drift["t_1"], drift["t_2"])
    assumptions = [
        Assumption.checked("one output", chain.o == 1, f"o = {chain.o}"),
        unit_norm(x),
        Assumption.checked("lambda_0 > 0", eigenvalue > 0, f"it is {eigenvalue:.6g}"),
        Assumption.checked("R_a > 0", exists, f"R_a = {drift['R_a']:.6g}"),
        _lemma7(chain, n, eigenvalue, gram, repaired=repaired),
        Assumption.checked(
            "the time is at most min(t_1*, t_2*)",
            time <= until,
            f"time = {time:.6g}, min = {until:.6g}",
        ),
        Assumption.checked("m >= d", m >= chain.d, f"m = {m}, d = {chain.d}"),
        Assumption.declared("training is gradient flow on half the sum of squares"),
    ]
    if not repaired:
        detail = f"c = {exponent:.4g} for the larger one"
        assumptions += [
            Assumption.checked("beta_1 and beta_2 are at most m^-1.5", small, detail),
            Assumption.checked("m > n^2", m > n**2, f"m = {m}, n^2 = {n**2}"),
            Assumption.declared("alpha is of order 1", f"alpha = {chain.alpha:.6g}"),
        ]
    if smallest_eigenvalue is not None:
        detail = f"{eigenvalue:.6g} was given, for these inputs it is {own:.6g}"
        statement = "lambda_0 is the smallest eigenvalue of H_inf"
        assumptions.append(Assumption.declared(statement, detail))
    if outputs_at_init is None:
        assumptions.append(
            Assumption.declared(
                "the residual at initialisation is its root mean square"
            )
        )
    return Theorem3(
        name="Theorem 3, repaired" if repaired else "Theorem 3",
        source="zhu2022, Eq. (25)",
        kind="upper",
        quantity=LINEARIZED,
        value=value,
        assumptions=tuple(assumptions),
        constants=("the constant of `rate`",),
        vacuous=not exists or value >= trivial or probability <= 0,
        reason=(
            f"the Lipschitz bound from the same R* is {trivial:.6g}, the probability "
            f"at least {probability:.6g}"
            if exists
            else "R_a is not positive, so there is no radius"
        ),
        smallest_eigenvalue=eigenvalue,
        data_eigenvalue=own,
        residual=residual,
        **drift,
        trivial=trivial,
        # The comparison above lets the exponent fall below 1.5 by rounding.
        rate=float(theorem3_rate(width=m, samples=n, exponent=max(exponent, 1.5)))
        if small
        else math.nan,
        probability=probability,
    )


def _drift(
    chain: ReLUChain, n: int, eigenvalue: float, residual: float, time, *, repaired
) -> dict[str, float]:
    """The radii of Eq. (17), the times until they are left, and Lemma 11."""
    (beta_1, beta_2), alpha, m = chain.betas, chain.alpha, chain.m
    mean = MEAN_ABS * beta_2  # E|a_r(0)|
    room = alpha**2 * eigenvalue / (8 * n**3 * m)
    if repaired:  # the root of R_a (R_a + 2 mean) = room, without cancellation
        R_a = room / (math.sqrt(mean**2 + room) + mean)
    else:
        R_a = math.sqrt(room) - mean
    drift = {"R_a": R_a} | dict.fromkeys(
        ("R_w", "t_1", "t_2", "R_a_star", "R_w_star"), math.nan
    )
    if R_a <= 0:
        return drift
    square = R_a * (R_a + 2 * mean) + beta_2**2  # E(|a_r(0)| + R_a)^2
    R_w = math.sqrt(2 * math.pi) * beta_1 * room / (4 * square)
    pull = 2 * math.sqrt(n) * residual / (eigenvalue * alpha)
    far_a = pull * (3 * beta_1 * math.sqrt(math.log(m * n**2)) + R_w)
    far_w = pull * (math.sqrt(n) * beta_2 + R_a)
    done = -math.expm1(-eigenvalue * time / 2)
    return drift | {
        "R_w": R_w,
        "t_1": _time_until(R_w, far_w, eigenvalue),
        "t_2": _time_until(R_a, far_a, eigenvalue),
        "R_a_star": far_a * done,
        "R_w_star": far_w * done,
    }


def _time_until(radius: float, far: float, eigenvalue: float) -> float:
    """When `far * (1 - exp(-eigenvalue * t / 2))` reaches `radius`."""
    if far <= radius:
        return math.inf
    return -2 / eigenvalue * math.log1p(-radius / far)


def _stability(chain: ReLUChain, n: int, drift) -> tuple[float, float]:
    """Eq. (25), and the product of the layers' operator norms after the same drift."""
    (beta_1, beta_2), alpha, m, d = chain.betas, chain.alpha, chain.m, chain.d
    R_a, R_w = drift["R_a_star"], drift["R_w_star"]
    norm_w = 4 * beta_1 * math.sqrt(m) + 2 * beta_1 * math.sqrt(math.log(n))
    value = m / alpha * (R_a + MEAN_ABS * n * beta_2) * (R_w + norm_w)
    operator_w = beta_1 * (math.sqrt(m) + math.sqrt(d)) + math.sqrt(m) * R_w
    operator_a = beta_2 * (math.sqrt(m) + 1) + math.sqrt(m) * R_a
    return value, operator_a * operator_w / alpha * d / (d + 1)


def _lemma7(
    chain: ReLUChain, n: int, eigenvalue: float, gram: LimitGram, *, repaired: bool
) -> Assumption:
    """The condition under which H(0) is close to its mean."""
    if repaired:
        statement = "Lemma 7: (lambda_0 / 4)^2 >= n E|H(0) - H_inf|^2"
        left, right = (eigenvalue / 4) ** 2, n * gram.variance
    else:
        statement = "Lemma 7: alpha lambda_0 >= 16 n beta_2 sqrt(log 2 n^3)"
        left = chain.alpha * eigenvalue
        right = 16 * n * chain.betas[1] * math.sqrt(math.log(2 * n**3))
    detail = f"{left:.6g} against {right:.6g}"
    return Assumption.checked(statement, left >= right, detail)


def _probability(n: int, m: int, *, repaired: bool) -> float:
    if repaired:
        return 1 - m * math.exp(-n / 2) - 5 / n - math.exp(-2 * m) / n**2
    return 1 - n * math.exp(-n / 2) - 3 / n
