"""The trial of the robust studies of wang2022: adversarial training, then PGD."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import cdist

from widelimit.attacks import PGD, attack
from widelimit.datasets import Prepared
from widelimit.studies.wang2022_problem import (
    LazyRun,
    data_of,
    seed_groups,
    train_lazily,
)
from widelimit.training import LazyBall, lazy_radius

if TYPE_CHECKING:
    import xarray as xr


def train_robustly(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Projected adversarial training of some seeds, and PGD on the test rows.

    Algorithm 1 sums the loss over a batch, where `train` takes the mean; the rate is
    therefore $\beta$ times the batch size, which is the same step.

    Args:
        config: One point of a study's grid, with `radius`, and the radius of the ball
            as `deviation` $V$ or `constant` $C_0 = V \sqrt m$, where 0 stands for
            adversarial training without projection.
        report: Called with the share done.

    Returns:
        Per seed `accuracy`, `robust_accuracy`, `rising` (share of the test rows that
        stand and whose loss was still rising), `train_robust` before the last epoch,
        `epochs`, `stopped` (whether it ended before the last epoch), `diverged_at`, and
        `moved`, which is $\|W - W_0\|_{2,\infty} \sqrt m$; of the data `separation`,
        half the median distance of test rows from the nearest of the other class.
    """
    import xarray as xr

    width, radius = config["width"], config["radius"]
    data = data_of({**config, "scale": "unit"})
    rate = config["beta"] * config["batch_size"]
    rows, features = data.x_train.shape
    groups = seed_groups(config["seeds"], features, width, rows=rows)
    parts = []
    for number, seeds in enumerate(groups):
        run = train_lazily(
            {**config, "learning_rate": rate},
            data,
            seeds,
            adversary=PGD(
                radius=radius, steps=config["attack_steps"], rule=config["rule"]
            ),
            project=ball_radius(config),
            patience=config["patience"],
            report=lambda s, done=number: report((done + 0.9 * s) / len(groups)),
        )
        method = PGD(radius=radius, steps=config["attack_steps"])
        parts += [_measured(run, k, data, method, width) for k in range(len(seeds))]
    found = {name: [part[name] for part in parts] for name in parts[0]}
    return xr.Dataset(
        {
            **{name: ("seed", np.array(values)) for name, values in found.items()},
            "separation": separation(data),
            "learning_rate": rate,
            "features": features,
            "train_rows": rows,
            "test_rows": len(data.x_test),
        },
        coords={"seed": list(config["seeds"])},
        attrs={"data": config["data"]},
    )


def ball_radius(config: Mapping[str, Any]) -> float | None:
    """V of a point of the grid; `None` for no projection."""
    if "deviation" in config:
        return config["deviation"]
    constant = config["constant"]
    return lazy_radius(constant, config["width"]) if constant else None


def separation(data: Prepared) -> float:
    """Half the median distance of test rows from the nearest of the other class.

    Args:
        data: Two classes.

    Returns:
        It. Of two rows of different classes no classifier has both right under
        perturbations of more than half their distance.
    """
    one, other = (data.x_test[data.y_test == label] for label in (0, 1))
    apart = cdist(one, other)
    nearest = np.concatenate([apart.min(axis=0), apart.min(axis=1)])
    return float(np.median(nearest) / 2)


def _measured(
    run: LazyRun, k: int, data: Prepared, method: PGD, width: int
) -> dict[str, float]:
    """The numbers of one seed; NaN if it diverged."""
    trained = run.trained
    initial, params = run.seed(k)
    history = np.asarray(trained.robust_accuracy[k])
    stopped, diverged = int(trained.stopped_at[k]), int(trained.diverged_at[k])
    found = attack(method, run.network, params, data.x_test, data.t_test)
    stand = found.correct_before & found.correct_after
    seen = history[np.isfinite(history)]
    numbers = {
        "accuracy": found.accuracy.value,
        "robust_accuracy": found.robust_accuracy.value,
        "rising": np.sum(stand & found.rising) / max(stand.sum(), 1),
        "train_robust": seen[-1] if len(seen) else np.nan,
        "epochs": stopped or len(history),
        "stopped": float(stopped > 0),
        "moved": float(LazyBall(initial, 1.0).distance(params)) * width**0.5,
    }
    numbers = {
        name: float(v) if not diverged else np.nan for name, v in numbers.items()
    }
    return numbers | {"diverged_at": diverged}
