"""The trial of `jntk-constancy`: the Jacobian NTK along robust training."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from widelimit.activations import activation_named
from widelimit.kernels import empirical_jacobian_ntk_block
from widelimit.measures import matrix_movement
from widelimit.networks import kim2023_network
from widelimit.studies.jacobian_blocks import (
    BLOCKS,
    blocks_of,
    limit_blocks,
    max_norm,
)
from widelimit.studies.kim2023_tables import drawn_rows, network_of, prepared
from widelimit.studies.memory import check_device_memory, device_memory
from widelimit.studies.robust_limit_trial import recorded_steps
from widelimit.training import JacobianPenalty, train

if TYPE_CHECKING:
    import xarray as xr

JNTK_CONSTANCY_TRIAL = "widelimit.studies.jntk_constancy_trial:follow_kernel"

NORMS = ("one", "two", "inf")


class KernelProbe(eqx.Module):
    """The Jacobian NTK of one seed's network, and its outputs.

    Attributes:
        network: The network.
        scale: What the kernel is divided by.
        x: Inputs of the kernel.
        x_train: Inputs of training.
        x_test: Others.
    """

    network: Any = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    x: Float[Array, "n d"]
    x_train: Float[Array, "m d"]
    x_test: Float[Array, "k d"]

    def __call__(self, params: Any, initial: Any) -> dict[str, Array]:
        """The four blocks, and outputs at both sets of inputs."""
        kernel = empirical_jacobian_ntk_block(self.network, params, self.x)
        return {
            "blocks": blocks_of(kernel / self.scale, self.x.shape[1]),
            "train": self.network(params, self.x_train)[:, 0],
            "test": self.network(params, self.x_test)[:, 0],
        }


def follow_kernel(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Robust training of networks of one width, with their Jacobian NTK on the way.

    Full-batch gradient descent on kim2023's Eq. (1). Seeds that do not fit into memory
    together are trained one after the other.

    Args:
        config: One point of the study's grid, with `table`, `activation`, `depth`,
            `width`, `kappa`, `regularization`, `learning_rate`, `rows`, `test_rows`,
            `kernel_rows` and `steps`.
        report: Called with the share done.

    Returns:
        Per seed, recorded step and block the largest difference over pairs of the
        kernel's inputs of $\hat\Theta_t / \kappa^2$ from the limit, `to_limit`, and
        from $\hat\Theta_0 / \kappa^2$, `to_start`; per block the limit's largest entry
        `size`; per seed and recorded step the squared `loss` and the `penalty` (not of
        the last step); per seed `train_accuracy` and, at the test rows, `accuracy` at
        the end, and `diverged_at`; per seed, layer and norm the `movement` at the end,
        $\|W(t) - W(0)\| / \sqrt m$.
    """
    import xarray as xr

    table = prepared(config["table"], config["activation"])
    n, m = config["rows"], config["test_rows"]
    order = drawn_rows(len(table.x), table.x.shape[1], None)
    fit, new = order[:n], order[n : n + m]
    chosen = fit[: config["kernel_rows"]]
    network = kim2023_network(
        depth=config["depth"],
        width=config["width"],
        activation=activation_named(config["activation"]),
        kappa=config["kappa"],
    )
    described = network_of(config["activation"], config["depth"])
    limit = limit_blocks(described, table.x[chosen], "ntk")
    x, y = (jnp.asarray(a[fit], dtype=float) for a in (table.x, table.t))
    probe = KernelProbe(
        network,
        config["kappa"] ** 2,
        jnp.asarray(table.x[chosen], dtype=float),
        x,
        jnp.asarray(table.x[new], dtype=float),
    )
    marks = recorded_steps(config["steps"])
    seeds, found = list(config["seeds"]), []
    at_once = _at_once(len(seeds), seed_bytes(config, table.x.shape[1]))
    for begin in range(0, len(seeds), at_once):
        group = jnp.asarray(seeds[begin : begin + at_once], dtype=jnp.uint32)
        share = (begin / len(seeds), at_once / len(seeds))

        def told(part: float, share: tuple[float, float] = share) -> None:
            report(share[0] + part * share[1])

        found.append(_train(network, config, x, y, probe, marks, group, told))
    u = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    blocks, labels = u["blocks"].astype(float), table.t[:, 0]
    dead = u["diverged_at"] > 0

    def accuracy(outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        right = np.mean(outputs[:, -1] * labels[rows] > 0, axis=-1)
        return np.where(dead, np.nan, right)

    return xr.Dataset(
        {
            "to_limit": (("seed", "step", "block"), max_norm(blocks - limit)),
            "to_start": (("seed", "step", "block"), max_norm(blocks - blocks[:, :1])),
            "size": ("block", max_norm(limit)),
            "loss": (
                ("seed", "step"),
                np.mean((u["train"].astype(float) - labels[fit]) ** 2, axis=-1) / 2,
            ),
            "penalty": (("seed", "step"), u["penalty"]),
            "train_accuracy": ("seed", accuracy(u["train"], fit)),
            "accuracy": ("seed", accuracy(u["test"], new)),
            "movement": (("seed", "layer", "norm"), u["movement"]),
            "diverged_at": ("seed", u["diverged_at"]),
            "rows": n,
            "kernel_rows": len(chosen),
            "features": table.x.shape[1],
        },
        coords={
            "seed": seeds,
            "step": list(marks),
            "block": list(BLOCKS),
            "layer": np.arange(1, config["depth"] + 2),
            "norm": list(NORMS),
        },
        attrs={name: config[name] for name in ("table", "activation", "depth")},
    )


def _train(network, config, x, y, probe, marks, seeds, report) -> dict[str, np.ndarray]:
    """Some seeds, side by side."""
    keys = jax.vmap(jax.random.key)(seeds)
    start = jax.vmap(lambda key: network.init(key, x.shape[1:]))(keys)
    trained = train(
        network,
        start,
        x,
        y,
        loss="squared",
        optimizer=optax.sgd(config["learning_rate"]),
        epochs=config["steps"],
        batch_size=len(x),
        keys=keys,
        jacobian_penalty=JacobianPenalty(config["regularization"]),
        probe=probe,
        probe_epochs=marks,
        report=report,
    )
    moved = []
    for seed in range(len(seeds)):
        one, first = (
            jax.tree.map(lambda leaf, seed=seed: np.asarray(leaf[seed]), tree)
            for tree in (trained.params, start)
        )
        norms = matrix_movement(one, first).values()
        every = [[getattr(norm, name) for name in NORMS] for norm in norms]
        moved.append(np.array(every) / config["width"] ** 0.5)
    assert trained.probes is not None
    diverged_at = np.asarray(trained.diverged_at)
    penalty = np.asarray(trained.penalty, float)
    before = [step for step in marks if step < config["steps"]]
    return {
        **{name: np.asarray(value) for name, value in trained.probes.items()},
        "penalty": np.pad(
            penalty[:, before],
            ((0, 0), (0, len(marks) - len(before))),
            constant_values=np.nan,
        ),
        "diverged_at": diverged_at,
        "movement": np.where((diverged_at > 0)[:, None, None], np.nan, np.stack(moved)),
    }


def seed_bytes(config: Mapping[str, Any], features: int) -> int:
    """About what training one seed takes, in single precision.

    Args:
        config: One point of the grid.
        features: Number of features.

    Returns:
        Bytes for five copies of the weights, what a step keeps of every layer, and the
        kernel's jets, cotangents and matrices.
    """
    depth, width = config["depth"], config["width"]
    weights = width * (features + 1) + (depth - 1) * width**2
    entries = config["kernel_rows"] * (features + 1)
    kept = config["rows"] * 10 + entries * 3
    return 4 * (5 * weights + kept * width * depth + 6 * entries**2)


def _at_once(seeds: int, one: int) -> int:
    """A divisor of the seeds, so that as many fit into half of the memory."""
    most = max(1, int((device_memory() or one) / (2 * one)))
    return max(j for j in range(1, min(most, seeds) + 1) if seeds % j == 0)


def check_constancy(settings: Any) -> None:
    """Raise, with the cure, unless the table has rows enough and a network fits.

    Args:
        settings: Settings of the study.

    Raises:
        FileNotFoundError: If the files of the table are not on this machine.
        ValueError: If it has fewer rows than are wanted, or the largest network does
            not fit into memory.
    """
    x = prepared(settings.table, settings.activation).x
    if settings.rows + settings.test_rows > len(x):
        raise ValueError(
            f"`jntk-constancy` needs `rows` + `test_rows` of at most {len(x)}, the "
            f"rows of '{settings.table}'. Got {settings.rows} + {settings.test_rows}. "
            "Choose fewer."
        )
    width = max(settings.widths)
    config = {**settings.model_dump(mode="json"), "width": width}
    check_device_memory(
        "jntk-constancy",
        seed_bytes(config, x.shape[1]),
        f"training one network of width {width} and depth {settings.depth}",
        "Set smaller `widths` or fewer `kernel_rows`.",
    )
