"""The trial that the zhu2022 studies share: train a network, measure it on the way."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.datasets import Prepared, load, prepare
from widelimit.layers import Params
from widelimit.losses import LossName
from widelimit.measures import (
    Estimate,
    lazy_ratio,
    mean_over_seeds,
    perturbation_stability,
    relative_movement,
    score,
)
from widelimit.networks import zhu2022_network
from widelimit.studies.memory import device_memory
from widelimit.training import train, zhu2022_sgd

if TYPE_CHECKING:
    import xarray as xr

PAPER_STEPS = 60_000 // 64
"""Steps per epoch of zhu2022's training: MNIST in batches of 64."""

_TILE_BYTES = 2**28


class TrainingProbe(eqx.Module):
    """What the trial measures of one seed's parameters, inside the compiled program.

    Attributes:
        apply: Outputs of the network for a batch of inputs.
        loss: Name of the loss.
        inputs: Inputs at which stability is measured.
        x_test: Inputs for accuracy and loss.
        t_test: Their targets.
        batch_size: Inputs whose Jacobians are held at once.
    """

    apply: Callable[[Params, Array], Array] = eqx.field(static=True)
    loss: LossName = eqx.field(static=True)
    inputs: Float[Array, "n d"]
    x_test: Float[Array, "m d"]
    t_test: Float[Array, "m o"]
    batch_size: int = eqx.field(static=True)

    def __call__(self, params: Params, initial: Params) -> dict[str, Array]:
        """Stability per input, lazy ratio, movement per array, accuracy and loss."""
        stability = perturbation_stability(
            lambda row: self.apply(params, row[None])[0],
            self.inputs,
            batch_size=self.batch_size,
        )
        scores = score(self.apply(params, self.x_test), self.t_test, loss=self.loss)
        return {
            "stability": stability,
            "kappa": lazy_ratio(params, initial),
            "movement": jnp.stack(list(relative_movement(params, initial).values())),
            "accuracy": scores.accuracy,
            "test_loss": scores.loss,
        }


