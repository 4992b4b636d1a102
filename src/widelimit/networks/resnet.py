"""Residual networks for CIFAR images (He et al., 2016), of any width."""

from typing import Any

from widelimit._checks import check_count, check_positive
from widelimit.activations import ReLU
from widelimit.layers import (
    AbstractLayer,
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Pool,
    Residual,
    Sequential,
)
from widelimit.networks.initialization import weights_of


def resnet18(*, outputs: int = 10, width_factor: float = 1.0, **start: Any):
    r"""ResNet-18 with a stem for images of 32 x 32: 3 x 3, stride 1, no pooling.

    Basic blocks (two convolutions of 3 x 3 with batch normalisation, then ReLU), two
    in each of four stages with 64, 128, 256 and 512 channels, the later three of half
    the size; shortcuts that change the shape are convolutions of 1 x 1 with batch
    normalisation. With ten outputs and width factor 1 it has 11,173,962 parameters.

    Args:
        outputs: Number of outputs.
        width_factor: Factor of all channels, which are rounded; at least one is left.
        **start: `initialization` (`"he"` by default), and `exponent` of the non-lazy
            one, as of `zhu2022_network` with $m$ a layer's channels.

    Returns:
        The description of the network, for images with channels last.

    Raises:
        ValueError: If a name is unknown or a number out of range.

    References:
        He et al. (2016), https://arxiv.org/abs/1512.03385
    """
    return _resnet("resnet18", (2, 2, 2, 2), 64, outputs, width_factor, **start)


def resnet34(*, outputs: int = 10, width_factor: float = 1.0, **start: Any):
    """ResNet-34: as `resnet18` with 3, 4, 6 and 3 blocks; 21,282,122 parameters.

    Args:
        outputs: Number of outputs.
        width_factor: Factor of all channels.
        **start: As of `resnet18`.

    Returns:
        The description of the network.

    Raises:
        ValueError: As `resnet18`.
    """
    return _resnet("resnet34", (3, 4, 6, 3), 64, outputs, width_factor, **start)


def resnet110(*, outputs: int = 10, width_factor: float = 1.0, **start: Any):
    """ResNet-110 of the CIFAR family: 18 basic blocks each of 16, 32 and 64 channels.

    With shortcuts as of `resnet18` it has 1,730,714 parameters.

    Args:
        outputs: Number of outputs.
        width_factor: Factor of all channels.
        **start: As of `resnet18`.

    Returns:
        The description of the network.

    Raises:
        ValueError: As `resnet18`.
    """
    return _resnet("resnet110", (18, 18, 18), 16, outputs, width_factor, **start)


def cifar_resnet(
    *, depth: int, outputs: int = 10, width_factor: float = 1.0, **start: Any
):
    """Any ResNet of the CIFAR family, such as ResNet-20: `resnet110` but for its depth.

    The depth counts layers with weights: two in every block, the stem and the read-out.

    Args:
        depth: $6 n + 2$ for $n$ blocks in each stage: 8, 14, 20, 32, 44, 56, 110.
        outputs: Number of outputs.
        width_factor: Factor of all channels.
        **start: As of `resnet18`.

    Returns:
        The description of the network.

    Raises:
        ValueError: As `resnet18`, or if there is no such depth.
    """
    check_count("cifar_resnet", "depth", depth, 8)
    blocks, left = divmod(depth - 2, 6)
    if left:
        raise ValueError(
            "`cifar_resnet` needs a depth of 6 n + 2, for n blocks in each of three "
            f"stages. Got `depth={depth}`. Take {6 * blocks + 2} or {6 * blocks + 8}."
        )
    return _resnet("cifar_resnet", (blocks,) * 3, 16, outputs, width_factor, **start)


def _resnet(
    caller: str,
    blocks: tuple[int, ...],
    channels: int,
    outputs: int,
    width_factor: float,
    *,
    initialization: str = "he",
    exponent: float = 2.0,
) -> Sequential:
    check_count(caller, "outputs", outputs, 1)
    check_positive(caller, "width_factor", width_factor)
    widths = [max(1, round(width_factor * channels * 2**i)) for i in range(len(blocks))]

    def conv(width: int, window: int, stride: int) -> tuple[AbstractLayer, ...]:
        start, _ = weights_of(
            caller, initialization, exponent, width, outputs, window**2 * width
        )
        sides, steps = (window, window), (stride, stride)
        return (
            Conv(width, sides, strides=steps, padding="centered", **start),
            BatchNorm(),
        )

    layers = [*conv(widths[0], 3, 1), Activation(ReLU())]
    entering = widths[0]
    for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for j in range(count):
            stride = 2 if i and not j else 1
            branch = (*conv(width, 3, stride), Activation(ReLU()), *conv(width, 3, 1))
            same = stride == 1 and entering == width
            shortcut = None if same else Sequential(conv(width, 1, stride))
            layers += [Residual(Sequential(branch), shortcut), Activation(ReLU())]
            entering = width
    _, last = weights_of(caller, initialization, exponent, widths[-1], outputs)
    readout = Dense(outputs, bias_std=0.0, **last)
    return Sequential((*layers, Pool("average"), readout))
