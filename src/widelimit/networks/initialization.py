"""The initialisations of zhu2022, for dense and convolutional layers."""

import math
from typing import Any

from widelimit._checks import check_one_of, check_positive
from widelimit.layers import Parameterization

INITIALIZATIONS = ("he", "lecun", "ntk", "non-lazy")


def weights_of(
    caller: str,
    initialization: str,
    exponent: float,
    width: int,
    outputs: int,
    fan_out: int | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    r"""What an initialisation asks of hidden layers, and of the last.

    | name | hidden layers | last layer |
    | --- | --- | --- |
    | `he` | $\sqrt{2/\text{fan-in}}$ | $\sqrt{2/\text{fan-in}}$ |
    | `lecun` | $\sqrt{1/\text{fan-in}}$ | $\sqrt{1/\text{fan-in}}$ |
    | `ntk` (Allen-Zhu) | $\sqrt{2/\text{fan-out}}$ | $\sqrt{1/o}$ |
    | `non-lazy` | $m^{-c}$ | $m^{-c}$ |

    Args:
        caller: Function to name.
        initialization: One of the names above.
        exponent: $c$.
        width: $m$, units or channels of the hidden layer.
        outputs: $o$.
        fan_out: Weights that leave an input of the hidden layer; $m$ if `None`.

    Returns:
        `weight_std` and `parameterization`, of both.

    Raises:
        ValueError: If the name is unknown or the exponent not positive.
    """
    check_one_of(caller, "initialization", initialization, INITIALIZATIONS)
    check_positive(caller, "exponent", exponent)
    standard, direct = Parameterization.STANDARD, Parameterization.DIRECT
    parameterization, (std, last) = {
        "he": (standard, (math.sqrt(2), math.sqrt(2))),
        "lecun": (standard, (1.0, 1.0)),
        "ntk": (direct, (math.sqrt(2 / (fan_out or width)), math.sqrt(1 / outputs))),
        "non-lazy": (direct, (float(width) ** -exponent,) * 2),
    }[initialization]
    return tuple(
        {"weight_std": size, "parameterization": parameterization}
        for size in (std, last)
    )  # pyright: ignore[reportReturnType]
