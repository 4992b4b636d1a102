"""Points on a sphere, networks and settings of kim2023's Figures 1 and 2."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PositiveInt, field_validator

from widelimit.activations import activation_named
from widelimit.datasets import covering_radius, sphere_lattice
from widelimit.layers import Sequential
from widelimit.networks import kim2023_network
from widelimit.studies.base import Settings
from widelimit.studies.kim2023_tables import ACTIVATIONS, Depth, known_names
from widelimit.studies.memory import check_device_memory

if TYPE_CHECKING:
    import xarray as xr


class LatticeSettings(Settings):
    """Widths and depths of networks on a lattice of points.

    Attributes:
        rows: Points on the sphere.
        features: Their number of features.
        activation: `gelu` or `erf`.
        depths: Numbers of hidden layers.
        widths: Units of each.
        seeds: Repetitions, each with its own initialisations.
    """

    rows: int = Field(64, ge=2)
    features: int = Field(4, ge=2, le=8)
    activation: str = "gelu"
    depths: tuple[Depth, ...] = Field((1, 2, 3), min_length=1)
    widths: tuple[PositiveInt, ...] = Field((64, 128, 256, 512), min_length=1)
    seeds: PositiveInt = 8

    @field_validator("activation")
    @classmethod
    def _known_activation(cls, name: str) -> str:
        return known_names((name,), ACTIVATIONS)[0]


AXES = {"depth": "depths", "width": "widths"}

PAPER = {
    "rows": 256,
    "widths": tuple(2**k for k in range(6, 14)),
    "seeds": 10,
}
"""What the presets called `paper` have in common."""


@functools.lru_cache(maxsize=4)
def lattice(rows: int, features: int) -> tuple[np.ndarray, float]:
    """The points, and how well they cover the sphere.

    Args:
        rows: Number of points.
        features: Number of features.

    Returns:
        The points, and their covering radius (NaN where they are too few for a hull).
    """
    points = sphere_lattice(rows, features)
    return points, covering_radius(points) if rows > features + 1 else np.nan


def network_of(config: Any, *, kappa: float = 1.0) -> Sequential:
    """The network of a point of the grid.

    Args:
        config: With `depth`, `width` and `activation`.
        kappa: Scale of its output.

    Returns:
        Its description.
    """
    return kim2023_network(
        depth=config["depth"],
        width=config["width"],
        activation=activation_named(config["activation"]),
        kappa=kappa,
    )


def network_bytes(depth: int, width: int, rows: int, features: int) -> int:
    """About what one network on the lattice takes, in single precision.

    Args:
        depth: Number of hidden layers.
        width: Units of each.
        rows: Points.
        features: Their features.

    Returns:
        Bytes for two copies of the weights, jets and cotangents of every layer, and
        some matrices of all values and gradients.
    """
    weights = width * (features + 1) + (depth - 1) * width**2
    entries = rows * (features + 1)
    return 4 * (2 * weights + entries * width * (2 * depth + 3) + 6 * entries**2)


def check_lattice(study: str, settings: Any) -> None:
    """Raise, with the cure, unless the largest network fits into memory.

    Args:
        study: Name of the study, for messages.
        settings: Settings of a study on the lattice.

    Raises:
        ValueError: If it does not.
    """
    depth, width = max(settings.depths), max(settings.widths)
    check_device_memory(
        study,
        network_bytes(depth, width, settings.rows, settings.features),
        f"one network of width {width} and depth {depth} at {settings.rows} points",
        "Set smaller `widths` or fewer `rows`.",
    )


def depths_of(results: "xr.Dataset") -> "list[tuple[int, xr.Dataset]]":
    """Depth and results of every depth with a finished trial.

    Args:
        results: Those of a study on the lattice.

    Returns:
        The pairs.
    """
    found = [(int(d), results.sel(depth=d)) for d in results["depth"].values]
    return [(d, at) for d, at in found if np.isfinite(at["rows"].values).any()]
