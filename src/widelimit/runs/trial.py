"""Trials: functions found by name, and what becomes of one call."""

import importlib
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from widelimit.runs.config import Config, plain
from widelimit.runs.encoding import encode_dataset
from widelimit.runs.environment import environment
from widelimit.runs.record import Record


@dataclass(frozen=True)
class Report:
    """What a trial is given beside its configuration: called with the fraction done.

    Args:
        tell: Receives the fraction, from 0 to 1; any thread may call it.
        directory: Where the trial may keep what it needs to go on if it is killed, such
            as a `training.Checkpoint`: it belongs to this configuration in this run,
            stays until the trial has succeeded, and then goes. It need not exist yet.
            `None` where there is no such place.
    """

    tell: Callable[[float], None]
    directory: Path | None = None

    def __call__(self, fraction: float) -> None:
        self.tell(fraction)


Trial = Callable[[dict[str, Any], Report], xr.Dataset]
"""Computes one configuration. All randomness comes from seeds in the configuration, and
the precision from the trial itself (say, `with jax.enable_x64(True):`), because it may
run in another thread or process than its caller."""


def load_trial(reference: str) -> Trial:
    """The function that `reference` names.

    Args:
        reference: `"package.module:function"`.

    Returns:
        The function; its module is imported.

    Raises:
        ImportError: If it does not lead to a function.
    """
    module, _, name = reference.partition(":")
    if not (module and name):
        raise ImportError(
            f"A trial needs a reference `package.module:function`. Got {reference!r}."
        )
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            "A trial needs a reference to a function that can be imported. Got "
            f"{reference!r}, which fails with: {error}."
        ) from error


def evaluate(
    trial: Trial,
    config: Config,
    report: Callable[[float], None],
    directory: Path | None = None,
) -> Record:
    """The record of `trial(config, report)`, whether it returns or raises.

    Every exception makes a failed record, `SystemExit` and `KeyboardInterrupt` too: a
    trial never runs where Ctrl-C arrives, so it raised them itself.

    Args:
        trial: Function to call, with its own copy of `config`.
        config: The trial's configuration.
        report: Called with fractions done, at most a few times a second.
        directory: Where the trial may keep what it needs to go on.

    Returns:
        The record.
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    begin = time.perf_counter()
    values, error = None, None
    try:
        values = trial(plain(config), Report(_throttled(report), directory))
        _check_values(values)  # what cannot be written fails here, not in the store
    except BaseException:
        values, error = None, traceback.format_exc()
    seconds = time.perf_counter() - begin
    return Record(config, started, seconds, environment(), values, error)


def _check_values(values: Any) -> None:
    if not isinstance(values, xr.Dataset):
        raise TypeError(
            "A trial needs to return an `xarray.Dataset`. Got a "
            f"`{type(values).__name__}`."
        )
    encode_dataset(values)


def _throttled(
    report: Callable[[float], None], interval: float = 0.25
) -> Callable[[float], None]:
    lock = threading.Lock()
    last = -interval

    def throttled(fraction: float) -> None:
        nonlocal last
        with lock:
            now = time.monotonic()
            if now - last >= interval:
                last = now
                report(min(1.0, max(0.0, float(fraction))))

    return throttled
