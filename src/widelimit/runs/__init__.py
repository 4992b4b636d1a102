"""Runs of many trials: each result is kept the moment it exists.

`run_trials` computes the trials that a directory lacks, `load_results` gives all of
them as one labelled array set. A run that was killed at any moment goes on where it
was when it is started again.

Names load on first use: a worker process must set its share of the CPU cores before
numerical libraries start their thread pools.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from widelimit.runs.config import Config as Config
    from widelimit.runs.config import canonical_json as canonical_json
    from widelimit.runs.config import config_key as config_key
    from widelimit.runs.executor import Executor as Executor
    from widelimit.runs.processes import ProcessExecutor as ProcessExecutor
    from widelimit.runs.progress import BarProgress as BarProgress
    from widelimit.runs.progress import LineProgress as LineProgress
    from widelimit.runs.progress import Progress as Progress
    from widelimit.runs.progress import SilentProgress as SilentProgress
    from widelimit.runs.progress import Tally as Tally
    from widelimit.runs.progress import default_progress as default_progress
    from widelimit.runs.record import Record as Record
    from widelimit.runs.results import load_results as load_results
    from widelimit.runs.run import RunSummary as RunSummary
    from widelimit.runs.run import run_trials as run_trials
    from widelimit.runs.serial import SerialExecutor as SerialExecutor
    from widelimit.runs.store import Store as Store
    from widelimit.runs.trial import Report as Report
    from widelimit.runs.trial import Trial as Trial

_MODULES = {
    "BarProgress": "progress",
    "Config": "config",
    "Executor": "executor",
    "LineProgress": "progress",
    "ProcessExecutor": "processes",
    "Progress": "progress",
    "Record": "record",
    "Report": "trial",
    "RunSummary": "run",
    "SerialExecutor": "serial",
    "SilentProgress": "progress",
    "Store": "store",
    "Tally": "progress",
    "Trial": "trial",
    "canonical_json": "config",
    "config_key": "config",
    "default_progress": "progress",
    "load_results": "results",
    "run_trials": "run",
}

__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        module = importlib.import_module(f"widelimit.runs.{_MODULES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'widelimit.runs' has no attribute {name!r}")
