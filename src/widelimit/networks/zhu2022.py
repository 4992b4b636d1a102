"""The fully-connected ReLU network of zhu2022, with its initialisations."""

from widelimit._checks import check_at_least, check_positive
from widelimit.activations import ReLU
from widelimit.layers import Activation, Dense, Sequential
from widelimit.networks.initialization import weights_of


def zhu2022_network(
    *,
    depth: int,
    width: int,
    outputs: int,
    initialization: str = "he",
    exponent: float = 2.0,
    alpha: float = 1.0,
) -> Sequential:
    r"""The network of zhu2022, Eq. (2): no biases, ReLU, last layer scaled by 1/alpha.

    $$f(x) = \tfrac1\alpha W_L \phi(W_{L-1} \cdots \phi(W_1 x)), \quad
      [W_l]_{ij} \sim N(0, \beta_l^2), \quad L = \text{depth} + 1.$$

    The paper's $L$ counts weight matrices; `depth` counts hidden layers, one fewer. The
    initialisations, with $d$ inputs, width $m$ and $o$ outputs (Table 1 and Sec. 5.1):

    | name | $\beta_1$ | $\beta_2 = \dots = \beta_{L-1}$ | $\beta_L$ |
    | --- | --- | --- | --- |
    | `he` | $\sqrt{2/d}$ | $\sqrt{2/m}$ | $\sqrt{2/m}$ |
    | `lecun` | $\sqrt{1/d}$ | $\sqrt{1/m}$ | $\sqrt{1/m}$ |
    | `ntk` (Allen-Zhu) | $\sqrt{2/m}$ | $\sqrt{2/m}$ | $\sqrt{1/o}$ |
    | `non-lazy` | $m^{-c}$ | $m^{-c}$ | $m^{-c}$ |

    Args:
        depth: Number of hidden layers, $L - 1$; at least 1.
        width: Units of each hidden layer, $m$.
        outputs: Number of outputs, $o$.
        initialization: One of the names above.
        exponent: $c$ of the non-lazy initialisation; the others ignore it.
        alpha: Divisor $\alpha$ of the output.

    Returns:
        The description of the network.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    caller = "zhu2022_network"
    check_at_least(caller, "depth", depth, 1)
    check_at_least(caller, "width", width, 1)
    check_at_least(caller, "outputs", outputs, 1)
    check_positive(caller, "alpha", alpha)
    inner, last = weights_of(caller, initialization, exponent, width, outputs)
    readout = Dense(outputs, scale=1 / alpha, **last)
    hidden = Dense(width, **inner)
    return Sequential((hidden, Activation(ReLU())) * depth + (readout,))
