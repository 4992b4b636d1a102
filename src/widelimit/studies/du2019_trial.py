"""The trial of the du2019 studies that train: gradient descent, step by step."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from widelimit.bounds.du2019 import Convergence, theorem3_1, theorem4_1, theorem5_1
from widelimit.layers import AbstractLayer
from widelimit.studies.du2019_problem import (
    Problem,
    inputs_of,
    network_of,
    problem_of,
    separation_of,
)
from widelimit.studies.du2019_settings import parse
from widelimit.studies.memory import device_memory
from widelimit.training import gradient_descent

if TYPE_CHECKING:
    import xarray as xr

TRIAL = "widelimit.studies.du2019_trial:descend_and_measure"


def descend_and_measure(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Gradient descent from several seeds, with what du2019 bounds at every step.

    The step size is `step_factor` $/ \|\Theta\|_2$, the same for all widths and seeds.
    All is computed in float64.

    Args:
        config: One point of a study's grid; `studies.du2019_settings` says what is in
            it.
        report: Called with the share done.

    Returns:
        Per seed and step: `loss`, `margin` of Condition 6.1, `smallest` and `change` of
        $G^{(H)}$, `smallest_total` of $G$, `linear_loss` of the network linearised at
        its start; per seed, step and layer `movement`; per seed `initial_error` and
        `diverged_at`; `lambda_0`, `gram_norm` of $K^{(H)}$, `separation` of the inputs
        and `branch_separation` in the network, `step_size`, `ntk_smallest` and
        `ntk_largest` of $\Theta$; and the `required_width` and `required_step` of the
        theorem, with its constants set to 1.
    """
    import xarray as xr

    with jax.enable_x64(True):
        problem = problem_of(config)
        population = problem.population
        values = np.linalg.eigvalsh(problem.ntk)
        step_size = config["step_factor"] / values[-1]
        network = network_of(
            config, width=config["width"], separation=problem.separation
        )
        keys = jax.vmap(jax.random.key)(jnp.asarray(config["seeds"], dtype=jnp.uint32))
        shape = problem.x.shape[1:]
        found = gradient_descent(
            network,
            jax.vmap(lambda key: network.init(key, shape))(keys),
            problem.x,
            problem.y,
            step_size=float(step_size),
            steps=config["steps"],
            lambda_0=max(population.lambda_0, 0.0),
            population=population.gram,
            report=report,
        )
    theorem = requirement(config, problem)
    per_step = ("seed", "step")
    linear = linear_losses(
        found.outputs[:, 0] - problem.y, found.initial_total, step_size, config["steps"]
    )
    return xr.Dataset(
        {
            "loss": (per_step, found.loss),
            "margin": (per_step, found.margin),
            "smallest": (per_step, found.smallest),
            "change": (per_step, found.change),
            "smallest_total": (per_step, found.smallest_total),
            "linear_loss": (per_step, linear),
            "movement": ((*per_step, "layer"), found.movement),
            "initial_error": ("seed", found.initial_error),
            "diverged_at": ("seed", found.diverged_at),
            "lambda_0": population.lambda_0,
            "gram_norm": float(np.linalg.norm(population.gram, 2)),
            "separation": population.separation,
            "branch_separation": problem.separation,
            "step_size": float(step_size),
            "ntk_smallest": float(values[0]),
            "ntk_largest": float(values[-1]),
            "required_width": theorem.required_width,
            "required_step": theorem.required_step,
        },
        coords={
            "seed": list(config["seeds"]),
            "step": np.arange(config["steps"] + 1),
            "layer": np.arange(1, config["depth"] + 1),
        },
    )


def requirement(config: Mapping[str, Any], problem: Problem) -> Convergence:
    """What the architecture's theorem asks for, with its constants set to 1.

    Args:
        config: One point of a study's grid.
        problem: Its problem.

    Returns:
        Theorem 3.1, 4.1 or 5.1.
    """
    found = problem.population
    name = parse(config["architecture"])[0]
    known = {
        "samples": len(problem.x),
        "depth": config["depth"],
        "lambda_0": found.lambda_0,
        "delta": config["delta"],
        "inputs": problem.x,
        "labels": problem.y,
    }
    if name == "fully-connected":
        return theorem3_1(**known, separation=found.layer_separation)
    if name == "resnet":
        return theorem4_1(**known, separation=found.separation)
    return theorem5_1(**known, separation=found.separation, pixels=problem.pixels)


def linear_losses(
    residual: Float[np.ndarray, "k n"],
    gram: Float[np.ndarray, "k n n"],
    step_size: float,
    steps: int,
) -> Float[np.ndarray, "k t"]:
    r"""Losses $\tfrac12 \|(I - \eta G(0))^k r(0)\|^2$ of the linearised networks.

    Args:
        residual: $r(0) = u(0) - y$.
        gram: $G(0)$.
        step_size: $\eta$.
        steps: The largest $k$.

    Returns:
        The loss at every step from 0 on.
    """
    values, vectors = np.linalg.eigh(gram)
    parts = np.einsum("knj,kn->kj", vectors, residual)
    factors = (1 - step_size * values)[:, None, :] ** (
        2 * np.arange(steps + 1)[None, :, None]
    )
    return 0.5 * np.sum(factors * np.square(parts)[:, None, :], axis=-1)


def check(settings: Any) -> None:
    """Raise, with the cure, unless the data of a study's trials are here and suffice.

    Args:
        settings: The settings; `studies.du2019_settings` says what is in them.

    Raises:
        ValueError: If the name is unknown, the data have too few rows, a ResNet is to
            have the separation of inputs that have none, or the largest network does
            not fit into memory.
    """
    width, depth = max(settings.widths), max(settings.depths)
    for label in settings.architectures:
        config = settings.model_dump(mode="json") | {"architecture": label}
        x, _ = inputs_of(config, parse(label)[0], settings.rows)
        separation_of(label, x, settings.window)
        network = network_of({**config, "depth": depth}, width=width, separation=1.0)
        numbers = _numbers(network, x.shape[1:])
        # Seeds at initialisation and now, their gradient; of one seed some more.
        needed = 8 * numbers * (3 * settings.seeds + 4)
        have = device_memory()
        if have is not None and needed > have:
            raise ValueError(
                f"A study needs memory for {settings.seeds} seeds of its largest "
                f"{label} (width {width}, {depth} hidden layers), about "
                f"{needed / 2**30:.0f} GiB. Got {have / 2**30:.0f} GiB. Set fewer "
                "`seeds` or smaller `widths`."
            )


def _numbers(network: AbstractLayer, shape: tuple[int, ...]) -> int:
    shapes = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))
