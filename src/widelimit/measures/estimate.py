"""Means with their standard errors, over inputs and over initialisations."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, in the units of the quantity.

    Args:
        mean: The estimate.
        standard_error: Its standard error; NaN when one sample cannot give it.
    """

    mean: float
    standard_error: float


def mean_over_inputs(values: Float[np.ndarray, " n"]) -> Estimate:
    """Mean over inputs drawn from a distribution, one value per input.

    Args:
        values: One value per input.

    Returns:
        The mean, and the standard error of it as an estimate for the distribution; NaN
        for a single input.
    """
    n = len(values)
    spread = float(np.std(values, ddof=1)) if n > 1 else math.nan
    return Estimate(float(np.mean(values)), spread / math.sqrt(n))


def mean_over_seeds(values: Float[np.ndarray, "k n"]) -> Estimate:
    r"""Mean over initialisations and inputs, when every seed sees the same inputs.

    Seeds and inputs are crossed: two values share the randomness of their row or of
    their column. The variance of the mean is then that of the row means plus that of
    the column means, less the part counted twice,

    $$\widehat{\mathrm{Var}} = \frac{s_\text{seeds}^2}{k} + \frac{s_\text{inputs}^2}{n}
      - \frac{s_\text{residual}^2}{kn},$$

    which is unbiased for the two-way random-effects model. Where sampling noise makes
    it smaller than either of the first two terms, the larger of these is returned.

    Args:
        values: One row per seed, one column per input.

    Returns:
        The grand mean and its standard error; NaN with fewer than two seeds or inputs.
    """
    values = np.asarray(values, dtype=float)
    k, n = values.shape
    mean = float(values.mean())
    if k < 2 or n < 2:
        return Estimate(mean, math.nan)
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    residual = values - rows[:, None] - columns[None, :] + mean
    over_seeds = float(rows.var(ddof=1)) / k
    over_inputs = float(columns.var(ddof=1)) / n
    both = float(np.sum(residual**2)) / ((k - 1) * (n - 1)) / (k * n)
    variance = max(over_seeds + over_inputs - both, over_seeds, over_inputs)
    return Estimate(mean, math.sqrt(variance))
