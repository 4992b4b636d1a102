"""The multilayer perceptron of kim2023."""

from widelimit._checks import check_count, check_positive
from widelimit.activations import GELU, AbstractActivation
from widelimit.layers import Activation, Dense, Parameterization, Sequential


def kim2023_network(
    *,
    depth: int,
    width: int,
    activation: AbstractActivation | None = None,
    kappa: float = 1.0,
    bias_std: float | None = None,
    outputs: int = 1,
) -> Sequential:
    r"""The network of kim2023, Sec. 2, whose weights all start as $N(0, 1)$.

    $$h^{(1)} = \phi(W^{(1)} x), \quad
      h^{(l)} = \phi(W^{(l)} h^{(l-1)} / \sqrt m), \quad
      f(x) = \kappa\,W^{(L+1)} h^{(L)} / \sqrt m.$$

    The first layer is not divided by $\sqrt d$, so that $\Sigma^{(0)}(x, x') =
    \langle x, x' \rangle$. The kernels of this network are the paper's times
    $\kappa^2$.

    Args:
        depth: Number of hidden layers, $L$; at least 1.
        width: Units of each hidden layer, $m$ (the paper's $d$).
        activation: $\phi$, which is normalised here to $E\,\phi(z)^2 = 1$ under
            $N(0, 1)$ (Assumption 1); GELU if none is given.
        kappa: Scale $\kappa$ of the output, not trained.
        bias_std: Standard deviation of the hidden layers' biases; `None`, as in the
            paper, for no biases.
        outputs: Number of outputs; 1 in the paper.

    Returns:
        The description of the network.

    Raises:
        ValueError: If a number is out of range, or $\phi$ cannot be normalised.

    References:
        Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """
    caller = "kim2023_network"
    check_count(caller, "depth", depth, 1)
    check_positive(caller, "kappa", kappa)
    ntk = Parameterization.NTK
    direct = Parameterization.DIRECT
    first = Dense(width, bias_std=bias_std, parameterization=direct)
    hidden = Dense(width, bias_std=bias_std, parameterization=ntk)
    phi = Activation((activation or GELU()).normalized())
    readout = Dense(outputs, float(kappa), parameterization=ntk)
    return Sequential((first, phi, *(hidden, phi) * (depth - 1), readout))
