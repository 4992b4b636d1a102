"""Settings, data and training of the wang2022 studies."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field, PositiveInt, model_validator

from widelimit.attacks import AbstractAttack
from widelimit.datasets import Prepared, load, prepare
from widelimit.layers import Params, Sequential
from widelimit.networks import wang2022_network
from widelimit.studies.base import Settings
from widelimit.studies.memory import check_device_memory, device_memory
from widelimit.training import Trained, lazy_radius, projected_sgd, train

Scale = Literal["unit", "raw"]
COPIES = 9  # of the weights of a seed that are alive while it trains
HIDDEN_COPIES = 4  # of the values of all units at all inputs that are attacked


class LazySettings(Settings):
    """Networks trained on two classes of images, near their start.

    Attributes:
        data: Name of the data set.
        classes: The two labels, that of +1 first.
        sides: Sides to which images are averaged down; the dimension is the square.
        widths: Units m of the hidden layer.
        seeds: Initialisations (and batch orders) per point of the grid.
        epochs: Passes through the data, at most.
        batch_size: Rows per step.
        train_rows: Training rows, drawn at random; all if `None`.
        test_rows: Test rows, drawn at random; all if `None`.
    """

    data: str = "digits"
    classes: tuple[int, int] = (0, 1)
    sides: tuple[PositiveInt, ...] = Field((4, 5, 6, 7, 8), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((256, 1024), min_length=1)
    seeds: PositiveInt = 3
    epochs: PositiveInt = 40
    batch_size: PositiveInt = 16
    train_rows: PositiveInt | None = None
    test_rows: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _two_classes(self) -> "LazySettings":
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes must be two, got {self.classes}")
        if self.train_rows is not None and self.batch_size > self.train_rows:
            raise ValueError(
                f"batch_size ({self.batch_size}) must not exceed train_rows "
                f"({self.train_rows})"
            )
        return self


def check_lazy(settings: Any) -> None:
    """Raise where no trial could succeed: without data, or a seed without room.

    Args:
        settings: `LazySettings`.

    Raises:
        ValueError: If labels, sides or rows do not suit the data, or one seed of the
            largest network does not fit into memory.
        OSError: If the data set is not on this machine.
    """
    config = settings.model_dump()
    side, width = max(settings.sides), max(settings.widths)
    depth = max(getattr(settings, "depths", (1,)))
    data = data_of(config | {"scale": "raw", "side": side})
    if settings.batch_size > len(data.x_train):
        raise ValueError(
            f"`batch_size={settings.batch_size}` must not exceed the "
            f"{len(data.x_train)} training rows of {settings.data!r}."
        )
    check_device_memory(
        "check_lazy",
        weight_bytes(side**2, width, depth),
        f"one seed of width {width} in dimension {side**2}",
        "Choose a smaller `widths`.",
    )


def weight_bytes(features: int, width: int, depth: int = 1) -> int:
    """What one seed takes while it trains.

    Args:
        features: Dimension d of the inputs.
        width: Units m of each hidden layer.
        depth: Hidden layers.

    Returns:
        Bytes.
    """
    return 4 * COPIES * width * (features + (depth - 1) * width)


def data_of(config: Mapping[str, Any]) -> Prepared:
    """Two classes of images with targets +1 and -1; the last few are remembered.

    Args:
        config: One point of a grid, with `data`, `classes`, `scale`, `side`,
            `train_rows` and `test_rows`.

    Returns:
        The data.

    Raises:
        ValueError: If the data set has no such classes, sides or rows.
        OSError: If it is not on this machine.
    """
    return _data(
        config["data"],
        config["scale"],
        tuple(config["classes"]),
        config["side"],
        config["train_rows"],
        config["test_rows"],
    )


@functools.lru_cache(maxsize=4)
def _data(name, scale, classes, side, train_rows, test_rows) -> Prepared:
    return prepare(
        load(name),
        scale=scale,
        classes=classes,
        size=side,
        targets="sign",
        train=train_rows,
        test=test_rows,
    )


class LazyRun(NamedTuple):
    """Networks of one point of a grid.

    Attributes:
        network: Their description.
        initial: Parameters before training, with a leading axis of seeds.
        trained: What came of it.
    """

    network: Any
    initial: Params
    trained: Trained

    def seed(self, number: int) -> tuple[Params, Params]:
        """Parameters of one seed, at the start and trained."""
        return tuple(
            jax.tree.map(lambda a: a[number], tree)
            for tree in (self.initial, self.trained.params)
        )  # pyright: ignore[reportReturnType]


def train_lazily(
    config: Mapping[str, Any],
    data: Prepared,
    seeds: Any,
    *,
    network: Sequential | None = None,
    constant: float | None = None,
    adversary: AbstractAttack | None = None,
    project: float | None = None,
    patience: int | None = None,
    report: Any = None,
) -> LazyRun:
    r"""Seeds of wang2022's network, by SGD on the logistic loss.

    Args:
        config: One point of a grid, with `width`, `epochs`, `batch_size` and
            `learning_rate`.
        data: What to train on.
        seeds: Numbers of the seeds; of each, the start and the orders of batches.
        network: Another network than the paper's.
        constant: $C_0$, to end at the border of the lazy ball.
        adversary: Attack for adversarial training.
        project: Radius of the ball to project onto once per epoch, as Algorithm 1.
        patience: Epochs without a higher robust accuracy after which a seed stops.
        report: Called with the share done.

    Returns:
        The networks.
    """
    network = network or wang2022_network(width=config["width"])
    x, t = (jnp.asarray(a, jnp.float32) for a in (data.x_train, data.t_train))
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, dtype=jnp.uint32))
    keys, starts = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    params = jax.vmap(lambda key: network.init(key, x.shape[1:]))(starts)
    params = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    optimizer = projected_sgd(
        config["learning_rate"], project, every=len(x) // config["batch_size"]
    )
    radius = None if constant is None else lazy_radius(constant, config["width"])
    trained = train(
        network,
        params,
        x,
        t,
        loss="logistic",
        optimizer=optimizer,
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        keys=keys,
        lazy_radius=radius,
        adversary=adversary,
        patience=patience,
        report=report,
    )
    return LazyRun(network, params, trained)


def seed_groups(
    seeds: Any, features: int, width: int, depth: int = 1, *, rows: int = 0
) -> list[list[int]]:
    """Seeds in groups that fit into a third of the memory, the more the faster.

    Args:
        seeds: Numbers of the seeds.
        features: Dimension d of the inputs.
        width: Units m of each hidden layer.
        depth: Hidden layers.
        rows: Inputs that are attacked at once, if any.

    Returns:
        The groups, at least one seed in each.
    """
    have = device_memory() or 2**32
    one = weight_bytes(features, width, depth) + 4 * HIDDEN_COPIES * rows * width
    most = max(1, have // 3 // one)
    numbers = [int(s) for s in seeds]
    return [numbers[i : i + most] for i in range(0, len(numbers), most)]


def accuracy_of(
    network: Any, params: Params, x: Array | np.ndarray, t: Array | np.ndarray
) -> float:
    """Share of rows whose sign is right.

    Args:
        network: The network.
        params: Its parameters.
        x: Inputs.
        t: Targets +1 and -1.

    Returns:
        It.
    """
    outputs = np.asarray(network(params, jnp.asarray(x, jnp.float32)))
    return float(np.mean(outputs * np.asarray(t) > 0))
