"""A plain convolutional network."""

from widelimit._checks import check_count, check_positive
from widelimit.activations import ReLU
from widelimit.layers import Activation, Conv, Dense, Pool, Sequential
from widelimit.networks.initialization import weights_of

WINDOW = (3, 3)


def cnn(
    *,
    depth: int,
    channels: int,
    outputs: int,
    initialization: str = "he",
    exponent: float = 2.0,
    alpha: float = 1.0,
) -> Sequential:
    r"""Convolutions of 3 x 3 with ReLU, the average over all pixels, a dense layer.

    zhu2022, App. E.3, has CNNs of $L$ = 4 to 10 layers and does not say more; here
    $L = \text{depth} + 1$, all convolutions have the same channels and no biases, and
    two of them, at a third and two thirds of the depth, have stride 2. Initialisations
    are those of `zhu2022_network`, with $m$ the channels and the fan-out $9 m$.

    Args:
        depth: Number of convolutions; at least 1.
        channels: Of each, $m$.
        outputs: Number of outputs, $o$.
        initialization: `"he"`, `"lecun"`, `"ntk"` or `"non-lazy"`.
        exponent: $c$ of the non-lazy initialisation; the others ignore it.
        alpha: Divisor $\alpha$ of the output.

    Returns:
        The description of the network, for images with channels last.

    Raises:
        ValueError: If the name is unknown or a number is out of range.
    """
    caller = "cnn"
    for name, value in (("depth", depth), ("channels", channels), ("outputs", outputs)):
        check_count(caller, name, value, 1)
    check_positive(caller, "alpha", alpha)
    inner, last = weights_of(
        caller, initialization, exponent, channels, outputs, 9 * channels
    )
    halved = {depth // 3, 2 * depth // 3} - {0}
    layers = [
        part
        for i in range(depth)
        for part in (
            Conv(channels, WINDOW, strides=(2, 2) if i in halved else None, **inner),
            Activation(ReLU()),
        )
    ]
    readout = Dense(outputs, scale=1 / alpha, **last)
    return Sequential((*layers, Pool("average"), readout))