def train_and_measure(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Train one network from several seeds and measure it at chosen epochs.

    Stability is per unit radius, $P(f, \epsilon) / \epsilon$ (it is linear in the
    radius), on test inputs.

    Args:
        config: One point of a study's grid; `studies.settings` says what is in it.
        report: Called with the share done.

    Returns:
        Per seed and probe epoch: `stability` with its standard error over inputs,
        `kappa`, `movement` per layer, `accuracy`, `test_loss`; per probe epoch the
        `mean_stability` over inputs and the seeds that have not diverged, with its
        standard error; per seed and training epoch `train_loss`; per seed
        `diverged_at`; and the number of `features`, `outputs` and training `samples`,
        and the `learning_rate`.
    """
    import xarray as xr

    data = _prepared(
        config["data"],
        config["scale"],
        config["train_rows"],
        config["test_rows"],
    )
    features, outputs = data.x_train.shape[1], data.t_train.shape[1]
    network = zhu2022_network(
        depth=config["depth"],
        width=config["width"],
        outputs=outputs,
        **initialization(config["initialization"]),
    )
    function = network.without_init((features,))
    x_train, t_train, x_test, t_test = (
        jnp.asarray(array, dtype=float)  # the default precision, as the parameters
        for array in (data.x_train, data.t_train, data.x_test, data.t_test)
    )
    keys = jax.vmap(jax.random.key)(jnp.asarray(config["seeds"], dtype=jnp.uint32))
    keys, init_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    params = jax.vmap(lambda key: network.init(key, (features,)))(init_keys)
    inputs = x_test[: config["stability_rows"]]
    row_bytes = 4 * len(config["seeds"]) * outputs * max(config["width"], features)
    probe = TrainingProbe(
        function,
        config["loss"],
        inputs,
        x_test,
        t_test,
        batch_size=max(1, min(len(inputs), _TILE_BYTES // row_bytes)),
    )
    steps = len(data.x_train) // config["batch_size"]
    rate = config["learning_rate"] or 0.001 * PAPER_STEPS / steps
    trained = train(
        function,
        params,
        x_train,
        t_train,
        loss=config["loss"],
        optimizer=zhu2022_sgd(
            steps_per_epoch=steps, learning_rate=rate, epochs=config["epochs"]
        ),
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        keys=keys,
        probe=probe,
        probe_epochs=config["probe_epochs"],
        report=report,
    )
    probes = {name: np.asarray(v, float) for name, v in trained.probes.items()}  # pyright: ignore
    stability = probes["stability"]  # seed, epoch, input
    means = [_mean(stability[:, e]) for e in range(stability.shape[1])]
    per_seed = ("seed", "epoch")
    return xr.Dataset(
        {
            "stability": (per_seed, stability.mean(-1)),
            "stability_se": (
                per_seed,
                stability.std(-1, ddof=1) / stability.shape[-1] ** 0.5,
            ),
            "mean_stability": ("epoch", [m.mean for m in means]),
            "mean_stability_se": ("epoch", [m.standard_error for m in means]),
            "kappa": (per_seed, probes["kappa"]),
            "movement": ((*per_seed, "layer"), probes["movement"]),
            "accuracy": (per_seed, probes["accuracy"]),
            "test_loss": (per_seed, probes["test_loss"]),
            "train_loss": (("seed", "train_epoch"), np.asarray(trained.loss, float)),
            "diverged_at": ("seed", np.asarray(trained.diverged_at)),
            "features": features,
            "outputs": outputs,
            "samples": len(data.x_train),
            "learning_rate": rate,
        },
        coords={
            "seed": list(config["seeds"]),
            "epoch": sorted(set(config["probe_epochs"])),
            "layer": np.arange(1, config["depth"] + 2),
            "train_epoch": np.arange(1, config["epochs"] + 1),
        },
    )


def initialization(label: str) -> dict[str, Any]:
    """Reads an initialisation's label, such as `he` or `non-lazy:1.5`.

    Args:
        label: A name known to `zhu2022_network`, with the exponent after a colon.

    Returns:
        The arguments `initialization` and, where given, `exponent`.

    Raises:
        ValueError: If what follows the colon is not a number.
    """
    name, colon, exponent = label.partition(":")
    if not colon:
        return {"initialization": name}
    try:
        return {"initialization": name, "exponent": float(exponent)}
    except ValueError as error:
        raise ValueError(
            "An initialisation needs a number after the colon. Got "
            f"{label!r}. Write it as `non-lazy:1.5`."
        ) from error


def check_data(settings: Any) -> None:
    """Raise, with the cure, unless the data of a study's trials are here and suffice.

    Args:
        settings: The settings; `studies.settings` says what is in them.

    Raises:
        ValueError: If the name is unknown, the data have too few rows, or the largest
            network's seeds do not fit into memory.
    """
    for scale in settings.scales:
        data = _prepared(settings.data, scale, settings.train_rows, settings.test_rows)
        if settings.batch_size > len(data.x_train):
            raise ValueError(
                "A study needs a batch that fits in the training rows. Got "
                f"`batch_size={settings.batch_size}` and {len(data.x_train)} rows of "
                f"{settings.data!r}. Set a smaller `batch_size`."
            )
        _check_memory(settings, data.x_train.shape[1], data.t_train.shape[1])


def _check_memory(settings: Any, features: int, outputs: int) -> None:
    width, depth = max(settings.widths), max(settings.depths)
    numbers = width * (features + outputs) + (depth - 1) * width**2
    # Parameters at initialisation, now and before the epoch, and their gradient.
    needed = 4 * 4 * numbers * settings.seeds
    have = device_memory()
    if have is not None and needed > have:
        raise ValueError(
            f"A study needs memory for {settings.seeds} seeds of its largest network "
            f"(width {width}, {depth} hidden layers), about {needed / 2**30:.0f} GiB. "
            f"Got {have / 2**30:.0f} GiB. Set fewer `seeds` or smaller `widths`, or "
            "run these points on a larger device."
        )


def _mean(values: np.ndarray) -> Estimate:
    """Over inputs, and those seeds that have not diverged."""
    kept = values[np.isfinite(values).all(axis=1)]
    return mean_over_seeds(kept) if len(kept) else Estimate(math.nan, math.nan)


@functools.lru_cache(maxsize=4)
def _prepared(
    name: str, scale: str, train_rows: int | None, test_rows: int | None
) -> Prepared:
    return prepare(load(name), scale=scale, train=train_rows, test=test_rows)
