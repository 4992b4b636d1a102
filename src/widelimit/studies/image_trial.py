"""The trial of the studies on images: train, measure, and keep a few pictures."""

import functools
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from widelimit.datasets import PreparedImages, load, prepare_images
from widelimit.measures import StabilityPlan, stability_plan
from widelimit.studies.image_bytes import training_pixels
from widelimit.studies.image_settings import image_network
from widelimit.studies.memory import check_trial_memory
from widelimit.studies.pictures import damaging_directions
from widelimit.studies.trial import (
    TILE_BYTES,
    TrainingProbe,
    check_test_rows,
    paper_rate,
    results_of,
)
from widelimit.training import Checkpoint, CropFlip, momentum_sgd, train

if TYPE_CHECKING:
    import xarray as xr

SCORED_ROWS = 250
"""Inputs of one pass for accuracy and loss."""


def train_on_images(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    """Train one network on images from several seeds, one after the other.

    Everything is measured on the network as it evaluates: batch normalisation takes its
    running statistics. Training rows are scored too, as many as test rows.

    Args:
        config: One point of a study's grid; `studies.image_settings` says what is in
            it. `depth` is there for plain networks.
        report: Called with the share done.

    Returns:
        As `train_and_measure`; besides `fit_accuracy` and `fit_loss` of training rows,
        per seed and class of the test rows the last `class_stability`, and of the first
        seed that has not diverged what `damaging_directions` returns.
    """
    data = prepared_images(config, config["data"])
    outputs, shape = data.t_train.shape[1], data.x_train.shape[1:]
    network = network_of(config, outputs)
    function = network.without_init(shape)
    t, x_test, t_test = (
        jnp.asarray(array, dtype=float)
        for array in (data.t_train, data.x_test, data.t_test)
    )
    x, scaling = training_pixels(data) or (jnp.asarray(data.x_train, dtype=float), None)
    x = jnp.asarray(x)
    inputs = x_test[: config["stability_rows"]]
    plan = plan_of(network, inputs)
    probe = TrainingProbe(
        function,
        config["loss"],
        inputs,
        x_test,
        t_test,
        batch_size=plan.batch_size,
        plan=plan,
        x_train=jnp.asarray(data.x_train[: len(x_test)], dtype=float),
        t_train=t[: len(x_test)],
        rows=SCORED_ROWS,
    )
    steps = len(x) // config["batch_size"]
    rate = config["learning_rate"] or paper_rate(steps)
    kept, pictures, seeds = [], None, config["seeds"]
    for number, seed in enumerate(seeds):
        # Side by side, seeds would make grouped convolutions, many times slower.
        key, init_key = jax.random.split(jax.random.key(seed))
        start = network.init(init_key, shape)
        trained = train(
            function,
            jax.tree.map(lambda leaf: leaf[None], start),
            x,
            t,
            loss=config["loss"],
            optimizer=_optimizer(config, steps, rate),
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            keys=key[None],
            scaling=scaling,
            augmentation=CropFlip() if config["augment"] else None,
            probe=probe,
            probe_epochs=config["probe_epochs"],
            precision=config["precision"],
            accumulate=config["accumulate"],
            checkpoint=_checkpoint(report, seed),
            report=lambda share, number=number: report((number + share) / len(seeds)),
        )
        params = jax.tree.map(lambda leaf: leaf[0], trained.params)
        if pictures is None and config["pictures"] and not int(trained.diverged_at[0]):
            pictures = damaging_directions(
                function,
                params,
                data,
                count=config["pictures"],
                share=config["picture_radius"],
            )
        kept.append((trained.probes, trained.loss, trained.diverged_at))
    probes, loss, diverged_at = jax.tree.map(
        lambda *parts: np.concatenate([np.asarray(p) for p in parts]), *kept
    )
    rows = np.asarray(data.y_test)[: len(inputs)]
    found = results_of(
        config,
        probes,
        loss,
        diverged_at,
        features=int(np.prod(shape)),
        outputs=outputs,
        samples=len(x),
        learning_rate=rate,
    ).assign_coords(label=list(data.classes))
    last = probes["stability"][:, -1]
    means = np.full((len(seeds), len(data.classes)), np.nan)
    for label in np.unique(rows):
        means[:, label] = last[:, rows == label].mean(axis=1)
    found = found.assign(class_stability=(("seed", "label"), means.astype(float)))
    found = found if pictures is None else found.merge(pictures)
    told = {name: config[name] for name in ("initialization", "picture_radius")}
    return found.assign_attrs(told | {"stability": str(plan)})


def _checkpoint(report: Any, seed: int) -> Checkpoint | None:
    """Where a seed's training is kept, if the trial has a place for it."""
    place = getattr(report, "directory", None)
    return None if place is None else Checkpoint(place / f"seed-{seed}.npz", every=5)


def _optimizer(
    config: Mapping[str, Any], steps: int, rate: float
) -> optax.GradientTransformation:
    return momentum_sgd(
        rate,
        steps_per_epoch=steps,
        epochs=config["epochs"],
        schedule=config["schedule"],
        milestones=tuple(config["milestones"]),
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
    )


def network_of(config: Mapping[str, Any], outputs: int) -> Any:
    """The network of one point of a grid.

    Args:
        config: The point.
        outputs: Number of outputs.

    Returns:
        The description of the network.
    """
    return image_network(
        config["network"],
        depth=config.get("depth"),
        width=config["width"],
        outputs=outputs,
        start=config["initialization"],
    )


def prepared_images(config: Mapping[str, Any], name: str) -> PreparedImages:
    """The images of a trial or of a study, as networks take them.

    Args:
        config: What has `scale`, `size`, `train_rows` and `test_rows`.
        name: Name of the data set.

    Returns:
        The images.
    """
    wanted = ("scale", "size", "train_rows", "test_rows")
    return _prepared(name, *(config[key] for key in wanted))


@functools.lru_cache(maxsize=2)
def _prepared(
    name: str, scale: str, size: int | None, train: int | None, test: int | None
) -> PreparedImages:
    return prepare_images(load(name), scale=scale, size=size, train=train, test=test)


def plan_of(network: Any, inputs: Any) -> StabilityPlan:
    """How the stability of a network is measured, by its cost.

    Args:
        network: The network.
        inputs: Images, of which shape and type count.

    Returns:
        The plan, whose text says what it costs.
    """
    function = network.without_init(inputs.shape[1:])
    params = network.init(jax.random.key(0), inputs.shape[1:])
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return stability_plan(
        lambda row: function(params, row[None])[0],
        inputs,
        # A linearisation keeps the weights, those of convolutions in two orders.
        memory=float(TILE_BYTES + 2 * weights),
    )


def check_images(settings: Any) -> None:
    """Raise, with the cure, unless data and memory of a study's trials suffice.

    Args:
        settings: Settings of one of the studies on images.

    Raises:
        FileNotFoundError: If the files of a data set are not on this machine.
        ValueError: If a data set is unknown, has too few rows, is no set of images, or
            training or a Jacobian of the largest network does not fit into memory; then
            with the bytes, and the parts of a batch that fit.
    """
    values = settings.model_dump(mode="json")
    names = values["data"] if isinstance(settings.data, tuple) else [values["data"]]
    for name in names:
        data = prepared_images(values, name)
        rows, batch = len(data.x_train), settings.batch_size
        if batch > rows:
            raise ValueError(
                "A study needs a batch that fits in the training rows. Got "
                f"`batch_size={batch}` and {rows} rows of {name!r}. Set a smaller "
                "`batch_size`."
            )
        if settings.augment and data.x_train.shape[1] < 2 * CropFlip().padding:
            raise ValueError(
                "A study needs images of at least 8 pixels a side to crop them. Got "
                f"{data.x_train.shape[1]} of {name!r}. Set `augment=false`."
            )
        check_test_rows(settings, "stability_rows", name, len(data.x_test))
        rows = jnp.asarray(data.x_test[: settings.stability_rows], dtype=float)
        for config in _largest(values):
            network = network_of(config, data.t_train.shape[1])
            _check_memory(config, network, data)
            print(
                f"{name}, {config['network']}: {plan_of(network, rows)}",
                file=sys.stderr,
            )


def _largest(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The point of the grid with the largest width and depth, of every network."""
    widths = values.get("widths") or [values["width"]]
    depths = values.get("depths") or [0]
    starts = values.get("initializations") or [values["initialization"]]
    return [
        {
            **values,
            "network": network,
            "width": max(widths),
            "depth": max(depths),
            "initialization": starts[0],
        }
        for network in values.get("networks") or [values["network"]]
    ]


def _check_memory(
    config: Mapping[str, Any], network: Any, data: PreparedImages
) -> None:
    """Raise unless one seed fits into memory, beside the images that are measured."""
    pixels = training_pixels(data)
    check_trial_memory(
        f"{config['network']} of width {config['width']:g}",
        network,
        data.x_train if pixels is None else pixels[0],
        data.t_train,
        loss=config["loss"],
        optimizer=_optimizer(config, 1, config["learning_rate"] or 1.0),
        scaling=None if pixels is None else pixels[1],
        batch_size=config["batch_size"],
        accumulate=config["accumulate"],
        mixed=config["precision"] == "mixed",
        held=data.x_test.size,
        smaller="Set smaller `widths` or fewer `train_rows`.",
    )
