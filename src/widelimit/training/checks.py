"""What `train` refuses before it compiles anything."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._checks import (
    check_callable,
    check_count,
    check_finite,
    check_flag,
    check_kind,
    check_one_of,
    check_rows,
    plainly_bytes,
    row_blocks,
)
from widelimit.attacks.arguments import check_attack, labels_or_numbers
from widelimit.kernels.empirical_checks import check_params
from widelimit.layers import AbstractLayer
from widelimit.losses import LossName
from widelimit.training.host_rows import jax_dtype
from widelimit.training.jacobian_penalty import check_penalty
from widelimit.training.pixel_scaling import PixelScaling

ROUNDED = 1e-2  # by how much sums of probabilities may be off 1, as in bfloat16


def check_kinds(
    caller: str,
    apply: Any,
    optimizer: Any,
    *,
    scaling: Any,
    augmentation: Any,
    probe: Any,
    report: Any,
) -> None:
    """Refuse what is of another kind than the argument that it is given as."""
    check_callable(caller, "apply", apply, "train(network, params, ...)")
    if getattr(apply, "__name__", "") == "apply_training":
        raise ValueError(
            f"`{caller}` needs the network itself, of which it takes `apply_training` "
            "where that differs. Got `network.apply_training`. Pass `network`."
        )
    if getattr(getattr(apply, "__self__", None), "batched", False):
        raise ValueError(
            f"`{caller}` needs the network itself where it normalises by the batch "
            f"while it trains. Got its method `{apply.__name__}`, which normalises by "
            "the running statistics and would leave them as they are. Pass `network`."
        )
    for name in ("init", "update"):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, name, None)):
            raise ValueError(
                f"`{caller}` needs an Optax transformation as `optimizer`. Got "
                f"`optimizer={optimizer!r}`. Write `optax.sgd(0.1)`."
            )
    if scaling is not None:
        example = "PixelScaling(mean=(0.5,), std=(0.25,))"
        check_kind(caller, "scaling", scaling, PixelScaling, example)
    functions = {
        "augmentation": (augmentation, "CropFlip()"),
        "probe": (probe, "lambda params, initial: params"),
        "report": (report, "report=print"),
    }
    for name, (value, example) in functions.items():
        if value is not None:
            check_callable(caller, name, value, example)


def check_data(
    caller: str,
    x: Any,
    targets: Any,
    batch_size: int,
    loss: LossName,
    scaling: PixelScaling | None,
) -> None:
    """Refuse inputs and targets that do not fit together, or not the loss."""
    for name, value in (("x", x), ("targets", targets)):
        if not hasattr(value, "ndim"):
            raise ValueError(
                f"`{caller}` needs an array as `{name}`. Got a "
                f"`{type(value).__name__}`. Convert it with `jnp.asarray`."
            )
    if targets.ndim != 2:
        raise ValueError(
            f"`{caller}` needs `targets` as a matrix with one row per input. Got "
            f"`targets.shape={targets.shape}`. Take `targets[:, None]` for one output."
        )
    if getattr(x, "ndim", 0) < 3:  # images may have more axes
        check_rows(caller, "x", x)
    if scaling is not None:
        scaling.check(caller, x)
    elif not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.itemsize > 8:
        raise ValueError(
            f"`{caller}` needs `x` in a floating-point type of 64 bits at most. "
            f"Got `x.dtype={x.dtype}`. Convert it with `x.astype(float)`, or give the "
            "`scaling` of images that are kept as bytes."
        )
    check_count(caller, "batch_size", batch_size, 1)
    if scaling is None:
        check_finite(caller, "x", x, jax_dtype(x))
        if x.ndim == 4:
            _refuse_bytes(caller, x)
    check_finite(caller, "targets", targets)
    if len(targets) != len(x) or batch_size > len(x):
        raise ValueError(
            "`train` needs one target per row of `x` and a batch that fits. Got "
            f"`x.shape={x.shape}`, `targets.shape={targets.shape}`, "
            f"`batch_size={batch_size}`."
        )
    if loss == "margin":
        raise ValueError(
            f"`{caller}` needs a loss with a lower end. Got `loss='margin'`, which "
            "falls for ever as outputs grow. Take `logistic` or `cross-entropy`."
        )
    if loss == "logistic":
        _check_signs(caller, np.asarray(targets))
    if loss == "cross-entropy":
        _check_distributions(caller, np.asarray(targets))


def _check_distributions(caller: str, targets: np.ndarray) -> None:
    sums = targets.sum(axis=1)
    bad = (targets < 0).any(axis=1) | (np.abs(sums - 1) > ROUNDED)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"`{caller}` needs targets that are probabilities of classes, such as "
            "one-hot rows, for the loss `cross-entropy`. Got a row that is none, "
            f"{row}, with sum {sums[row]:g} and least {targets[row].min():g}. Take "
            "`np.eye(classes)[labels]`, or another loss."
        )


def _check_signs(caller: str, targets: np.ndarray) -> None:
    if not np.isin(targets, (-1, 1)).all():
        raise ValueError(
            f"`{caller}` needs targets +1 and -1 for the loss `logistic`. Got others. "
            "Take `2 * labels - 1` of labels 0 and 1."
        )
    # A row alone is of one class, and so may be a column among others.
    if len(targets) > 1 and targets.size and (targets == targets.flat[0]).all():
        raise ValueError(
            f"`{caller}` needs targets of two classes, +1 and -1, for the loss "
            f"`logistic`. Got {len(targets)} rows that are all {targets.flat[0]:+g}, "
            "which it fits by outputs that grow for ever. See how they were made."
        )


def _refuse_bytes(caller: str, x: Any) -> None:
    found = plainly_bytes(block for _, block in row_blocks(np.asarray(x)) if block.size)
    if found:
        least, most = found
        raise ValueError(
            f"`{caller}` needs images that have been scaled, such as to mean 0 and "
            f"variance 1. Got pixels from {least:g} to {most:g}, as files have them. "
            "Divide them by white (255 for bytes), take `prepare_images`, or give "
            "bytes and a `scaling`."
        )


def check_stream(caller: str, stream: bool, x: Any, adversary: Any) -> None:
    """Refuse to stream what is not on the host, or to an attack on all rows."""
    check_flag(caller, "stream", stream)
    if not stream:
        return
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise ValueError(
            f"`{caller}` needs `x` as a NumPy array or `np.memmap` with `stream=True`, "
            f"which keeps it off the device. Got a `{type(x).__name__}`. Pass what it "
            "was made of, or leave `stream` out."
        )
    if adversary is not None:
        raise ValueError(
            f"`{caller}` needs all rows on the device with an `adversary`, which moves "
            "them before each epoch. Got `stream=True`. Leave it out."
        )


def check_seeds(caller: str, apply: Any, params: Any, keys: Any, x: Any) -> None:
    """Refuse parameters without an axis of seeds, or not those of the network."""
    if not getattr(keys, "ndim", 0):
        raise ValueError(
            f"`{caller}` needs an array of random keys, one per seed. Got "
            f"`keys={keys!r}`. Make it with `jax.random.split(jax.random.key(0), 3)`."
        )
    seeds = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
    if seeds != {(len(keys),)}:
        lengths = sorted(length for (length,) in seeds - {()})
        raise ValueError(
            f"`{caller}` needs a leading axis of seeds on every parameter, as long as "
            f"`keys`. Got lengths {lengths} and {len(keys)} keys. Initialise "
            "with `jax.vmap(lambda k: network.init(k, shape))(keys)`."
        )
    if isinstance(apply, AbstractLayer):
        check_params(caller, apply, params, x.shape[1:], (len(keys),))


def check_adversary(
    caller: str, adversary: Any, patience: Any, penalty: Any, x: Any, targets: Any
) -> None:
    """Refuse an attack that does not fit the data, or patience without one."""
    if adversary is None:
        if patience is not None:
            raise ValueError(
                f"`{caller}` needs an `adversary` when it is given `patience`, which "
                "waits for the robust accuracy to rise. Got none."
            )
        return
    check_attack(caller, adversary, np.asarray(x))
    labels_or_numbers(caller, targets, len(x), None)
    if penalty is not None:
        raise ValueError(
            f"`{caller}` needs either an `adversary` or a `jacobian_penalty`. Got both."
        )
    if patience is not None:
        check_count(caller, "patience", patience, 1)


def check_probe(caller: str, probe: Any, stops: list[int], epochs: int) -> None:
    """Refuse epochs of a probe outside the training, and a probe without any."""
    if stops and not (0 <= stops[0] and stops[-1] <= epochs):
        raise ValueError(
            f"`{caller}` needs `probe_epochs` from 0 to `epochs={epochs}`. Got {stops}."
        )
    if probe is not None and not stops:
        raise ValueError(
            f"`{caller}` needs `probe_epochs` when it is given a probe. Got none. Pass "
            f"`probe_epochs=(0, {epochs})` to probe before and after training."
        )


def check_row_by_row(caller: str, penalty: Any, apply: Any) -> None:
    """Refuse a penalty on the Jacobian of a network that is not smooth, or batched."""
    if penalty is None:
        return
    check_penalty(caller, penalty, apply)
    if getattr(apply, "batched", False):
        raise ValueError(
            f"`{caller}` needs a network that treats every row by itself for a "
            "penalty on the Jacobian. Got one that normalises by the batch."
        )


def check_accumulate(caller: str, accumulate: Any, batch_size: int) -> None:
    """Refuse parts that do not divide the batch."""
    check_count(caller, "accumulate", accumulate, 1)
    if batch_size % accumulate:
        raise ValueError(
            f"`{caller}` needs `accumulate` to divide the batch. Got "
            f"`accumulate={accumulate}` and `batch_size={batch_size}`. Take parts of "
            f"one size, such as `batch_size={max(1, batch_size // accumulate)} * "
            f"{accumulate}`."
        )


def check_precision(
    caller: str, precision: Any, params: Any, x: Any, penalty: Any, adversary: Any
) -> None:
    """Refuse mixed precision of what is not in float32, or is finer than bfloat16."""
    check_one_of(caller, "precision", precision, ("full", "mixed"))
    if precision == "full":
        return
    if penalty is not None or adversary is not None:
        name = "jacobian_penalty" if penalty is not None else "adversary"
        raise ValueError(
            f"`{caller}` needs full precision with a `{name}`, which differentiates by "
            "the inputs. Got `precision='mixed'`. Take `precision='full'`."
        )
    types = {leaf.dtype.name for leaf in jax.tree.leaves(params)}
    if x.dtype.itemsize > 2:  # bytes and 16 bits become what the parameters are
        types.add(x.dtype.name)
    if types != {"float32"}:
        raise ValueError(
            f"`{caller}` needs float32 with `precision='mixed'`, which keeps parameters"
            f" and losses so. Got {', '.join(sorted(types))}. Convert parameters, `x` "
            "and `targets` with `.astype('float32')`, or take `precision='full'`."
        )


def check_scaling(caller: str, scaling: Any, adversary: Any) -> None:
    """Refuse to attack bytes."""
    if scaling is not None and adversary is not None:
        raise ValueError(
            f"`{caller}` needs floating inputs with an `adversary`, which moves them. "
            "Got a `scaling`. Scale the images first: `x = scaling(x)`."
        )
