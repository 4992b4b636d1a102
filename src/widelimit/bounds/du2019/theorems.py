r"""Theorems 3.1, 4.1 and 5.1: the width and step at which gradient descent converges.

Each gives $\mathcal L(w(k)) \le (1 - \eta \lambda_0 / 2)^k \mathcal L(w(0))$ for the
squared loss, from a width $m$ on and up to a step size $\eta$.
"""

import math

from widelimit._checks import check_at_least
from widelimit.bounds.du2019.checks import (
    Inputs,
    Labels,
    check_probability,
    check_sizes,
    data,
    eigenvalues,
)
from widelimit.bounds.du2019.convergence import Convergence, assemble, gram_log, logs


def theorem3_1(
    *,
    samples: int,
    depth: int,
    lambda_0: float,
    separation: float,
    delta: float,
    width: int | None = None,
    step_size: float | None = None,
    steps: int = 1,
    inputs: Inputs | None = None,
    labels: Labels | None = None,
    label_bound: float | None = None,
    layer_factor: float = 2.0,
) -> Convergence:
    r"""Theorem 3.1: gradient descent on fully-connected networks, Eq. (2).

    $$m \ge \max\left\{\frac{n^4 a^H}{\lambda_0^4}, \frac{n\, a^H}{\delta},
      \frac{n^2 \log(H n^2 / \delta)}{\lambda_0^2 \lambda^{3H/2}}\right\}, \quad
      \eta \le \frac{\lambda_0}{n^2 a^H}.$$

    $2^{O(H)}$ is read as $a^H$, with $a = 2$ unless `layer_factor` says otherwise. It
    stands for $c_x^{2H} g_{c_x}(H)^2$ in the first term, $H g_C(H)^2$ in the second
    and $H^2 c_x^{3H} g_{2 c_x}(H)$ in the step size. `weight_movement` and
    `lemma_a1_width` have the first two with all their constants.

    App. D does not give the power of $\lambda$ in the third term. Squared, the factor
    $\lambda^{-3/2}$ per layer of Theorem D.1 gives a power of about $3H$. Yet without
    skip connections the means play no part, and $C^2 \sqrt{M / \lambda}$ per layer
    gives one of about $H$, so that the printed one is enough for $\lambda \le 1$.

    Args:
        samples: Inputs, $n$.
        depth: Number of hidden layers $H$.
        lambda_0: Least eigenvalue $\lambda_0$ of $K^{(H)}$ in Eq. (4).
        separation: $\lambda$, the least eigenvalue of $K^{(h)}$ restricted to two
            different inputs, over all pairs and all $h$ (Assumption 3.1):
            `layer_separation` of `population_gram`.
        delta: Probability $\delta$ of failure.
        width: $m$, to be compared with the required one.
        step_size: $\eta$; the required one if left out.
        steps: $k$.
        inputs: Training inputs, to check their norms.
        labels: Training labels, to check their size.
        label_bound: The constant $C$ with $|y_i| \le C$.
        layer_factor: $a$.

    Returns:
        The guaranteed loss after $k$ steps relative to the first one, and all terms.

    Raises:
        ValueError: If an argument is out of range, or the data do not match.

    Assumes:
        - $\lambda_0 > 0$ and $\lambda > 0$: checked; otherwise `applies` is false and
          the bound vacuous, its value infinite without the first. The paper's minimum
          over all $(i, j)$ includes $i = j$, for which it is 0; $i \ne j$ is meant.
        - $\|x_i\|_2 = 1$ and $|y_i| \le C$: checked if `inputs` and `labels` are given,
          else declared.
        - The width and the step size: checked, the width if given.
        - $\sigma$ Lipschitz and smooth, Gaussian weights, a Rademacher read-out that
          is not trained: declared.

    Constant:
        The factor of each term and of the step size, and those in the exponents
        $O(H)$. They depend on $\sigma$ and $C$; and $\|y - u(0)\|_2 = O(\sqrt n)$, as
        the proofs have it, hides a factor of order $\sqrt{\log(n / \delta)}$.

    References:
        du2019, Theorem 3.1 and App. A.
    """
    caller = "theorem3_1"
    check_sizes(caller, samples=samples, depth=depth, steps=steps)
    check_probability(caller, "delta", delta)
    check_at_least(caller, "layer_factor", layer_factor, 1)
    assumptions = [
        *eigenvalues(caller, lambda_0, separation, "3.1"),
        *data(caller, samples, inputs, labels, label_bound),
    ]
    n, H, zero, pair = logs(samples, depth, lambda_0, separation)
    layers = depth * math.log(layer_factor)
    return assemble(
        caller,
        name="Theorem 3.1",
        stability=4 * n + layers - 4 * zero,
        radius=None,
        norms=n + layers - math.log(delta),
        gram=gram_log(n, H, zero, delta) - 1.5 * depth * pair,
        step=zero - 2 * n - layers,
        factors=(f"the factor of H in 2^O(H), read as {layer_factor:g}^H three times",),
        assumptions=assumptions,
        lambda_0=lambda_0,
        delta=delta,
        width=width,
        step_size=step_size,
        steps=steps,
    )


