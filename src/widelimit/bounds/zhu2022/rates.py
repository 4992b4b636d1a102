r"""Rates as functions of plain numbers, to draw curves over width and depth.

No networks or data are needed, so nothing is checked but the ranges. Every argument
may be an array; they broadcast. The paper's $L$ is `depth + 1`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Real

from widelimit._checks import check_at_least, check_one_of

TABLE1 = {
    "lecun": 1.0,
    "he": 2.0,
    "ntk": 2**0.5,
}
"""Rows of Table 1, with Theorem 1's value divided by the printed one."""


def theorem1_rate(
    *,
    width: Real[ArrayLike, "*#s"],
    depth: Real[ArrayLike, "*#s"],
    outputs: Real[ArrayLike, "*#s"],
    beta_first: Real[ArrayLike, "*#s"],
    beta_last: Real[ArrayLike, "*#s"],
    gamma: Real[ArrayLike, "*#s"] = 1.0,
) -> Float[np.ndarray, "*s"]:
    r"""Right side of Theorem 1, Eq. (3), per unit radius, with constants set to 1.

    $$\left(\sqrt{L^3 m^2 \beta_1^2 \beta_L^2}\, e^{-m / L^3}
      + \sqrt{m o \beta_1^2 \beta_L^2}\right) \gamma^{L-2}.$$

    Linear in each of `beta_first` and `beta_last`. Where these make
    $m \beta_1 \beta_L$ grow like $\sqrt m$, as all rows of Table 1 do, the first term
    peaks at $m = L^3 / 2$.

    Args:
        width: Units of each hidden layer, $m$.
        depth: Number of hidden layers, $L - 1$; at least 1.
        outputs: Number of outputs, $o$. The main text prints another letter here; the
            proof in App. B.2 and Lemma 5 have $o$.
        beta_first: $\beta_1$.
        beta_last: $\beta_L$.
        gamma: $\gamma = \beta \sqrt{m/2}$ of the layers between; no part if `depth=1`.

    Returns:
        The rate.

    Raises:
        ValueError: If a size or a scale is out of range.

    References:
        zhu2022, Theorem 1 and App. B.2.
    """
    caller = "theorem1_rate"
    _check_sizes(caller, width=width, depth=depth, outputs=outputs)
    for name, scale in [("beta_first", beta_first), ("beta_last", beta_last)]:
        check_at_least(caller, name, float(np.min(scale)), 0)
    check_at_least(caller, "gamma", float(np.min(gamma)), 0)
    return np.asarray(
        sum(theorem1_terms(width, depth, outputs, beta_first, beta_last, gamma))
    )


def theorem1_terms(width, depth, outputs, beta_first, beta_last, gamma):
    """The two terms of `theorem1_rate`: of training, and of the initialisation."""
    m, L = np.asarray(width, float), np.asarray(depth, float) + 1
    o, scale = np.asarray(outputs, float), np.asarray(beta_first) * beta_last
    power = np.asarray(gamma, float) ** (L - 2)
    training = L**1.5 * m * scale * np.exp(-m / L**3) * power
    return training, np.sqrt(m * o) * scale * power


def theorem1_table(
    initialization: str,
    *,
    width: Real[ArrayLike, "*#s"],
    depth: Real[ArrayLike, "*#s"],
    features: Real[ArrayLike, "*#s"],
    outputs: Real[ArrayLike, "*#s"],
) -> Float[np.ndarray, "*s"]:
    r"""A row of Table 1 as printed, per unit radius.

    | name | Table 1 | Theorem 1 is |
    | --- | --- | --- |
    | `lecun` | $(\sqrt{L^3 m / d}\, e^{-m/L^3} + \sqrt{o/d})\, 2^{-(L-2)/2}$ | equal |
    | `he` | $\sqrt{L^3 m / d}\, e^{-m/L^3} + \sqrt{o/d}$ | 2 times larger |
    | `ntk` | $\sqrt{L^3 m / o}\, e^{-m/L^3} + 1$ | $\sqrt 2$ times larger |

    The last column compares with `theorem1_rate` at that row's $\beta_l$, with all
    constants set to 1: the table drops constants, so curves for different
    initialisations should be compared by Theorem 1. `TABLE1` has the factors. The text
    prints another letter for $o$, the number of outputs.

    Args:
        initialization: `"lecun"`, `"he"` or `"ntk"` (Allen-Zhu et al.).
        width: Units of each hidden layer, $m$.
        depth: Number of hidden layers, $L - 1$; at least 1.
        features: Input features, $d$; `ntk` does not depend on it.
        outputs: Number of outputs, $o$.

    Returns:
        The rate.

    Raises:
        ValueError: If the name is unknown or a size is out of range.

    References:
        zhu2022, Table 1.
    """
    caller = "theorem1_table"
    check_one_of(caller, "initialization", initialization, tuple(TABLE1))
    _check_sizes(caller, width=width, depth=depth, features=features, outputs=outputs)
    m, d, o, L = _floats(width, features, outputs, np.asarray(depth) + 1)
    shrinking = L**1.5 * np.sqrt(m) * np.exp(-m / L**3)
    if initialization == "ntk":
        return np.asarray(shrinking / np.sqrt(o) + 1)
    rate = (shrinking + np.sqrt(o)) / np.sqrt(d)
    return np.asarray(rate * 2 ** (1 - L / 2) if initialization == "lecun" else rate)


