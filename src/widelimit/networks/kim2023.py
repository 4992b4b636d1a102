"""The network of kim2023."""

from widelimit._checks import check_count
from widelimit.activations import GELU, AbstractActivation
from widelimit.layers import Activation, Dense, Parameterization, Sequential


def kim2023_network(
    *, depth: int, width: int, activation: AbstractActivation | None = None
) -> Sequential:
    r"""The multilayer perceptron of kim2023, Section 2, with $\kappa = 1$.

    $$f(x) = d^{-1/2} W^{(L+1)} \phi(d^{-1/2} W^{(L)} \cdots \phi(W^{(1)} x)), \quad
      W_{ij} \sim N(0, 1),$$

    without biases, the activation scaled to $E\,\phi(z)^2 = 1$ for $z \sim N(0, 1)$
    (Assumption 1). The first covariance is $\langle x, x' \rangle$, not divided by the
    number of features.

    Args:
        depth: Number of hidden layers, the paper's $L$; at least 1.
        width: Units of each, the paper's $d$.
        activation: $\phi$ before it is scaled; GELU if none is given.

    Returns:
        The description of the network. All layers are trained.

    Raises:
        ValueError: If a number is out of range, or the activation cannot be scaled.
    """
    check_count("kim2023_network", "depth", depth, 1)
    phi = Activation((activation or GELU()).normalized())
    first = Dense(width, parameterization=Parameterization.DIRECT)
    hidden = Dense(width, parameterization=Parameterization.NTK)
    readout = Dense(1, parameterization=Parameterization.NTK)
    return Sequential((first, phi, *(hidden, phi) * (depth - 1), readout))