def theorem4_1(
    *,
    samples: int,
    depth: int,
    lambda_0: float,
    separation: float,
    delta: float,
    width: int | None = None,
    step_size: float | None = None,
    steps: int = 1,
    inputs: Inputs | None = None,
    labels: Labels | None = None,
    label_bound: float | None = None,
    repaired: bool = False,
) -> Convergence:
    r"""Theorem 4.1: gradient descent on residual networks, Eq. (3).

    $$m \ge \max\left\{\frac{n^4}{\lambda_0^4 H^6}, \frac{n^2}{\lambda_0^2 H^2},
      \frac n\delta, \frac{n^2 \log(H n^2 / \delta)}{\lambda_0^2}\right\}, \quad
      \eta \le \frac{\lambda_0 H^2}{n^2}.$$

    These rest on Lemma B.5, which leaves out the first layer: its gradient is not of
    order $1/H$ (see `weight_movement`). With it, the same argument gives
    $n^4 / (\lambda_0^4 H^4)$, $n^2 / \lambda_0^2$ and $\eta \le \lambda_0 / n^2$;
    `repaired=True` takes these. The fourth term could be smaller by $H^4$.

    Args:
        samples: Inputs, $n$.
        depth: Number of hidden layers $H$, at least 2.
        lambda_0: Least eigenvalue $\lambda_0$ of $K^{(H)}$ in Eq. (5).
        separation: $\lambda$, the least eigenvalue of $K^{(0)}$ restricted to two
            different inputs, over all pairs (Assumption 4.1).
        delta: Probability $\delta$ of failure.
        width: $m$, to be compared with the required one.
        step_size: $\eta$; the required one if left out.
        steps: $k$.
        inputs: Training inputs, to check their norms.
        labels: Training labels, to check their size.
        label_bound: The constant $C$ with $|y_i| \le C$.
        repaired: Whether the first layer is counted.

    Returns:
        The guaranteed loss after $k$ steps relative to the first one, and all terms.

    Raises:
        ValueError: If an argument is out of range, or the data do not match.

    Assumes:
        As `theorem3_1`, with $\lambda$ of $K^{(0)}$ alone.

    Constant:
        The factor of each term and of the step size, which depend on $\sigma$,
        $c_\lambda$, $\lambda$ and $C$.

    References:
        du2019, Theorem 4.1 and App. B.
    """
    caller = "theorem4_1"
    check_sizes(caller, samples=samples, depth=depth, steps=steps)
    check_at_least(caller, "depth", depth, 2)
    check_probability(caller, "delta", delta)
    n, H, zero, _ = logs(samples, depth, lambda_0, separation)
    first = 2 * H if repaired else 0.0  # what counting the first layer costs
    return assemble(
        caller,
        name="Theorem 4.1" + (", repaired" if repaired else ""),
        stability=4 * n - 4 * zero - 6 * H + first,
        radius=2 * n - 2 * zero - 2 * H + first,
        norms=n - math.log(delta),
        gram=gram_log(n, H, zero, delta),
        step=zero + 2 * H - 2 * n - first,
        factors=(),
        assumptions=[
            *eigenvalues(caller, lambda_0, separation, "4.1"),
            *data(caller, samples, inputs, labels, label_bound),
        ],
        lambda_0=lambda_0,
        delta=delta,
        width=width,
        step_size=step_size,
        steps=steps,
    )


