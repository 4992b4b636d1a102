"""Tables, networks and depths of the kim2023 studies."""

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Float64
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from widelimit.activations import activation_named
from widelimit.datasets import (
    BANKNOTE_MAX_COSINE,
    PreparedTable,
    load_table,
    prepare_table,
)
from widelimit.layers import Sequential
from widelimit.networks import kim2023_network
from widelimit.studies.base import Settings

TABLES: Mapping[str, str] = {
    "algerian-forest-fires": "forest fires",
    "banknote": "banknotes",
    "sonar": "sonar",
}
"""Name of each table for readers."""

ACTIVATIONS: Mapping[str, str] = {"gelu": "GELU", "erf": "erf"}
"""Name of each activation for readers."""


Depth = Annotated[int, Field(ge=1, le=500)]
"""Hidden layers; with thousands the limit's derivatives leave the range of floats."""

Kappa = Annotated[float, Field(ge=1e-12, le=1e12)]
"""Scale of the output, whose square is in the range of single precision."""


class TableSettings(Settings):
    """Tables as kim2023 prepares them, and the networks on them.

    Attributes:
        tables: Names of the tables.
        activations: `gelu`, `erf`.
        size: Most rows of a Gram matrix of values and gradients: a table of n rows with
            d features has n (d + 1) of them. A larger table is drawn from, at random
            and without replacement, so that it fits; `None` keeps all rows.
        threshold: What a smallest eigenvalue has to pass to count as positive, by the
            criterion that seems to be the paper's.
    """

    tables: tuple[str, ...] = Field(tuple(TABLES), min_length=1)
    activations: tuple[str, ...] = Field(tuple(ACTIVATIONS), min_length=1)
    size: Annotated[int, Field(ge=200)] | None = None
    threshold: PositiveFloat = 1e-6
    seeds: PositiveInt = 5

    @field_validator("tables")
    @classmethod
    def _known_tables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known_names(names, TABLES)

    @field_validator("activations")
    @classmethod
    def _known_activations(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return known_names(names, ACTIVATIONS)


class OneTableSettings(Settings):
    """One network on one table, trained.

    Attributes:
        table: Name of the table.
        activation: `gelu` or `erf`.
    """

    table: str = "algerian-forest-fires"
    activation: str = "gelu"

    @field_validator("table")
    @classmethod
    def _known_table(cls, name: str) -> str:
        return known_names((name,), TABLES)[0]

    @field_validator("activation")
    @classmethod
    def _known_activation(cls, name: str) -> str:
        return known_names((name,), ACTIVATIONS)[0]


def known_names(names: tuple[str, ...], known: Mapping[str, str]) -> tuple[str, ...]:
    """The names, if all are known.

    Args:
        names: Names from settings.
        known: The names that there are.

    Returns:
        The names.

    Raises:
        ValueError: If one is unknown.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is unknown; known are {', '.join(known)}")
    return names


def title_of(table: str, activation: str) -> str:
    """For readers, such as `forest fires, GELU`."""
    return f"{TABLES[table]}, {ACTIVATIONS[activation]}"


@functools.lru_cache(maxsize=8)
def prepared(table: str, activation: str) -> PreparedTable:
    """The rows of a table as the paper prepares them for an activation.

    Of the banknotes, rows nearly parallel to earlier ones are left out, by a threshold
    that depends on the activation.

    Args:
        table: Its name.
        activation: Name of the activation.

    Returns:
        The rows of norm 1, with targets +1 and -1.

    Raises:
        FileNotFoundError: If the files of the table are not on this machine.
    """
    cosine = BANKNOTE_MAX_COSINE[activation] if table == "banknote" else None
    return prepare_table(load_table(table), max_cosine=cosine)


def drawn_rows(rows: int, features: int, size: int | None, seed: int = 0) -> np.ndarray:
    """Indices of rows in a random order, as many as the Gram matrix may have.

    Args:
        rows: Number of rows of the table.
        features: Number of features.
        size: As in `TableSettings`.
        seed: Of the order.

    Returns:
        The indices; for one seed a smaller draw is the beginning of a larger one.
    """
    most = rows if size is None else min(rows, size // (features + 1))
    return np.random.default_rng(seed).permutation(rows)[:most]


def network_of(activation: str, depth: int) -> Sequential:
    """The paper's network; its width plays no role in the limit."""
    return kim2023_network(
        depth=depth, width=1, activation=activation_named(activation)
    )


def first_depth(
    depths: Sequence[int] | np.ndarray, holds: Bool[np.ndarray, " k"]
) -> int | None:
    """The smallest depth from which on the assumption holds at all depths computed.

    Args:
        depths: The depths, ascending.
        holds: Whether it holds at each.

    Returns:
        The depth; `None` if it does not hold at the last one.
    """
    missed = np.flatnonzero(~holds)
    first = missed[-1] + 1 if len(missed) else 0
    return int(depths[first]) if first < len(depths) else None


def check_tables(settings: Any) -> None:
    """Raise, with the cure, unless the tables are on this machine.

    Args:
        settings: Settings of a study of tables.

    Raises:
        FileNotFoundError: If the files of a table are not here.
    """
    for table in settings.tables:
        for activation in settings.activations:
            prepared(table, activation)


def relative_margin(
    values: Float[np.ndarray, "*s"], errors: Float[np.ndarray, "*s"]
) -> Float64[np.ndarray, "*s"]:
    r"""By how much values exceed their errors, $(\mu - e) / (|\mu| + e)$, from -1 to 1.

    Args:
        values: Smallest eigenvalues.
        errors: Bounds on their errors.

    Returns:
        One number for each, positive where $\mu > e$; NaN where one is missing.
    """
    with np.errstate(invalid="ignore"):
        found = (values - errors) / (np.abs(values) + errors)
    return np.asarray(found, dtype=np.float64)
