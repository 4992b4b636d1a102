"""The networks of du2019: fully-connected, residual, and convolutional-residual."""

from collections.abc import Callable

from widelimit._checks import check_count, check_positive
from widelimit.activations import AbstractActivation, Softplus
from widelimit.layers import (
    AbstractLayer,
    Activation,
    Conv,
    Dense,
    Parameterization,
    Pool,
    Readout,
    Residual,
    Scale,
    Sequential,
)


def du2019_fully_connected(
    *, depth: int, width: int, activation: AbstractActivation | None = None
) -> Sequential:
    r"""The fully-connected network of du2019, Eq. (2).

    $$f(x) = a^\top x^{(H)}, \quad
      x^{(h)} = \sqrt{c_\sigma / m}\,\sigma(W^{(h)} x^{(h-1)}), \quad
      W^{(h)}_{ij} \sim N(0, 1), \quad a_r = \pm 1.$$

    Layers hand on $\sqrt m\,x^{(h)}$, as in the paper's App. D; the factor is then in
    the next layer's forward pass, and the function and its gradients are the same.

    Args:
        depth: Number of hidden layers, $H$; at least 1.
        width: Units of each, $m$.
        activation: $\sigma$, not normalised; the softplus if none is given.

    Returns:
        The description of the network. The read-out is not trained.

    Raises:
        ValueError: If a number is out of range, or $c_\sigma$ does not exist.
    """
    check_count("du2019_fully_connected", "depth", depth, 1)
    sigma = Activation((activation or Softplus()).normalized())
    return Sequential(
        (_first(width), sigma, *(_hidden(width), sigma) * (depth - 1), Readout())
    )


def du2019_resnet(
    *,
    depth: int,
    width: int,
    activation: AbstractActivation | None = None,
    c_lambda: float = 0.5,
    separation: float = 1.0,
) -> Sequential:
    r"""The residual network of du2019, Eq. (3).

    $$x^{(1)} = \sqrt{c_\sigma / m}\,\sigma(W^{(1)} x), \quad
      x^{(h)} = x^{(h-1)} + \frac{c_\lambda \lambda^{3/2}}{H \sqrt m}
      \sigma(W^{(h)} x^{(h-1)}), \quad f(x) = a^\top x^{(H)}.$$

    Args:
        depth: $H$; at least 1.
        width: Units of each hidden layer, $m$.
        activation: $\sigma$; the softplus if none is given.
        c_lambda: $0 < c_\lambda < 1$, which the paper leaves open.
        separation: $\lambda$ of Assumption 4.1, which `separation` of
            `widelimit.kernels` finds for given inputs. 1 is the value of orthogonal
            inputs of norm 1; real inputs have less, and branches that hardly count.

    Returns:
        The description of the network. The read-out is not trained.

    Raises:
        ValueError: If a number is out of range, or $c_\sigma$ does not exist.
    """
    return Sequential(
        (
            *_residual(
                "du2019_resnet",
                _first(width),
                lambda: _hidden(width),
                depth,
                activation or Softplus(),
                c_lambda,
                separation,
            ),
            Readout(),
        )
    )


def du2019_conv_resnet(
    *,
    depth: int,
    width: int,
    activation: AbstractActivation | None = None,
    window: tuple[int, ...] = (3,),
    c_lambda: float = 0.5,
    separation: float = 1.0,
) -> Sequential:
    r"""The convolutional residual network of du2019, Sec. 2.2.

    As `du2019_resnet`, with convolutions of zero padding in place of the matrices
    ($W^{(h)} \phi(x^{(h-1)})$, $\phi$ collects patches) and one sign $a_r$ per channel,
    the same at every pixel.

    Args:
        depth: $H$; at least 1.
        width: Channels of each hidden layer, $m$.
        activation: $\sigma$; the softplus if none is given.
        window: Size of a patch along each position axis; $q$ is the product.
        c_lambda: As in `du2019_resnet`.
        separation: $\lambda$, as in `du2019_resnet`. That of Assumption 5.1 is zero
            where patches have fewer than twice as many entries as there are pixels,
            since its matrices then lack rank; so the value must be chosen.

    Returns:
        The description of the network, for inputs with channels last.

    Raises:
        ValueError: If a number is out of range, or $c_\sigma$ does not exist.
    """
    size = 1
    for length in window:
        size *= length
    first = Conv(width, window, parameterization=Parameterization.DIRECT)
    hidden = Conv(width, window, size**0.5, parameterization=Parameterization.NTK)
    return Sequential(
        (
            *_residual(
                "du2019_conv_resnet",
                first,
                lambda: hidden,
                depth,
                activation or Softplus(),
                c_lambda,
                separation,
            ),
            Pool("sum"),
            Readout(),
        )
    )


def _first(width: int) -> Dense:
    return Dense(width, parameterization=Parameterization.DIRECT)


def _hidden(width: int) -> Dense:
    return Dense(width, parameterization=Parameterization.NTK)


def _residual(
    caller: str,
    first: AbstractLayer,
    hidden: Callable[[], AbstractLayer],
    depth: int,
    sigma: AbstractActivation,
    c_lambda: float,
    separation: float,
) -> tuple[AbstractLayer, ...]:
    check_count(caller, "depth", depth, 1)
    check_positive(caller, "c_lambda", c_lambda)
    check_positive(caller, "separation", separation)
    if c_lambda >= 1:
        raise ValueError(f"`{caller}` needs `c_lambda < 1`. Got `c_lambda={c_lambda}`.")
    factor = Scale(c_lambda * separation**1.5 / depth)
    block = Residual(Sequential((hidden(), Activation(sigma), factor)))
    return (first, Activation(sigma.normalized()), *(block,) * (depth - 1))
