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
    Score,
    StabilityPlan,
    lazy_ratio,
    mean_over_seeds,
    perturbation_stability,
    relative_movement,
    score,
)
from widelimit.networks import zhu2022_network
from widelimit.studies.memory import check_trial_memory
from widelimit.training import train, zhu2022_sgd

if TYPE_CHECKING:
    import xarray as xr

PAPER_STEPS = 60_000 // 64
"""Steps per epoch of zhu2022's training: MNIST in batches of 64."""

TILE_BYTES = 2**28
"""Of the Jacobians that are held at once."""


class TrainingProbe(eqx.Module):
    """What the trial measures of one seed's parameters, inside the compiled program.

    Lazy ratio and movement are those of the weights of dense layers and convolutions,
    the paper's $W_l$: biases, and what batch normalisation learns and collects, are
    left out.

    Attributes:
        apply: Outputs of the network for a batch of inputs.
        loss: Name of the loss.
        inputs: Inputs at which stability is measured.
        x_test: Inputs for accuracy and loss.
        t_test: Their targets.
        batch_size: Inputs whose Jacobians are held at once.
        x_train: Training inputs for accuracy and loss, or `None`.
        t_train: Their targets.
        rows: Inputs of one pass for accuracy and loss; all of them if `None`.
        plan: How stability is measured; exactly if `None`.
    """

    apply: Callable[[Params, Array], Array] = eqx.field(static=True)
    loss: LossName = eqx.field(static=True)
    inputs: Float[Array, "n *s"]
    x_test: Float[Array, "m *s"]
    t_test: Float[Array, "m o"]
    batch_size: int = eqx.field(static=True)
    x_train: Float[Array, "k *s"] | None = None
    t_train: Float[Array, "k o"] | None = None
    rows: int | None = eqx.field(static=True, default=None)
    plan: StabilityPlan | None = eqx.field(static=True, default=None)

    def __call__(self, params: Params, initial: Params) -> dict[str, Array]:
        """Stability per input, lazy ratio, movement per array, accuracy and loss."""

        def f(row):
            return self.apply(params, row[None])[0]

        if self.plan is None:
            stability = perturbation_stability(
                f, self.inputs, batch_size=self.batch_size
            )
        else:
            key = jax.random.key(0)
            stability = self.plan.measure(f, self.inputs, key=key).mean
        scores = self._score(params, self.x_test, self.t_test)
        now, start = weights(params), weights(initial)
        found = {
            "stability": stability,
            "kappa": lazy_ratio(now, start),
            "movement": jnp.stack(list(relative_movement(now, start).values())),
            "accuracy": scores.accuracy,
            "test_loss": scores.loss,
        }
        if self.x_train is not None and self.t_train is not None:
            scores = self._score(params, self.x_train, self.t_train)
            found |= {"fit_accuracy": scores.accuracy, "fit_loss": scores.loss}
        return found

    def _score(self, params: Params, x: Array, targets: Array) -> Score:
        if self.rows is None or self.rows >= len(x):
            return score(self.apply(params, x), targets, loss=self.loss)
        outputs = jax.lax.map(
            lambda row: self.apply(params, row[None])[0], x, batch_size=self.rows
        )
        return score(outputs, targets, loss=self.loss)


def weights(params: Params) -> list[Array]:
    """Arrays of weights of one network, in order: matrices and kernels of convolutions.

    Args:
        params: Its parameters, without an axis of seeds.

    Returns:
        The arrays with at least two axes.
    """
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]


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
    return _train(config, report, fit=False)


