"""Data sets as arrays, their files and downloads, and their preparation."""

import importlib
from typing import TYPE_CHECKING, Any

from widelimit.datasets.banknote import BANKNOTE_MAX_COSINE
from widelimit.datasets.catalogue import Listing, listing
from widelimit.datasets.cifar_binary import (
    read_cifar10_binary,
    read_cifar100_binary,
)
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.idx import read_idx
from widelimit.datasets.image_preparation import PreparedImages, prepare_images
from widelimit.datasets.near_parallel import NearParallel, drop_near_parallel
from widelimit.datasets.preparation import Prepared, prepare
from widelimit.datasets.registry import fetch, load, load_table, names
from widelimit.datasets.table import Table
from widelimit.datasets.table_preparation import (
    PreparedTable,
    prepare_table,
    scale_features,
)

__all__ = [
    "BANKNOTE_MAX_COSINE",
    "Dataset",
    "Listing",
    "NearParallel",
    "Prepared",
    "PreparedImages",
    "PreparedTable",
    "Table",
    "covering_radius",
    "drop_near_parallel",
    "fetch",
    "listing",
    "load",
    "load_table",
    "names",
    "prepare",
    "prepare_images",
    "prepare_table",
    "read_cifar10_binary",
    "read_cifar100_binary",
    "read_idx",
    "scale_features",
    "sphere",
    "sphere_lattice",
]

if TYPE_CHECKING:
    from widelimit.datasets.lattice import covering_radius, sphere_lattice
    from widelimit.datasets.synthetic import sphere

# What needs more than NumPy, loaded on first use.
LATER = {
    "covering_radius": "lattice",
    "sphere": "synthetic",
    "sphere_lattice": "lattice",
}


def __getattr__(name: str) -> Any:
    if name in LATER:
        module = importlib.import_module(f"widelimit.datasets.{LATER[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'widelimit.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
