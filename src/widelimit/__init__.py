"""Robustness of neural networks at finite and infinite width.

Subpackages load on first use, so `import widelimit` is quick:

- `activations`, `layers`, `networks`: describe a network once.
- `kernels`: of infinitely wide networks, and of finite ones.
- `datasets`: images, UCI tables and synthetic inputs, prepared for the theory.
- `prediction`: what training converges to, with kernels, and systems of them solved.
- `estimators`: scikit-learn classes for regression and classification.
- `training`: many seeds of one network in one compiled program.
- `measures`: perturbation stability, lazy ratio, accuracy.
- `attacks`: perturbations that change a prediction.
- `bounds`: the theorems, as functions that name their assumptions.
- `studies`, `runs`, `report`: grids of experiments, their store, and their page.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "activations",
    "attacks",
    "bounds",
    "datasets",
    "estimators",
    "kernels",
    "layers",
    "losses",
    "measures",
    "networks",
    "prediction",
    "report",
    "runs",
    "studies",
    "training",
]

if TYPE_CHECKING:
    from widelimit import (
        activations,
        attacks,
        bounds,
        datasets,
        estimators,
        kernels,
        layers,
        losses,
        measures,
        networks,
        prediction,
        report,
        runs,
        studies,
        training,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"widelimit.{name}")
    raise AttributeError(f"module 'widelimit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