def train_and_score(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    """`train_and_measure`, with accuracy and loss on the training rows as well.

    Args:
        config: As there, and `schedule`: `paper` or `constant` for the learning rate.
        report: Called with the share done.

    Returns:
        As there, and `fit_accuracy` and `fit_loss` per seed and probe epoch.
    """
    return _train(config, report, fit=True)


def _train(
    config: Mapping[str, Any], report: Callable[[float], None], *, fit: bool
) -> "xr.Dataset":
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
        batch_size=max(1, min(len(inputs), TILE_BYTES // row_bytes)),
        x_train=x_train if fit else None,
        t_train=t_train if fit else None,
    )
    steps = len(data.x_train) // config["batch_size"]
    rate = config["learning_rate"] or paper_rate(steps)
    epochs = config["epochs"]
    falls = config.get("schedule", "paper") == "paper"
    trained = train(
        function,
        params,
        x_train,
        t_train,
        loss=config["loss"],
        # Without a step of the rate in the training, it is constant.
        optimizer=zhu2022_sgd(
            steps_per_epoch=steps, learning_rate=rate, epochs=epochs if falls else 0
        ),
        epochs=epochs,
        batch_size=config["batch_size"],
        keys=keys,
        probe=probe,
        probe_epochs=config["probe_epochs"],
        report=report,
    )
    return results_of(
        config,
        trained.probes,
        np.asarray(trained.loss),
        np.asarray(trained.diverged_at),
        features=features,
        outputs=outputs,
        samples=len(data.x_train),
        learning_rate=rate,
    )


def paper_rate(steps: int) -> float:
    """The rate at which rate times steps per epoch is the paper's, 0.001 * 937.

    Args:
        steps: Steps per epoch.

    Returns:
        The rate.
    """
    return 0.001 * PAPER_STEPS / steps


def results_of(
    config: Mapping[str, Any],
    probes: Any,
    train_loss: np.ndarray,
    diverged_at: np.ndarray,
    **sizes: int | float,
) -> "xr.Dataset":
    """What a trial returns of its seeds.

    Args:
        config: The trial's configuration.
        probes: What `TrainingProbe` returned, with axes of seeds and epochs.
        train_loss: Mean training loss per seed and epoch.
        diverged_at: Epoch of divergence of every seed, or 0.
        **sizes: Numbers of the trial as a whole.

    Returns:
        The data set; `train_and_measure` says what is in it.
    """
    import xarray as xr

    arrays = {name: np.asarray(v, float) for name, v in probes.items()}
    stability = arrays.pop("stability")  # seed, epoch, input
    movement = arrays.pop("movement")
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
            "movement": ((*per_seed, "layer"), movement),
            **{name: (per_seed, values) for name, values in arrays.items()},
            "train_loss": (("seed", "train_epoch"), np.asarray(train_loss, float)),
            "diverged_at": ("seed", np.asarray(diverged_at)),
            **sizes,
        },
        coords={
            "seed": list(config["seeds"]),
            "epoch": sorted(set(config["probe_epochs"])),
            "layer": np.arange(1, movement.shape[-1] + 1),
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
    check_rows_and_memory(settings, max(settings.widths), max(settings.depths))


def check_rows_and_memory(settings: Any, width: int, depth: int) -> None:
    """`check_data` for a network of that size.

    Args:
        settings: Settings with `data`, `scales`, `seeds` and numbers of rows.
        width: Units of each hidden layer.
        depth: Number of hidden layers.

    Raises:
        ValueError: As `check_data`.
    """
    for scale in settings.scales:
        data = _prepared(settings.data, scale, settings.train_rows, settings.test_rows)
        if settings.batch_size > len(data.x_train):
            raise ValueError(
                "A study needs a batch that fits in the training rows. Got "
                f"`batch_size={settings.batch_size}` and {len(data.x_train)} rows of "
                f"{settings.data!r}. Set a smaller `batch_size`."
            )
        check_test_rows(settings, "stability_rows", settings.data, len(data.x_test))
        network = zhu2022_network(
            depth=depth, width=width, outputs=data.t_train.shape[1]
        )
        check_trial_memory(
            f"{settings.seeds} seeds of width {width}, {depth} hidden layers",
            network,
            data.x_train,
            data.t_train,
            loss=settings.loss,
            optimizer=zhu2022_sgd(steps_per_epoch=1),
            batch_size=settings.batch_size,
            seeds=settings.seeds,
            held=data.x_test.size,
            smaller="Set fewer `seeds` or smaller `widths`, or run these points on a "
            "larger device.",
        )


def check_test_rows(settings: Any, name: str, data: str, rows: int) -> None:
    """Raise if more test rows are to be measured than there are.

    Args:
        settings: Settings of a study.
        name: Setting that says how many.
        data: Name of the data set.
        rows: Test rows in use.

    Raises:
        ValueError: If so.
    """
    wanted = getattr(settings, name)
    if wanted > rows:
        raise ValueError(
            f"A study needs `{name}` of at most the test rows. Got `{name}={wanted}` "
            f"and {rows} test rows of {data!r}. Set a smaller `{name}`."
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
