"""Data sets as arrays, their files and downloads, and their preparation."""

import importlib
from typing import TYPE_CHECKING, Any

from widelimit.datasets.banknote import BANKNOTE_MAX_COSINE
from widelimit.datasets.catalogue import Listing, listing
from widelimit.datasets.cifar_binary import read_cifar10_binary
from widelimit.datasets.dataset import Dataset
from widelimit.datasets.idx import read_idx
from widelimit.datasets.preparation import Prepared, prepare
from widelimit.datasets.registry import fetch, load, load_table, names
from widelimit.datasets.table import Table

__all__ = [
    "BANKNOTE_MAX_COSINE",
    "Dataset",
    "Listing",
    "Prepared",
    "Table",
    "fetch",
    "listing",
    "load",
    "load_table",
    "names",
    "prepare",
    "read_cifar10_binary",
    "read_idx",
    "sphere",
]

if TYPE_CHECKING:
    from widelimit.datasets.synthetic import sphere


def __getattr__(name: str) -> Any:
    if name == "sphere":  # the only name here that needs jax
        return importlib.import_module("widelimit.datasets.synthetic").sphere
    raise AttributeError(f"module 'widelimit.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
