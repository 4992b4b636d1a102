"""Training many seeds of one network in one compiled program."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

from widelimit._checks import (
    check_at_least,
    check_count,
    check_finite,
    check_positive,
    check_rows,
)
from widelimit.attacks import AbstractAttack
from widelimit.attacks.arguments import check_attack, labels_or_numbers
from widelimit.kernels.empirical_checks import check_params
from widelimit.layers import AbstractLayer, Params
from widelimit.losses import LossName, loss_function
from widelimit.training.jacobian_penalty import JacobianPenalty, check_penalty
from widelimit.training.program import Inputs, Plan, run_seeds
from widelimit.training.progress import listening

Apply = Callable[[Params, Float[Array, "n *s"]], Float[Array, "n o"]]
Probe = Callable[[Params, Params], PyTree[Shaped[Array, "..."]]]


class Trained(eqx.Module):
    """What training returns, with one entry per seed.

    Attributes:
        params: The parameters after the last epoch, with a leading axis of seeds; of a
            seed that stopped before, the last ones that count.
        loss: Mean training loss of each epoch, before each step's update; NaN from the
            epoch of divergence on, and where a seed had stopped. With a
            `jacobian_penalty`, without it; with an `adversary`, at attacked inputs.
        penalty: Mean penalty on the Jacobian of each epoch, likewise; zero without one.
        robust_accuracy: Share of the training inputs that the network has right when
            they are attacked, before each epoch; NaN without an `adversary`.
        diverged_at: Epoch, counted from 1, in which the loss or a parameter stopped
            being finite; 0 if none did. Such a seed keeps the last parameters at which
            its loss was finite.
        left_at: Step, counted from 1, that left the lazy ball and was not taken; 0 if
            none did.
        stopped_at: Epochs after which the robust accuracy had not risen for `patience`
            epochs; 0 if it went on.
        probes: What the probe returned, with leading axes of seeds and probe epochs;
            floating values are NaN where the seed had diverged, and those of where it
            stopped after it has. `None` without a probe.
    """

    params: Params
    loss: Float[Array, "k e"]
    penalty: Float[Array, "k e"]
    robust_accuracy: Float[Array, "k e"]
    diverged_at: Int[Array, " k"]
    left_at: Int[Array, " k"]
    stopped_at: Int[Array, " k"]
    probes: PyTree[Shaped[Array, "k p ..."]] | None


def train(
    apply: Apply,
    params: Params,
    x: Float[Array, "n *s"],
    targets: Float[Array, "n o"],
    *,
    loss: LossName,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    keys: Key[Array, " k"],
    jacobian_penalty: JacobianPenalty | None = None,
    lazy_radius: float | None = None,
    adversary: AbstractAttack | None = None,
    patience: int | None = None,
    augmentation: Callable[[Array, Array], Array] | None = None,
    probe: Probe | None = None,
    probe_epochs: Sequence[int] = (),
    report: Callable[[float], None] | None = None,
) -> Trained:
    r"""Train every seed on the same data, each with its own mini-batches.

    One compiled program holds everything: a scan over steps inside a loop over epochs,
    all seeds side by side, mini-batches drawn on the device by a fresh permutation per
    seed and epoch (rows that do not fill a last batch wait for the next epoch). Calls
    with equal `apply`, `optimizer`, `probe` and shapes reuse the program: pass the
    network itself (its bound method `apply` is equal to no other), and
    `network.without_init(shape)` to share the program between initialisations. The
    seeds are divided evenly over as many of JAX's devices as their number allows. The
    same keys on the same machine and devices give the same bits.

    On a CPU, `JAX_NUM_CPU_DEVICES` set to the number of cores before JAX is imported
    makes each core a device; wide networks then train up to twice as fast. Layers that
    normalise by the batch do so on every batch of a step and keep running statistics;
    probes and attacks see the network as it evaluates, by these. A probe must
    not call LAPACK (`jnp.linalg.eigh` and the like) with several CPU devices: JAX's
    routines there can wait for each other for ever.

    Args:
        apply: Outputs for a batch of inputs: a network, or any function.
        params: Initial parameters, every array with a leading axis of seeds.
        x: Inputs, one per row.
        targets: Targets, one row per input.
        loss: Name of the loss, whose mean over the batch is minimised.
        optimizer: An Optax transformation.
        epochs: Passes through the data.
        batch_size: Rows per step.
        keys: One random key per seed.
        jacobian_penalty: Added to the loss; `apply` must treat every row by itself.
        lazy_radius: Radius $V$ of the ball $B_{2,\infty}(W_0, V)$ (`LazyBall`) in which
            training ends: a seed stops before the step that would leave it.
        adversary: Attack on every training input, made anew before each epoch with the
            network as it then is; the epoch trains on what it returns. This is
            adversarial training; with `lazy_projection` in the optimizer, Algorithm 1
            of wang2022.
        patience: Epochs without a new highest robust accuracy after which a seed stops.
        augmentation: Function of a batch and a random key that changes the inputs of
            every step, such as `CropFlip()`; it is called inside the program.
        probe: Function of one seed's parameters now and at initialisation, evaluated
            inside the program; make it an `equinox.Module` if it holds arrays.
        probe_epochs: Epochs after which to call the probe; 0 is before training.
        report: Called now and then, from another thread, with the share done.

    Returns:
        Parameters, losses, statuses and probes of all seeds.

    Raises:
        ValueError: If shapes disagree, a number is not finite or out of range, a probe
            epoch lies outside the training, or the Jacobian of a network with kinks is
            to be penalised.
    """
    caller = "train"
    _check_data(caller, x, targets, batch_size, loss)
    check_at_least(caller, "epochs", epochs, 0)
    _check_seeds(caller, apply, params, keys, x)
    stops = sorted(set(probe_epochs))
    if stops and not (0 <= stops[0] and stops[-1] <= epochs):
        raise ValueError(
            f"`train` needs `probe_epochs` from 0 to `epochs={epochs}`. Got {stops}."
        )
    if probe is not None and not stops:
        raise ValueError(
            "`train` needs `probe_epochs` when it is given a probe. Got none. Pass "
            f"`probe_epochs=(0, {epochs})` to probe before and after training."
        )
    if jacobian_penalty is not None:
        check_penalty(caller, jacobian_penalty, apply)
        if getattr(apply, "batched", False):
            raise ValueError(
                f"`{caller}` needs a network that treats every row by itself for a "
                "penalty on the Jacobian. Got one that normalises by the batch."
            )
    row_loss = loss_function(loss)
    if loss == "margin":
        raise ValueError(
            "`train` needs a loss with a lower end. Got `loss='margin'`, which falls "
            "for ever as outputs grow. Take `logistic` or `cross-entropy`."
        )
    if lazy_radius is not None:
        check_positive(caller, "lazy_radius", lazy_radius)
    _check_adversary(caller, adversary, patience, jacobian_penalty, x, targets)
    x, targets = jnp.asarray(x), jnp.asarray(targets)
    with listening(report) as listener:
        ran = run_seeds(
            params,
            keys,
            Inputs(
                x=x,
                targets=targets,
                # Arrays, as numbers would be part of the program and recompile it.
                adversary=_with_arrays(adversary, x.dtype),
                lazy_radius=_with_arrays(lazy_radius, x.dtype),
                probe=probe,
                listener=listener,
            ),
            Plan(
                apply=apply,
                row_loss=row_loss,
                penalty=jacobian_penalty,
                optimizer=optimizer,
                epochs=epochs,
                batch_size=batch_size,
                stops=tuple(stops),
                patience=patience,
                augmentation=augmentation,
            ),
        )
        jax.block_until_ready(ran)
    values, squares, robust = jnp.moveaxis(ran.history, -1, 0)
    return Trained(
        params=ran.seeds.params,
        loss=values,
        penalty=squares,
        robust_accuracy=robust,
        diverged_at=ran.seeds.diverged_at,
        left_at=ran.seeds.left_at,
        stopped_at=ran.seeds.stopped_at,
        probes=ran.probes,
    )


def _check_data(
    caller: str, x: Any, targets: Any, batch_size: int, loss: LossName
) -> None:
    for name, value in (("x", x), ("targets", targets)):
        if not hasattr(value, "ndim"):
            raise ValueError(
                f"`{caller}` needs an array as `{name}`. Got a "
                f"`{type(value).__name__}`. Convert it with `jnp.asarray`."
            )
    if getattr(x, "ndim", 0) < 3:  # images may have more axes
        check_rows(caller, "x", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"`{caller}` needs `x` in a floating-point type, in which losses are kept. "
            f"Got `x.dtype={x.dtype}`. Convert it with `x.astype(float)`."
        )
    check_at_least(caller, "batch_size", batch_size, 1)
    check_finite(caller, "x", x)
    check_finite(caller, "targets", targets)
    if len(targets) != len(x) or batch_size > len(x):
        raise ValueError(
            "`train` needs one target per row of `x` and a batch that fits. Got "
            f"`x.shape={x.shape}`, `targets.shape={targets.shape}`, "
            f"`batch_size={batch_size}`."
        )
    if loss == "logistic" and not np.isin(np.asarray(targets), (-1, 1)).all():
        raise ValueError(
            f"`{caller}` needs targets +1 and -1 for the loss `logistic`. Got others. "
            "Take `2 * labels - 1` of labels 0 and 1."
        )


def _check_seeds(caller: str, apply: Any, params: Any, keys: Any, x: Any) -> None:
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


def _check_adversary(
    caller: str, adversary: Any, patience: Any, penalty: Any, x: Any, targets: Any
) -> None:
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


def _with_arrays(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(
        lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array_like(a) else a, tree
    )
