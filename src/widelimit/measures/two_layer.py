"""Parameters of the two-layer networks that some measures are exact for."""

from typing import Any

from jaxtyping import Array, Float

from widelimit._checks import check_finite, check_rows
from widelimit.layers import Params


def two_layer_weight(caller: str, name: str, params: Params) -> Float[Array, "d m"]:
    """The weights of one hidden layer under fixed signs, a column per unit.

    Args:
        caller: Function to name in messages.
        name: Argument to name in messages.
        params: Parameters as `wang2022_network(depth=1)` has them.

    Returns:
        The weights.

    Raises:
        ValueError: If the parameters are of another form.
    """
    parts: Any = params if isinstance(params, tuple) else ()
    held = [p for p in parts if p]  # an activation has none
    keys = [sorted(p) for p in held if isinstance(p, dict)]
    if len(held) != 2 or keys != [["weight"], ["signs"]] or held[0]["weight"].ndim != 2:
        raise ValueError(
            f"`{caller}` needs `{name}` of a two-layer network: one `weight` matrix "
            f"without a bias, then `signs`. Got arrays named {keys or type(params)}. "
            "Pass the parameters of one `wang2022_network(width=..., depth=1)`."
        )
    weight, signs = held[0]["weight"], held[1]["signs"]
    if signs.shape != (weight.shape[1], 1):
        raise ValueError(
            f"`{caller}` needs one sign per unit in `{name}`. Got `weight.shape="
            f"{weight.shape}` and `signs.shape={signs.shape}`."
        )
    check_finite(caller, name, weight)
    return weight


def check_inputs(
    caller: str, x: Any, weight: Float[Array, "d m"], name: str = "x"
) -> None:
    """Raise unless `x` has finite rows of as many features as the weights have."""
    check_rows(caller, name, x)
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"`{caller}` needs inputs with {weight.shape[0]} features. Got `{name}."
            f"shape={x.shape}`."
        )
    check_finite(caller, name, x)
