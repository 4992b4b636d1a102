"""The two-layer network of wang2022, and the same with more layers."""

import math

from widelimit._checks import check_count
from widelimit.activations import ReLU
from widelimit.layers import Activation, Dense, Parameterization, Readout, Sequential


def wang2022_network(*, width: int, depth: int = 1) -> Sequential:
    r"""The network of wang2022, Sec. 2.1: signs in front of Gaussian ReLU units.

    $$f(x) = \frac{1}{\sqrt m} \sum_{s=1}^m a_s\,\sigma(w_s^\top x), \quad
      w_s \sim N(0, I_d), \quad a_s = \pm 1.$$

    The signs are not trained, and there are no biases. The paper has one hidden layer;
    further ones, for the first question it leaves open, are $\sqrt{2/m}\,\sigma(W h)$
    with Gaussian weights of variance 1, which keeps the mean square of the features.

    Args:
        width: Units of each hidden layer, $m$.
        depth: Number of hidden layers; 1 in the paper.

    Returns:
        The description of the network.

    Raises:
        ValueError: If a number is out of range.

    References:
        Wang et al. (2022), https://arxiv.org/abs/2207.00411
    """
    check_count("wang2022_network", "width", width, 1)
    check_count("wang2022_network", "depth", depth, 1)
    first = Dense(width, parameterization=Parameterization.DIRECT)
    hidden = Dense(width, math.sqrt(2.0), parameterization=Parameterization.NTK)
    relu = Activation(ReLU())
    return Sequential((first, relu, *(hidden, relu) * (depth - 1), Readout()))
