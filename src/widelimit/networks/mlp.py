"""The multilayer perceptron."""

from widelimit._checks import check_count
from widelimit.activations import AbstractActivation, ReLU
from widelimit.layers import Activation, Dense, Parameterization, Sequential


def mlp(
    *,
    depth: int,
    width: int,
    outputs: int = 1,
    activation: AbstractActivation | None = None,
    weight_std: float = 2**0.5,
    bias_std: float | None = None,
    parameterization: Parameterization = Parameterization.STANDARD,
) -> Sequential:
    """A multilayer perceptron: `depth` hidden layers and a linear read-out.

    A paper that counts weight matrices calls it a network of $L$ = `depth + 1` layers.

    Args:
        depth: Number of hidden layers; 0 is a linear model.
        width: Units of each hidden layer, $m$.
        outputs: Number of outputs, $o$.
        activation: The activation of the hidden layers; ReLU if none is given.
        weight_std: Weight scale of every dense layer, read as `parameterization` says.
        bias_std: Bias scale of every dense layer; `None` for no biases.
        parameterization: Standard, NTK or direct.

    Returns:
        The description of the network.

    Raises:
        ValueError: If `depth` is negative, or a number of units is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = mlp(depth=2, width=8, outputs=3)
        >>> params = net.init(jax.random.key(0), (5,))
        >>> net.apply(params, jnp.ones((4, 5))).shape
        (4, 3)
    """
    check_count("mlp", "depth", depth, 0)
    hidden = Dense(width, weight_std, bias_std, parameterization=parameterization)
    readout = Dense(outputs, weight_std, bias_std, parameterization=parameterization)
    nonlinearity = Activation(activation or ReLU())
    return Sequential((hidden, nonlinearity) * depth + (readout,))