@dataclass(frozen=True)
class Table2:
    """Rates of three papers for the perturbation stability per unit radius.

    Args:
        zhu: This paper's.
        wu: Wu et al. (2021).
        wu_reduced: The leading term of `wu` where `wu_holds`; it drops the smaller
            term, which is then less than `wu_reduced` itself.
        wu_holds: Whether the width is as large as Wu et al. need.
        huang: Huang et al. (2021).
    """

    zhu: Float[np.ndarray, "*s"]
    wu: Float[np.ndarray, "*s"]
    wu_reduced: Float[np.ndarray, "*s"]
    wu_holds: Bool[np.ndarray, "*s"]
    huang: Float[np.ndarray, "*s"]


def table2_rates(
    *,
    width: Real[ArrayLike, "*#s"],
    depth: Real[ArrayLike, "*#s"],
    outputs: Real[ArrayLike, "*#s"],
) -> Table2:
    r"""Table 2: three papers' rates for the Allen-Zhu initialisation.

    | field | rate |
    | --- | --- |
    | `zhu` | $\sqrt{L^3 m / o}\, e^{-m/L^3} + 1$ |
    | `wu` | $L^2 m^{1/3} \sqrt{\log m} + \sqrt{m L}$ |
    | `wu_reduced` | $\sqrt{m L}$ where `wu_holds`: $m / (\log m)^6 \ge L^{12}$ |
    | `huang` | $2^{(3L - 5)/2} \sqrt m$ |

    The condition of `wu` is meant for large $m$. It also holds by accident close to
    $m = 1$, where $\log m$ vanishes, so `wu_holds` is false below the minimum of
    $m / (\log m)^6$, at $m = e^6$. Even for $L = 2$ it needs $m > 2 \cdot 10^{12}$.
    All constants are set to 1, and $m \gg o$ and $m \gg d$ are assumed.

    Args:
        width: Units of each hidden layer, $m$.
        depth: Number of hidden layers, $L - 1$; at least 1.
        outputs: Number of outputs, $o$.

    Returns:
        The rates, in the shape to which the arguments broadcast.

    Raises:
        ValueError: If a size is out of range.

    References:
        zhu2022, Table 2.
    """
    _check_sizes("table2_rates", width=width, depth=depth, outputs=outputs)
    m, o, L = _floats(width, outputs, np.asarray(depth) + 1)
    zhu = theorem1_table("ntk", width=m, depth=L - 1, features=1, outputs=o)
    reduced = np.sqrt(m * L)
    return Table2(
        zhu=zhu,
        wu=np.asarray(L**2 * np.cbrt(m) * np.sqrt(np.log(m)) + reduced),
        wu_reduced=np.asarray(reduced),
        wu_holds=np.asarray((m >= np.exp(6)) & (m >= np.log(m) ** 6 * L**12)),
        huang=np.asarray(2 ** ((3 * L - 5) / 2) * np.sqrt(m)),
    )


def theorem3_rate(
    *,
    width: Real[ArrayLike, "*#s"],
    samples: Real[ArrayLike, "*#s"],
    exponent: Real[ArrayLike, "*#s"],
) -> Float[np.ndarray, "*s"]:
    r"""Right side of Theorem 3, Eq. (4), per unit radius, with the constant set to 1.

    $$\frac{\sqrt{n \log m} + n}{m^{c-1}}
      \left(\frac{1}{\sqrt{n^3 m}} + \frac{1}{m^{c - 0.5}}\right),
      \quad \beta_1 = \beta_2 = m^{-c}, \quad c \ge 1.5, \quad m \gg n^2.$$

    The remark after the theorem keeps the second term alone. Yet the first over the
    second is $m^{c-1} / n^{1.5} > n^{2c - 3.5}$ for $m > n^2$, so the first is the
    larger one from $c = 1.75$ on: at $c = 2$ and 3 the rates in $m$ are $m^{-1.5}$
    and $m^{-2.5}$, where the remark has $m^{-2.5}$ and $m^{-4.5}$.

    Args:
        width: Hidden units, $m$.
        samples: Training points, $n$.
        exponent: $c$.

    Returns:
        The rate.

    Raises:
        ValueError: If a size is out of range, or `exponent` is below 1.5.

    References:
        zhu2022, Theorem 3.
    """
    caller = "theorem3_rate"
    _check_sizes(caller, width=width, samples=samples)
    check_at_least(caller, "exponent", float(np.min(exponent)), 1.5)
    m, n, c = _floats(width, samples, exponent)
    front = (np.sqrt(n * np.log(m)) + n) * m ** (1 - c)
    return np.asarray(front * (1 / np.sqrt(n**3 * m) + m ** (0.5 - c)))


def _check_sizes(caller, **sizes):
    for name, size in sizes.items():
        check_at_least(caller, name, float(np.min(size)), 1)


def _floats(*numbers):
    return np.broadcast_arrays(*(np.asarray(number, float) for number in numbers))