def theorem5_1(
    *,
    samples: int,
    depth: int,
    pixels: int,
    lambda_0: float,
    separation: float,
    delta: float,
    width: int | None = None,
    step_size: float | None = None,
    steps: int = 1,
    inputs: Inputs | None = None,
    labels: Labels | None = None,
    label_bound: float | None = None,
    pixel_degree: float = 1.0,
    repaired: bool = False,
) -> Convergence:
    r"""Theorem 5.1: gradient descent on convolutional residual networks.

    $$m \ge \max\left\{\frac{n^4}{\lambda_0^4 H^6}, \frac{n^4}{\lambda_0^4 H^2},
      \frac n\delta, \frac{n^2 \log(H n^2 / \delta)}{\lambda_0^2}\right\} p^b, \quad
      \eta \le \frac{\lambda_0 H^2}{n^2 p^b}.$$

    $\mathrm{poly}(p)$ is read as $p^b$, with $b = 1$ unless `pixel_degree` says
    otherwise. The patch size $q$ is taken for a constant.

    The second term is never below the first one as printed; in Theorem 4.1, and by the
    same proof here, it is $n^2 / (\lambda_0^2 H^2)$. `repaired=True` takes that form
    and counts the first layer, as in `theorem4_1`.

    Args:
        samples: Inputs, $n$.
        depth: Number of hidden layers $H$, at least 2.
        pixels: Pixels, $p$.
        lambda_0: Least eigenvalue $\lambda_0$ of $K^{(H)}$ in Eq. (6).
        separation: $\lambda$, the least eigenvalue of $K^{(0)}$ restricted to two
            different inputs, a matrix of size $2p$, over all pairs (Assumption 5.1). It
            is zero where patches have fewer than $2p$ entries.
        delta: Probability $\delta$ of failure.
        width: $m$, to be compared with the required one.
        step_size: $\eta$; the required one if left out.
        steps: $k$.
        inputs: Training inputs of any shape each, to check their Frobenius norms.
        labels: Training labels, to check their size.
        label_bound: The constant $C$ with $|y_i| \le C$.
        pixel_degree: $b$.
        repaired: Whether the first layer is counted.

    Returns:
        The guaranteed loss after $k$ steps relative to the first one, and all terms.

    Raises:
        ValueError: If an argument is out of range, or the data do not match.

    Assumes:
        As `theorem4_1`, and a read-out that is equal for all pixels of a channel.

    Constant:
        The factor of each term and of the step size, which depend on $\sigma$,
        $c_\lambda$, $\lambda$, $q$ and $C$; the polynomials in $p$.

    References:
        du2019, Theorem 5.1 and App. C.
    """
    caller = "theorem5_1"
    check_sizes(caller, samples=samples, depth=depth, steps=steps, pixels=pixels)
    check_at_least(caller, "depth", depth, 2)
    check_at_least(caller, "pixel_degree", pixel_degree, 0)
    check_probability(caller, "delta", delta)
    n, H, zero, _ = logs(samples, depth, lambda_0, separation)
    image = pixel_degree * math.log(pixels)
    first = 2 * H if repaired else 0.0  # what counting the first layer costs
    radius = 2 * n - 2 * zero if repaired else 4 * n - 4 * zero - 2 * H
    return assemble(
        caller,
        name="Theorem 5.1" + (", repaired" if repaired else ""),
        stability=4 * n - 4 * zero - 6 * H + first + image,
        radius=radius + image,
        norms=n - math.log(delta) + image,
        gram=gram_log(n, H, zero, delta) + image,
        step=zero + 2 * H - 2 * n - first - image,
        factors=(f"poly(p), read as p^{pixel_degree:g}",),
        assumptions=[
            *eigenvalues(caller, lambda_0, separation, "5.1"),
            *data(caller, samples, inputs, labels, label_bound),
        ],
        lambda_0=lambda_0,
        delta=delta,
        width=width,
        step_size=step_size,
        steps=steps,
    )
