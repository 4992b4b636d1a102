"""Fitted estimators in files that hold nothing but arrays and JSON."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from widelimit._files import DAMAGED

VERSION = 1
FUNCTION = ("x", "weights", "gram")  # arrays of a `KernelPredictor`


def write_fitted(
    estimator: Any, path: str | os.PathLike[str], kept: tuple[str, ...]
) -> None:
    """Writes a fitted estimator.

    Args:
        estimator: With a `predictor_` and a `fit_report_`.
        path: The file to write, `.npz`.
        kept: Names of its own fitted arrays.

    Raises:
        ValueError: If the name does not end in `.npz`, or an array is of objects that
            are not texts.
    """
    out = Path(path)
    if out.suffix != ".npz":
        raise ValueError(f"`save` needs `path` to end in .npz. Got {out}.")
    if not out.parent.is_dir():
        raise ValueError(
            f"`save` needs a folder that exists. Got `path={out}`. Make {out.parent} "
            "first."
        )
    f = estimator.predictor_
    head = {
        "version": VERSION,
        "class": type(estimator).__name__,
        "params": estimator.get_params(),
        "single": f.single,
        "fit_report_": estimator.fit_report_,
        "names": getattr(estimator, "feature_names_in_", np.array([])).tolist(),
    }
    arrays = {name: getattr(f, name) for name in FUNCTION}
    arrays |= {name: _plain(name, getattr(estimator, name)) for name in kept}
    part = out.with_name(f".{out.name}.{os.getpid()}.npz")
    try:
        np.savez(part, head=json.dumps(head, default=_scalar), **arrays)
        part.replace(out)  # never half a file under its name
    finally:
        part.unlink(missing_ok=True)


def read_fitted(
    name: str, path: str | os.PathLike[str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Reads what `write_fitted` wrote.

    Args:
        name: The class that is wanted.
        path: The file.

    Returns:
        The estimator's parameters, its fitted attributes, and those of its function.

    Raises:
        ValueError: If it is not such a file, or of another class or version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            arrays = {key: file[key] for key in file.files if key != "head"}
            kind, version = head["class"], head["version"]
    except (*DAMAGED, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}.load` needs a file that `save` wrote. Got {path}."
        ) from error
    if kind != name or version != VERSION:
        raise ValueError(
            f"`{name}.load` needs a file of a `{name}`, version {VERSION}. Got {path}, "
            f"of a `{kind}`, version {version}."
        )
    function = {key: arrays.pop(key) for key in FUNCTION} | {"single": head["single"]}
    fitted = arrays | {
        "fit_report_": head["fit_report_"],
        "n_features_in_": function["x"].shape[1],
    }
    if head["names"]:
        fitted["feature_names_in_"] = np.array(head["names"], dtype=object)
    return head["params"], fitted, function


def _plain(name: str, values: np.ndarray) -> np.ndarray:
    """The array with texts as texts, because arrays of objects need pickle."""
    if values.dtype != object:
        return values
    if not all(isinstance(value, str) for value in values):
        raise ValueError(
            f"`save` needs numbers or texts in `{name}`. Got {values.tolist()}."
        )
    return values.astype(str)


def _scalar(value: Any) -> Any:
    """NumPy's numbers, such as grid searches set, as Python's."""
    return value.item()
