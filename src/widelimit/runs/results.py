"""The records of a run as one labelled array set."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from widelimit.runs.config import Config, canonical_json, differences
from widelimit.runs.record import Record
from widelimit.runs.store import Store

Axes = Mapping[str, Sequence[str | int | float]]


def load_results(directory: str | os.PathLike[str], axes: Axes) -> xr.Dataset:
    """All values of a run, over the axes of its grid and the trials' own dimensions.

    A trial stands where its configuration's settings named like the axes say; trials
    beside the axes' values are left out. Where a trial is missing or has failed, floats
    are NaN (integers and booleans become floats or objects). Two variables are added:
    `status` is `"done"`, `"failed"` or `"missing"`, and `wall_seconds` the time that
    the trial took.

    Args:
        directory: Where the records are.
        axes: For each axis its values, all strings or all numbers; their order is kept.

    Returns:
        The values, with the axes as first dimensions.

    Raises:
        FileNotFoundError: If the directory holds no run.
        ValueError: If an axis is not such a list, two trials stand at one place, or the
            trials' values do not fit together or take the axes' names.
    """
    store = Store(directory)
    if store.configuration is None:
        raise FileNotFoundError(f"`{directory}` holds no run. Look for its study.json.")
    for name, values in axes.items():
        _check_axis(name, values)
    records = _place(store, axes)
    shape = tuple(len(v) for v in axes.values())
    coords = {name: np.asarray(values) for name, values in axes.items()}

    status = np.full(math.prod(shape), "missing")
    seconds = np.full(math.prod(shape), np.nan)
    for place, record in records.items():
        status[place] = record.status
        seconds[place] = record.wall_seconds
    results = _combine(records, axes, shape)
    return results.assign_coords(coords).assign(
        status=(tuple(axes), status.reshape(shape)),
        wall_seconds=(tuple(axes), seconds.reshape(shape)),
    )


def _place(store: Store, axes: Axes) -> dict[int, Record]:
    """Records by their place on the flattened grid."""
    records: dict[int, Record] = {}
    for record in store.records():
        place = _position(record.config, axes)
        if place is None:
            continue
        if place in records:
            lines = "\n  ".join(differences(records[place].config, record.config))
            raise ValueError(
                "`load_results` needs axes that tell all trials apart. Got "
                f"{list(axes)}, and two trials at one place, which differ in\n  {lines}"
                "\nAdd an axis for it."
            )
        records[place] = record
    return records


def _position(config: Config, axes: Axes) -> int | None:
    position = 0
    for name, values in axes.items():
        if name not in config:
            raise ValueError(
                "`load_results` needs axes that are settings of every trial. Got "
                f"{name!r}, which {canonical_json(config)} lacks."
            )
        try:
            index = list(values).index(config[name])
        except ValueError:
            return None
        position = position * len(values) + index
    return position


def _combine(
    records: dict[int, Record], axes: Axes, shape: tuple[int, ...]
) -> xr.Dataset:
    done = {p: r.values for p, r in records.items() if r.values is not None}
    for values in done.values():
        taken = {str(n) for n in (*values.dims, *values.variables)} & {*axes, *_ADDED}
        if taken:
            raise ValueError(
                "`load_results` needs trials whose variables and dimensions have names "
                f"of their own. Got {sorted(taken)}, which are axes or "
                f"{' or '.join(_ADDED)}. Rename them in the trial."
            )
    if not done:
        return xr.Dataset()
    try:
        stacked = xr.concat(
            list(done.values()),
            dim=xr.Variable(_PLACE, list(done)),
            data_vars="all",
            coords="different",
            compat="equals",
            join="outer",
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        raise ValueError(
            f"`load_results` needs trials whose values fit together. Got: {error} Give "
            "the dimensions coordinates in the trial, or load fewer axis values."
        ) from error
    everywhere = stacked.reindex({_PLACE: np.arange(math.prod(shape))})

    def unfold(variable: xr.Variable) -> xr.Variable:
        if _PLACE not in variable.dims:
            return variable
        variable = variable.transpose(_PLACE, ...)
        dims = (*axes, *variable.dims[1:])
        array = variable.values.reshape(shape + variable.shape[1:])
        return xr.Variable(dims, array, variable.attrs)

    everywhere = everywhere.drop_vars(_PLACE)
    return xr.Dataset(
        {k: unfold(v.variable) for k, v in everywhere.data_vars.items()},
        {k: unfold(v.variable) for k, v in everywhere.coords.items()},
        everywhere.attrs,
    )


_PLACE = "place on the grid"
_ADDED = ("status", "wall_seconds")


def _check_axis(name: str, values: Sequence[Any]) -> None:
    strings = [isinstance(v, str) for v in values]
    numbers = [isinstance(v, int | float) for v in values]
    if len(values) == 0 or not (all(strings) or all(numbers)):
        raise ValueError(
            "`load_results` needs each axis as a list of strings, or of numbers. Got "
            f"`axes[{name!r}]={list(values)!r}`."
        )
    if len(set(values)) < len(values):
        raise ValueError(
            "`load_results` needs the values of an axis to differ. Got "
            f"`axes[{name!r}]={list(values)!r}`."
        )
