"""The trial of `attack-convergence`: flips by one step and by attacks of more steps."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.attacks import PGD, minimal_flip, smallest_radius
from widelimit.attacks.flip import AbstractFlips
from widelimit.studies.wang2022_problem import (
    accuracy_of,
    data_of,
    seed_groups,
    train_lazily,
)

if TYPE_CHECKING:
    import xarray as xr

ATTACK_CONVERGENCE_TRIAL = (
    "widelimit.studies.attack_convergence_trial:flip_with_more_steps"
)
FLIP = "flip"


def flip_with_more_steps(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Smallest perturbations that attacks of more and more steps find.

    Networks of one width, trained until they leave the lazy ball, in single precision.
    All attacks flip the network's own predictions at the same test rows.

    Args:
        config: One point of the study's grid, with `data`, `classes`, `scale`, `side`,
            `width`, `c_0`, `train_rows`, `test_rows`, `attack_rows`, `epochs`,
            `batch_size`, `learning_rate`, `attack_steps`, `restarts`, `max_distance`
            and `tolerance`.
        report: Called with the share done.

    Returns:
        Per seed and attack the `median` distance, NaN where half or more of the inputs
        do not flip, the `mean`, in which those count with `max_distance`, and their
        share `censored`; the `factor`
        by which the distance is below that of the minimal flip, a geometric mean over
        the inputs that both flip, and their share `compared`; and the share `farther`
        of inputs whose distance is above it by more than the tolerance. Per seed the
        test `accuracy`, and `left_at`, the step that left the ball (0 if none did). A
        seed that diverged has NaN everywhere.
    """
    import xarray as xr

    data = data_of(config)
    x = jnp.asarray(data.x_test[: config["attack_rows"]], jnp.float32)
    names = [FLIP, *map(str, config["attack_steps"])]
    found: dict[str, Any] = {}
    groups = seed_groups(config["seeds"], x.shape[1], config["width"])
    done, count = 0, len(config["seeds"])
    for seeds in groups:
        run = train_lazily(config, data, seeds, constant=config["c_0"])
        report((done + 0.3 * len(seeds)) / count)
        for number in range(len(seeds)):
            _, params = run.seed(number)
            distances = _distances(config, run.network, params, x)
            row = [_numbers(one, distances[0], config["tolerance"])
                   for one in distances]  # fmt: skip
            for name in row[0]:
                found.setdefault(name, []).append([one[name] for one in row])
            found.setdefault("accuracy", []).append(
                accuracy_of(run.network, params, data.x_test, data.t_test)
            )
            report((done + 0.3 * len(seeds) + 0.7 * (number + 1)) / count)
        for name in ("left_at", "diverged_at"):
            values = np.asarray(getattr(run.trained, name)).tolist()
            found.setdefault(name, []).extend(values)
        done += len(seeds)
    single = {"accuracy", "left_at", "diverged_at"}
    dead = np.array(found["diverged_at"]) > 0
    for name in found.keys() - {"left_at", "diverged_at"}:
        values = np.array(found[name], dtype=float)
        values[dead] = np.nan
        found[name] = values
    return xr.Dataset(
        {
            **{name: (("seed",) if name in single else ("seed", "attack"), values)
               for name, values in found.items()},
            "features": x.shape[1],
            "rows": len(x),
        },
        coords={"seed": list(config["seeds"]), "attack": names},
        attrs={name: config[name] for name in
               ("data", "c_0", "restarts", "max_distance", "tolerance")},
    )  # fmt: skip


def _distances(
    config: Mapping[str, Any], network: Any, params: Any, x: jax.Array
) -> list[AbstractFlips]:
    """The minimal flip, then the attacks, the least number of steps first."""
    y = jnp.where(network(params, x) >= 0, 1.0, -1.0).astype(x.dtype)
    search = functools.partial(
        smallest_radius, apply=network, params=params, x=x, targets=y,
        high=config["max_distance"], tolerance=config["tolerance"],
    )  # fmt: skip
    flip = minimal_flip(network, params, x, max_distance=config["max_distance"])
    attacks = [
        # From the input itself a single step needs no second start.
        PGD(radius=1.0, steps=steps, restarts=1 if steps == 1 else config["restarts"])
        for steps in config["attack_steps"]
    ]
    return [flip, *(search(method) for method in attacks)]


def _numbers(
    found: AbstractFlips, flip: AbstractFlips, tolerance: float
) -> dict[str, float]:
    """What is recorded of one attack on one network."""
    here, there = (np.asarray(one.distance, float) for one in (found, flip))
    both = np.asarray(found.flipped & flip.flipped)
    ratios = np.log(here[both] / there[both])
    return {
        "median": found.median(),
        "mean": found.mean_lower_bound(),
        "censored": float(np.mean(np.asarray(found.censored))),
        "factor": float(np.exp(-ratios.mean())) if both.any() else np.nan,
        "compared": float(both.mean()),
        "farther": float(np.mean(both & (here > there * (1 + tolerance)))),
    }
