"""The trial of `robust-limit`: one run, finite, linearised and infinitely wide."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from widelimit.activations import activation_named
from widelimit.kernels import network_spectrum
from widelimit.networks import kim2023_network
from widelimit.prediction import Prediction, robust_flow
from widelimit.studies.kim2023_tables import drawn_rows, network_of, prepared
from widelimit.studies.memory import check_device_memory
from widelimit.training import JacobianPenalty, Linearised, train

if TYPE_CHECKING:
    import xarray as xr

ROBUST_LIMIT_TRIAL = "widelimit.studies.robust_limit_trial:train_beside_the_limit"
GRAM_COPIES = 5  # of a Gram matrix that are alive while it is decomposed


def train_beside_the_limit(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Robust training of one width and $\kappa$, beside what it tends to.

    Full-batch gradient descent on kim2023's Eq. (1), in double precision, of the
    network, of the network linearised at its start, and of the infinitely wide one,
    which starts from the same functions. The kernel is $\kappa^2 \Theta$; the step is a
    share of the largest stable one, so that the limit runs alike for every $\kappa$.

    Args:
        config: One point of the study's grid, with `table`, `activation`, `depth`,
            `rows`, `test_rows`, `regularization`, `step_share` and `steps`.
        report: Called with the share done.

    Returns:
        Per recorded step and seed the training `loss` and its `penalty`, of the
        infinite network `limit_loss`; root mean squares over the test rows of the
        distances of the finite network from the infinite one (`to_limit`), from the
        linearised one (`to_linear`), from the infinite one that started at zero
        (`to_zero`) and from what that becomes in infinite time, $f_{ntk}$ (`to_ntk`);
        and between the linearised and the infinite one (`linear_to_limit`). Per step
        the infinite network's own distance from $f_{ntk}$ (`limit_to_ntk`); per seed
        `accuracy`; the smallest eigenvalue `min` of $\Theta_\lambda$ with its
        `min_error`, the `step_size`, and the `rate` that Theorem 11 takes from them.
    """
    import xarray as xr

    table = prepared(config["table"], config["activation"])
    n, m = config["rows"], config["test_rows"]
    order = drawn_rows(len(table.x), table.x.shape[1], None)
    fit, new = order[:n], order[n : n + m]
    x, y = table.x[fit], table.t[fit, 0]
    x_new, y_new = table.x[new], table.t[new, 0]
    weight, kappa, steps = config["regularization"], config["kappa"], config["steps"]
    limit = network_of(config["activation"], config["depth"])
    from_zero = robust_flow(limit, x, y, regularization=weight)
    # Of the kernel without kappa; the step of the network is larger by 1 / kappa^2.
    rate = config["step_share"] * from_zero.largest_learning_rate
    marks = recorded_steps(steps)
    times = np.array(marks)
    report(0.05)

    seeds = list(config["seeds"])
    with jax.enable_x64(True):
        network = kim2023_network(
            depth=config["depth"],
            width=config["width"],
            activation=activation_named(config["activation"]),
            kappa=kappa,
        )
        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        start = jax.vmap(lambda k: network.init(k, x.shape[1:]))(keys)
        run = functools.partial(
            train,
            x=jnp.asarray(x),
            targets=jnp.asarray(y[:, None]),
            loss="squared",
            optimizer=optax.sgd(rate / kappa**2),
            epochs=steps,
            batch_size=n,
            keys=keys,
            jacobian_penalty=JacobianPenalty(weight),
            probe_epochs=marks,
        )
        tangent = Linearised(network)
        fine = [jnp.asarray(x), jnp.asarray(x_new)]
        finite = run(
            network, start, probe=Outputs(network, *fine),
            report=lambda share: report(0.05 + 0.5 * share),
        ).probes  # fmt: skip
        linear = run(
            tangent, tangent.start(start), probe=Outputs(tangent, *fine),
            report=lambda share: report(0.55 + 0.4 * share),
        ).probes  # fmt: skip
    assert finite is not None and linear is not None
    # Seeds are columns of targets: in the limit they train without seeing each other.
    u = jax.tree.map(np.asarray, finite)
    columns = np.repeat(y[:, None], len(seeds), axis=1)
    flow = robust_flow(
        limit, x, columns, regularization=weight,
        initial=Prediction(u["values"][:, 0].T, np.swapaxes(u["slopes"][:, 0], 0, 1)),
    ).descent(rate)  # fmt: skip
    there = Prediction(u["new"][:, 0].T, np.swapaxes(u["new_slopes"][:, 0], 0, 1))
    infinite = np.moveaxis(flow.at(x_new, times, initial=there).values, -1, 0)
    ntk = from_zero.at(x_new).values if from_zero.resolved else np.full(m, np.nan)
    until = from_zero.descent(rate).at(x_new, times).values
    spectrum = network_spectrum(
        limit, x, kernel="jacobian-ntk", regularization=weight
    )  # fmt: skip
    lowest = max(spectrum.min - spectrum.min_error, 0.0)
    residual = flow.residuals(times)
    squares = np.sum(residual.values**2, axis=1) + np.sum(
        residual.gradients**2, axis=(1, 3)
    )
    linear_new = np.asarray(linear["new"])
    per = ("seed", "step")
    return xr.Dataset(
        {
            "loss": (per, np.mean((u["values"] - y) ** 2, axis=-1) / 2),
            "penalty": (per, weight * np.sum(u["slopes"] ** 2, (2, 3)) / (2 * n)),
            "limit_loss": (per, squares.T / (2 * n)),
            "to_limit": (per, _rms(u["new"] - infinite)),
            "to_linear": (per, _rms(u["new"] - linear_new)),
            "linear_to_limit": (per, _rms(linear_new - infinite)),
            "to_zero": (per, _rms(u["new"] - until)),
            "to_ntk": (per, _rms(u["new"] - ntk)),
            "limit_to_ntk": ("step", _rms(until - ntk)),
            "accuracy": ("seed", np.mean(u["new"][:, -1] * y_new > 0, axis=-1)),
            "min": spectrum.min,
            "min_error": spectrum.min_error,
            "step_size": rate / kappa**2,
            "rate": -2 * np.log1p(-rate * lowest / n),
            "rows": n,
            "features": x.shape[1],
        },
        coords={"seed": seeds, "step": list(marks)},
        attrs={name: config[name] for name in ("table", "activation")},
    )


