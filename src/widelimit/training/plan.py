"""What of a training is compiled into its program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from jaxtyping import Array

from widelimit.layers import Params
from widelimit.losses import Loss
from widelimit.training.jacobian_penalty import JacobianPenalty
from widelimit.training.pixel_scaling import PixelScaling


class Plan(NamedTuple):
    """What is compiled into the program.

    Attributes:
        apply: Outputs for a batch of inputs.
        row_loss: Loss of every row.
        penalty: Penalty on the Jacobian.
        optimizer: An Optax transformation.
        epochs: Passes through the data.
        batch_size: Rows per step.
        stops: Epochs after which to probe, in order.
        patience: Epochs to wait for a higher robust accuracy.
        scaling: Makes numbers of bytes.
        augmentation: Changes the inputs of every step.
        accumulate: Parts of every batch, one after the other.
        mixed: Whether the network is computed in bfloat16.
        dtype: Type in which losses are kept.
    """

    apply: Callable[[Params, Array], Array]
    row_loss: Loss
    penalty: JacobianPenalty | None
    optimizer: optax.GradientTransformation
    epochs: int
    batch_size: int
    stops: tuple[int, ...]
    patience: int | None
    scaling: PixelScaling | None
    augmentation: Callable[[Array, Array], Array] | None
    accumulate: int
    mixed: bool
    dtype: Any

    @property
    def batched(self) -> bool:
        """Whether the network normalises by the batch while it trains."""
        return getattr(self.apply, "batched", False)
