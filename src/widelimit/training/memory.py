"""What a training takes of a device's memory, and its refusal where that is less."""

import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax

from widelimit.attacks import AbstractAttack
from widelimit.layers import Params
from widelimit.layers.data_parallel import BATCH_AXIS
from widelimit.training.division import SEEDS, divided
from widelimit.training.objective import objective
from widelimit.training.plan import Plan

LOOKED_AT = (2, 4)  # rows of the batches that are traced: a single one has no variance
NO_OPTIMIZER = optax.identity()
FUSED = 2  # a product's result, and what the next one takes of it


def device_memory() -> int | None:
    """Bytes of the device that computes, or of this machine; `None` if unknown."""
    have = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if have is None and hasattr(os, "sysconf"):
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return have


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one device that a training takes.

    Attributes:
        data: Inputs, unless they are streamed, and targets.
        weights: Parameters at the start, now and before the epoch, as they enter and as
            they leave, with the state of the optimizer; both again in the step, and
            the gradient: of all seeds.
        row: What one row of a batch leaves for the backward pass.
        attack: What an attack on all rows leaves, one epoch before they are trained on.
    """

    data: int
    weights: int
    row: int
    attack: int = 0

    @property
    def fixed(self) -> int:
        """What is taken whatever the batch."""
        return self.data + self.weights

    def needed(self, rows: int) -> int:
        """What is taken with so many rows at once.

        Args:
            rows: Rows of a batch, or of each of its parts.

        Returns:
            Bytes.
        """
        return self.fixed + max(rows * self.row, self.attack)


def training_memory(
    plan: Plan,
    params: Params,
    x: Any,
    targets: Any,
    adversary: Any = None,
    *,
    stream: bool = False,
    held: int = 0,
) -> TrainingMemory:
    r"""What a training takes, without computing or compiling anything.

    With $k$ seeds on a device and $b$ rows at once that is $D + k\,(7 P + 3 O) + b A$
    bytes: data $D$, parameters $P$, state of the optimizer $O$ and, per row, the $A$
    that a step keeps until its backward pass. That is what products and convolutions
    return, twice: once more for what elementwise operations make of it for the next
    product. What these make in between is computed again, as compilers do. Seeds side
    by side have $k A$ in place of $A$. Devices that are cores of one machine share its
    memory; the result is then what all of them take together, also where they divide
    the rows of a batch.

    Programs compiled for a CPU took 0.8 to 1.3 times as much in single precision;
    scratch of convolutions is left out, and bfloat16 where a machine has none. So is
    all that a function keeps that has no products, such as one that sorts, and of one
    that takes no batches of a few rows what it keeps of any row.

    Args:
        plan: What is compiled in.
        params: Parameters, or their shapes, with a leading axis of seeds.
        x: Inputs, or their shape.
        targets: Targets, or their shape.
        adversary: The attack on the inputs, or `None`.
        stream: Whether the inputs stay on the host.
        held: Bytes of other data that stay on every device.

    Returns:
        The bytes.
    """
    seeds = len(jax.tree.leaves(params)[0])
    cpu, images = jax.default_backend() == "cpu", len(x.shape) > 2
    devices = divided(seeds, images, plan)
    own = seeds // devices[SEEDS]
    together = 1 if cpu and images else own  # as the program takes images there
    shared = math.prod(devices.values()) if cpu else 1
    at_once = shared * together / devices[BATCH_AXIS]

    one = jax.tree.map(_without_seeds, params)
    state = jax.eval_shape(plan.optimizer.init, one)
    row, wanted = (_shape(a, plan, data=i == 0) for i, a in enumerate((x, targets)))
    kept = _of_row(_backward, plan, one, row, wanted)
    attack = 0
    if adversary is not None:
        attack = len(x) * _of_row(_attacked, plan, one, row, wanted)
    return TrainingMemory(
        data=shared * (_bytes(() if stream else x) + _bytes(targets) + held),
        weights=shared * own * (7 * _bytes(one) + 3 * _bytes(state)),
        row=math.ceil(at_once * kept),
        attack=math.ceil(at_once * attack),
    )


def check_training_memory(
    caller: str,
    plan: Plan,
    params: Params,
    x: Any,
    targets: Any,
    adversary: AbstractAttack | None = None,
    *,
    stream: bool = False,
    held: int = 0,
    smaller: str | None = None,
) -> None:
    """Refuse a training that does not fit into memory, before it is compiled.

    Args:
        caller: Function to name.
        plan: As of `training_memory`, like all up to `held`.
        params: Of all seeds.
        x: Inputs.
        targets: Targets.
        adversary: The attack, if there is one.
        stream: Whether the inputs are not on the device.
        held: Bytes of other data.
        smaller: What to do where no batch fits, as a sentence; advice on the arguments
            of `train` if `None`.

    Raises:
        ValueError: If it does not fit; with the bytes that it needs and those that
            there are, and the batch or `accumulate` that fits, if one does.
    """
    have = device_memory()
    if have is None:
        return
    found = training_memory(
        plan, params, x, targets, adversary, stream=stream, held=held
    )
    batch, parts = plan.batch_size, plan.accumulate
    rows = batch // parts
    if found.needed(rows) <= have:
        return
    if smaller is None:
        smaller = "Take a smaller network, fewer seeds or fewer rows of data."
        if found.weights + found.row < have and not stream and adversary is None:
            smaller += " Or keep the data on the host with `stream=True`."
    room = have - found.fixed
    if room <= 0:
        why = (
            f"data ({_text(found.data)}), parameters, gradient and optimizer "
            f"({_text(found.weights)}) alone do not fit"
        )
        cure = smaller
    elif found.attack > room:
        why = f"the attack on all {len(x)} rows takes {_text(found.attack)}"
        cure = "Take fewer rows of `x`, or a smaller network."
    elif found.row > room:
        why = (
            f"{_text(found.fixed)} are fixed, and what a single row leaves in every "
            f"layer, {_text(found.row)}, does not fit beside them"
        )
        cure = smaller
    else:
        most = room // found.row
        more = next(
            k for k in range(1, batch + 1) if batch % k == 0 and batch // k <= most
        )
        why = (
            f"{_text(found.fixed)} are fixed, and each of {rows} rows at once takes "
            f"{_text(found.row)} for what it leaves in every layer"
        )
        cure = f"Set a `batch_size` of at most {most * parts}"
        if batch // more > 1:  # networks that normalise by the batch need several rows
            cure += f", or `accumulate={more}`, of {batch // more} rows at once"
        cure += "."
    raise ValueError(
        f"`{caller}` needs about {_text(found.needed(rows))} of memory to train: {why}."
        f" Got a device with {_text(have)}. {cure}"
    )


def _of_row(
    kept: Callable[..., Any], plan: Plan, params: Params, row: Any, wanted: Any
) -> float:
    """Bytes of what a function of a batch keeps, for each of its rows."""
    # What does not change them is no part of the key that they are looked up by.
    plan = plan._replace(
        optimizer=NO_OPTIMIZER, epochs=1, batch_size=1, stops=(), patience=None
    )
    leaves, tree = jax.tree.flatten(params)
    try:
        hash(plan)
    except TypeError:
        traced = _traced.__wrapped__
    else:
        traced = _traced
    try:
        return traced(kept, plan, tuple(leaves), tree, row, wanted)
    except Exception:  # anyone's function, which may take batches of one size only
        return 0.0


@functools.lru_cache(maxsize=128)
def _traced(
    kept: Callable[..., Any],
    plan: Plan,
    leaves: tuple[jax.ShapeDtypeStruct, ...],
    tree: Any,
    row: jax.ShapeDtypeStruct,
    wanted: jax.ShapeDtypeStruct,
) -> float:
    params = jax.tree.unflatten(tree, leaves)

    def size(rows: int) -> int:
        x, targets = (
            jax.ShapeDtypeStruct((rows, *a.shape), a.dtype) for a in (row, wanted)
        )
        return _bytes(jax.eval_shape(functools.partial(kept, plan), params, x, targets))

    few, more = LOOKED_AT
    return FUSED * max(size(more) - size(few), 0) / (more - few)


def _backward(plan: Plan, params: Params, x: Any, targets: Any) -> Any:
    """What the objective keeps to be pulled back to the parameters."""
    key = jax.random.key(0)

    def value(p):
        return objective(p, x, targets, key, plan)[0]

    return jax.vjp(_results_kept(value), params)[1]


def _attacked(plan: Plan, params: Params, x: Any, targets: Any) -> Any:
    """What the losses keep to be pulled back to the inputs."""

    def values(z):
        return plan.row_loss(plan.apply(params, z), targets)

    return jax.vjp(_results_kept(values), x)[1]


def _results_kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, but that only results of products and convolutions are kept."""
    return jax.checkpoint(function, policy=jax.checkpoint_policies.dots_saveable)


def _without_seeds(a: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)


def _shape(a: Any, plan: Plan, *, data: bool) -> jax.ShapeDtypeStruct:
    """Of one row, as the network sees it."""
    scaled = data and plan.scaling is not None
    return jax.ShapeDtypeStruct(a.shape[1:], plan.dtype if scaled else a.dtype)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _text(count: int) -> str:
    """A number of bytes as people write it."""
    for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.3g} {name}"
    return f"{count:.0f} bytes"