def recorded_steps(steps: int) -> tuple[int, ...]:
    """Steps 0, powers of two, and the last.

    Args:
        steps: The last.

    Returns:
        The steps, rising.
    """
    powers = (2**k for k in range(steps.bit_length()))
    return tuple(sorted({0, steps, *(p for p in powers if p < steps)}))


class Outputs(eqx.Module):
    """What a network and its input gradient say at training and new inputs.

    Attributes:
        network: The network.
        x: Training inputs.
        x_new: New inputs.
    """

    network: Any = eqx.field(static=True)
    x: Float[Array, "n d"]
    x_new: Float[Array, "m d"]

    def __call__(self, params: Any, initial: Any) -> dict[str, Array]:
        """Values and gradients of one seed's network."""

        def both(x: Array) -> tuple[Array, Array]:
            values, pull = jax.vjp(lambda z: self.network(params, z)[:, 0], x)
            return values, pull(jnp.ones_like(values))[0]

        values, slopes = both(self.x)
        new, new_slopes = both(self.x_new)
        return {
            "values": values, "slopes": slopes, "new": new, "new_slopes": new_slopes,
        }  # fmt: skip


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(values), axis=-1))


def check_robust_limit(settings: Any) -> None:
    """Raise, with the cure, unless the table is here and has rows enough.

    Args:
        settings: Settings of the study.

    Raises:
        FileNotFoundError: If the files of the table are not on this machine.
        ValueError: If it has fewer rows than are wanted for training and test, or the
            Gram matrix or the largest network's seeds do not fit into memory.
    """
    x = prepared(settings.table, settings.activation).x
    rows = len(x)
    if settings.rows + settings.test_rows > rows:
        raise ValueError(
            f"`robust-limit` needs `rows` + `test_rows` of at most {rows}, the "
            f"rows of '{settings.table}'. Got {settings.rows} + {settings.test_rows}. "
            "Choose fewer."
        )
    size = settings.rows * (x.shape[1] + 1)
    check_device_memory(
        "robust-limit",
        8.0 * GRAM_COPIES * size**2,
        f"the Gram matrix of {size} rows, of values and gradients",
        "Choose fewer `rows`.",
    )
    width, seeds = max(settings.widths), settings.seeds
    config = {**settings.model_dump(mode="json"), "width": width}
    check_device_memory(
        "robust-limit",
        seeds * seed_bytes(config, x.shape[1]),
        f"training {seeds} networks of width {width} and depth {settings.depth}",
        "Choose smaller `widths`, fewer `rows` or fewer `seeds`.",
    )


def seed_bytes(config: Mapping[str, Any], features: int) -> int:
    """About what training one seed takes, in double precision.

    Args:
        config: Settings of the study, with one `width`.
        features: Number of features.

    Returns:
        Bytes for six copies of the weights (the tangent's parameters are two of them),
        and what a step keeps of every layer for values and gradients.
    """
    depth, width = config["depth"], config["width"]
    weights = width * (features + 1) + (depth - 1) * width**2
    rows = max(config["rows"], config["test_rows"])
    return 8 * (6 * weights + 12 * rows * width * depth)
