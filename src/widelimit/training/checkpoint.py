"""Trainings that go on where they were killed."""

import json
import os
import platform
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._checks import check_count
from widelimit._files import DAMAGED, replace_file
from widelimit.layers import Params
from widelimit.training.epoch import Inputs
from widelimit.training.fingerprint import fingerprint
from widelimit.training.plan import Plan
from widelimit.training.program import State, on_devices, run_seeds

FORMAT = 1
HEADER = "header"
NAMES = {
    "apply": "network",
    "mixed": "precision is mixed",
    "row_loss": "loss",
    "penalty": "jacobian_penalty",
    "stops": "probe_epochs",
}


@dataclass(frozen=True)
class Checkpoint:
    """A file in which `train` keeps its state, so that it can go on after a kill.

    Every `every` epochs, and after the last, the whole state goes into a NumPy archive
    without pickle, written beside its place and moved there in one step. The same call
    of `train` then goes on from it: parameters, losses and probes are bit for bit those
    of a training that was never interrupted, on the same machine with the same number
    of devices. A file that is finished gives its result without training.

    The file holds what it belongs to: versions, network, optimizer, plan, digests of
    the data, the initial parameters and the keys. Another training is refused.

    Args:
        path: The file if it ends in `.npz`, or a folder, made if there is none, for
            the file `state.npz`.
        every: Epochs between two writings.

    Raises:
        ValueError: If `path` is none, or `every` no whole number of at least 1.
    """

    path: str | os.PathLike[str]
    every: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(
                f"`Checkpoint` needs the path of a file or folder. Got {self.path!r}."
            )
        check_count("Checkpoint", "every", self.every, 1)

    @property
    def file(self) -> Path:
        """Where the state is kept."""
        path = Path(self.path)
        return path if path.suffix == ".npz" else path / "state.npz"


def run_with_checkpoint(
    checkpoint: Checkpoint, state: State, params: Params, inputs: Inputs, plan: Plan
) -> State:
    """Trains to the end, from the checkpoint if there is one.

    Args:
        checkpoint: Where the state is kept.
        state: That before the first epoch.
        params: Initial parameters.
        inputs: What the seeds share.
        plan: What is compiled in.

    Returns:
        The state at the end.

    Raises:
        ValueError: If the file is damaged or belongs to another training, or there
            cannot be one.
    """
    _check_place(checkpoint.file)
    belongs = _belongs(state, params, inputs, plan)
    done, finished = 0, False
    if checkpoint.file.exists():
        done, state = _read(checkpoint.file, state, belongs)
        state = on_devices(state, inputs, plan)
        finished = done == plan.epochs
    while not finished:
        end = min(done + checkpoint.every, plan.epochs)
        state = run_seeds(state, params, done, end, inputs, plan)
        done = end if np.any(state.seeds.active) else plan.epochs
        if done > end:  # nothing trains any more: only probes are left
            state = run_seeds(state, params, end, done, inputs, plan)
        _write(checkpoint.file, state, done, belongs)
        finished = done == plan.epochs
    return state


def _check_place(file: Path) -> None:
    """Refuse where nothing can be written before anything is trained."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise ValueError(
            "`train` needs a checkpoint in a folder that can be written to. Got "
            f"'{file}': {error}. Choose another place."
        ) from error


def _belongs(
    state: State, params: Params, inputs: Inputs, plan: Plan
) -> dict[str, str]:
    """What a file must have been written by, by name."""
    parts = {
        "format": FORMAT,
        "widelimit": version("widelimit"),
        "jax": version("jax"),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{NAMES.get(name, name): part for name, part in plan._asdict().items()},
        "x": inputs.x,
        "targets": inputs.targets,
        "adversary": inputs.adversary,
        "lazy_radius": inputs.lazy_radius,
        "probe": inputs.probe,
        "params": _named(params),
        "keys": state.seeds.key,  # before the first epoch
    }
    return {name: fingerprint(part) for name, part in parts.items()}


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path) or "array": leaf for path, leaf in leaves}


def _write(file: Path, state: State, done: int, belongs: dict[str, str]) -> None:
    header = json.dumps({"epoch": done, "belongs": belongs})
    arrays: dict[str, Any] = {HEADER: np.frombuffer(header.encode(), np.uint8)}
    arrays |= {name: _plain(leaf) for name, leaf in _named(state).items()}
    replace_file(file, lambda opened: np.savez(opened, **arrays))


def _plain(leaf: Any) -> np.ndarray:
    """An array that NumPy can write: keys as numbers, bfloat16 as its bits."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array if array.dtype.isbuiltin else array.view(f"u{array.dtype.itemsize}")


def _as_in(template: Any, array: np.ndarray) -> Any:
    """What `_plain` was given, by the type of the same leaf before training."""
    if jnp.issubdtype(template.dtype, jax.dtypes.prng_key):
        impl = jax.random.key_impl(template)
        return jax.random.wrap_key_data(jnp.asarray(array), impl=impl)
    if array.dtype != template.dtype:
        array = array.view(template.dtype)
    if array.shape != template.shape:
        raise ValueError(f"an array of shape {array.shape} for {template.shape}")
    return array


def _read(file: Path, template: State, belongs: dict[str, str]) -> tuple[int, State]:
    """Epochs done and the state after them."""
    try:
        with file.open("rb") as opened:  # `np.load` leaves a damaged file open
            archive = np.load(opened, allow_pickle=False)
            header = json.loads(bytes(archive[HEADER]))
            done, found = int(header["epoch"]), dict(header["belongs"])
            _check(file, found, belongs)
            leaves = [
                _as_in(leaf, archive[name]) for name, leaf in _named(template).items()
            ]
    except _Other:
        raise
    except (
        *DAMAGED, ValueError, KeyError, TypeError, IndexError, OSError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"`train` needs a checkpoint that can be read. Got '{file}', which is "
            f"damaged or none: {error}. Delete it to train from the start, or choose "
            "another place."
        ) from error
    return done, jax.tree.unflatten(jax.tree.structure(template), leaves)


class _Other(ValueError):
    """The checkpoint belongs to another training."""


def _check(file: Path, found: dict[str, str], belongs: dict[str, str]) -> None:
    names = [*belongs, *(name for name in found if name not in belongs)]
    lines = [
        f"{name}: {_contrast(found.get(name, '-'), belongs.get(name, '-'))}"
        for name in names
        if found.get(name) != belongs.get(name)
    ]
    if lines:
        listed = "\n  ".join(lines)
        raise _Other(
            f"`train` needs the checkpoint of this training. Got '{file}', which "
            f"belongs to another. What it was written with -> what is asked for now:\n"
            f"  {listed}\nDelete the file to train from the start, choose another "
            "place, or go back to what it was written with."
        )


def _contrast(one: str, other: str, around: int = 30) -> str:
    """Where two texts part."""
    i = len(os.path.commonprefix([one, other]))
    begin = max(0, i - around) if max(len(one), len(other)) > 2 * around else 0
    cut = ["..." * (begin > 0) + text[begin : i + around] for text in (one, other)]
    return " -> ".join(cut)
