"""Batch normalisation, whose statistics training collects and evaluation uses."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from widelimit._checks import check_positive
from widelimit.layers.base import AbstractLayer, Params, Shape
from widelimit.layers.data_parallel import BATCH_AXIS, batch_devices
from widelimit.layers.evaluation import check_not_evaluating
from widelimit.layers.fit import check_channels, check_named

STATISTICS = "statistics"


@dataclass(frozen=True)
class BatchNorm(AbstractLayer):
    r"""$y = \gamma\,(x - \mu) / \sqrt{v + \epsilon} + \beta$ for every channel.

    `apply`, and with it every measure and attack, *evaluates*: $\mu$ and $v$ are the
    running statistics, so that a row's output depends on the row alone. Only
    `apply_training`, which `train` calls, takes those of the batch and its positions,
    and updates the running ones,

    $$\mu \leftarrow (1 - \rho)\,\mu + \rho\,\mu_\text{batch}, \quad
      v \leftarrow (1 - \rho)\,v + \rho\,\tfrac{n}{n - 1}\,v_\text{batch},$$

    with $n$ numbers per channel in the batch. Statistics are kept in the parameters,
    apart under `"statistics"`, without a gradient; `is_statistic` tells them, such as
    to leave them out of weight decay. They are in float32 at least.

    It has no infinite-width limit here: statistics of a batch couple its inputs.

    Args:
        momentum: $\rho$, the weight of the new batch.
        epsilon: $\epsilon$, in the units of $v$.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    batched: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("BatchNorm", "momentum", self.momentum)
        check_positive("BatchNorm", "epsilon", self.epsilon)
        if self.momentum > 1:
            raise ValueError(
                f"`BatchNorm` needs `momentum <= 1`. Got `momentum={self.momentum}`."
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ValueError("`BatchNorm` needs inputs with channels. Got numbers.")
        return input_shape

    def init(self, key: Key[Array, ""], input_shape: Shape) -> Params:
        channels = self.output_shape(input_shape)[-1]
        ones, zeros = jnp.ones(channels), jnp.zeros(channels)
        return {
            "scale": ones,
            "shift": zeros,
            STATISTICS: {"mean": zeros, "variance": ones},
        }

    def apply(self, params: Params, x: Float[Array, "n *s"]) -> Float[Array, "n *s"]:
        check_named("BatchNorm", params, ("scale", "shift", STATISTICS))
        kept = jax.lax.stop_gradient(params[STATISTICS])
        check_channels("BatchNorm", x, len(kept["mean"]))
        return self._normalised(params, x, kept["mean"], kept["variance"])

    def apply_training(
        self, params: Params, x: Float[Array, "n *s"]
    ) -> tuple[Float[Array, "n *s"], Params]:
        """Outputs by the statistics of the batch, and parameters with new running ones.

        Args:
            params: What `init` returned, or a trained version of it.
            x: Inputs, one per row.

        Returns:
            Both.

        Raises:
            ValueError: If there is a single number per channel, which has no variance,
                or the network is being measured or attacked.
        """
        check_not_evaluating()
        axes = tuple(range(x.ndim - 1))
        count = math.prod(x.shape[:-1]) * batch_devices()
        if count < 2:
            raise ValueError(
                "`BatchNorm` needs at least two numbers per channel to train. Got "
                f"`x.shape={x.shape}`. Take larger batches."
            )
        wide = x.astype(_wide(x))
        mean = jnp.mean(wide, axes)
        variance = jnp.mean(jnp.square(wide - mean), axes)
        if batch_devices() > 1:
            mean, variance = _of_all_devices(mean, variance)
        y = self._normalised(params, x, mean, variance)
        old = params[STATISTICS]
        new = {"mean": mean, "variance": variance * (count / (count - 1))}
        new = jax.tree.map(
            lambda a, b: jax.lax.stop_gradient(
                (1 - self.momentum) * a + self.momentum * b.astype(a.dtype)
            ),
            old,
            new,
        )
        return y, {**params, STATISTICS: new}

    def _normalised(self, params: Params, x: Array, mean: Array, variance: Array):
        wide = _wide(x)
        factor = params["scale"].astype(wide) * jax.lax.rsqrt(
            variance.astype(wide) + self.epsilon
        )
        shift = params["shift"].astype(wide) - mean.astype(wide) * factor
        return (x.astype(wide) * factor + shift).astype(x.dtype)


def _of_all_devices(mean: Array, variance: Array) -> tuple[Array, Array]:
    """Statistics of a batch from those of equal parts of it, one on each device."""
    parts = jax.lax.all_gather(jnp.stack([mean, variance]), BATCH_AXIS)
    mean = jnp.mean(parts[:, 0], 0)
    return mean, jnp.mean(parts[:, 1] + jnp.square(parts[:, 0] - mean), 0)


def _wide(x: Array) -> Any:
    """The type of the inputs, or float32 if that has more digits."""
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def is_statistic(path: tuple[Any, ...]) -> bool:
    """Whether a leaf of the parameters is a running statistic, by its path.

    Args:
        path: As `jax.tree_util.tree_map_with_path` gives it.

    Returns:
        It.
    """
    return any(getattr(key, "key", None) == STATISTICS for key in path)


def with_statistics(params: Params, source: PyTree[Array]) -> Params:
    """Parameters with the running statistics of others.

    Args:
        params: Parameters.
        source: Others of the same structure.

    Returns:
        `params`, its statistics replaced.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, a, b: b if is_statistic(path) else a, params, source
    )
