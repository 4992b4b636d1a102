"""The trial of the flip studies: trained to the exit, then flipped along gradients."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from widelimit.attacks import (
    FlipStatus,
    GradientStep,
    MinimalFlip,
    attack,
    minimal_flip,
)
from widelimit.bounds.wang2022 import lemma_b4, lemma_b5
from widelimit.datasets import Prepared
from widelimit.measures import possible_sign_changes, sign_changes
from widelimit.networks import wang2022_network
from widelimit.studies.wang2022_problem import (
    LazyRun,
    data_of,
    seed_groups,
    train_lazily,
)
from widelimit.training import LazyBall, lazy_radius

if TYPE_CHECKING:
    import xarray as xr

FLIP_TRIAL = "widelimit.studies.flip_trial:flips_at_the_exit"
FLIP_ROWS_TRIAL = "widelimit.studies.flip_trial:rows_at_the_exit"

_FOUND = (FlipStatus.FLIPPED, FlipStatus.ON_BOUNDARY)
_QUANTILE = 0.95
ROWS = 128  # images attacked at once


def flips_at_the_exit(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Minimal flips of the test images, for networks at the borders of lazy balls.

    Seeds train until they leave the ball of the first constant, are measured, and train
    again, with the same batches, to the border of the next. Where no seed has left the
    smaller ball, the larger one holds the same networks.

    Args:
        config: One point of a grid, with what `train_lazily` needs, `constants`,
            `search`, `reach`, `gamma`, and `depth` if it is not 1.
        report: Called with the share done.

    Returns:
        Per constant and seed, over test images: medians of the `relative` distance, the
        `distance`, the `gradient_norm` and the `step` (NaN where half are censored);
        `relative_95`, the 95 % quantile; the shares `censored` and `unresolved`;
        `one_step`, the share that a single step of `reach` $\|x\| / \sqrt d$ flips.
        Of the network: `accuracy`, the step `left_at` that left the ball (0: none), and
        the distance `moved` from the start in units of $1 / \sqrt m$. Beside the
        bounds: mean numbers of units that have changed sign (`changed`) and that can in
        the ball (`possible`), the share of images where Lemma B.4 holds of those
        (`b4_holds`), median and largest $|f(x)| / \|x\|$ (`output`, `output_max`) and
        the share where Lemma B.5 holds (`b5_holds`); per constant the bounds `b4` and
        `b5`. What is about units is NaN for several hidden layers.
    """
    import xarray as xr

    data, constants = data_of(config), list(config["constants"])
    groups = _groups(config, data)
    parts = []
    for number, group in enumerate(groups):
        run, flips, own, rows = None, [], [], []
        for place, constant in enumerate(constants):
            if run is None or bool(np.any(run.trained.left_at > 0)):
                run = None  # room for the next
                share = number + place / len(constants)
                report(share / len(groups))
                run = _trained(config, data, group, constant)
                flips = [_flip(config, data, run, i) for i in range(len(group))]
                own = [_of_flip(config, data, run, i, f) for i, f in enumerate(flips)]
            rows.append(
                [
                    own[i] | _of_bounds(config, data, run, i, flip, constant)
                    for i, flip in enumerate(flips)
                ]
            )
        parts.append(rows)
    every = [sum((rows[k] for rows in parts), []) for k in range(len(constants))]
    width, gamma = config["width"], config["gamma"]
    b4 = [_b4(config, data, c).value for c in constants]
    b5 = [lemma_b5(width=width, c_0=c, gamma=gamma).value for c in constants]
    return xr.Dataset(
        {
            name: (
                ("constant", "seed"),
                np.array([[r[name] for r in s] for s in every]),
            )
            for name in every[0][0]
        }
        | {
            "b4": ("constant", b4),
            "b5": ("constant", b5),
            "input_norm": float(np.median(np.linalg.norm(data.x_test, axis=1))),
            "test_rows": len(data.x_test),
            "steps": config["epochs"] * (len(data.x_train) // config["batch_size"]),
        },
        {"constant": constants, "seed": list(config["seeds"])},
        {"reach": config["reach"], "gamma": gamma},
    )


def rows_at_the_exit(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    """Minimal flips of every single test image, at the border of one lazy ball.

    Args:
        config: As of `flips_at_the_exit`, with one `constant`.
        report: Called with the share done.

    Returns:
        Per seed and row `relative`, `gradient_norm` and `step`, NaN of the last for
        those whose flip is not found; the shares `censored` and `unresolved`,
        `accuracy`, `left_at` and `moved`; per row its `label` in the order of the
        classes.
    """
    import xarray as xr

    data = data_of(config)
    rows, summaries = [], []
    groups = _groups(config, data)
    for number, group in enumerate(groups):
        report(number / len(groups))
        run = _trained(config, data, group, config["constant"])
        for i in range(len(group)):
            flip = _flip(config, data, run, i)
            known = np.isin(np.asarray(flip.status), _FOUND)
            rows.append(
                {
                    "relative": np.where(known, flip.relative_distance, np.nan),
                    "gradient_norm": np.asarray(flip.gradient_norm),
                    "step": np.where(known, flip.step, np.nan),
                }
            )
            summaries.append(_shares(flip) | _of_network(data, run, i, flip))
        run = None
    return xr.Dataset(
        {
            name: (("seed", "row"), np.stack([r[name] for r in rows]).astype(float))
            for name in rows[0]
        }
        | {name: ("seed", [s[name] for s in summaries]) for name in summaries[0]}
        | {"label": ("row", data.y_test), "features": data.x_test.shape[1]},
        {"seed": list(config["seeds"]), "row": np.arange(len(data.x_test))},
        {"classes": list(data.classes)},
    )


def _groups(config: Mapping[str, Any], data: Prepared) -> list[list[int]]:
    features, depth = data.x_train.shape[1], config.get("depth", 1)
    return seed_groups(config["seeds"], features, config["width"], depth)


def _trained(
    config: Mapping[str, Any], data: Prepared, group: list[int], constant: float
) -> LazyRun:
    network = wang2022_network(width=config["width"], depth=config.get("depth", 1))
    return train_lazily(config, data, group, network=network, constant=constant)


def _flip(
    config: Mapping[str, Any], data: Prepared, run: LazyRun, number: int
) -> MinimalFlip:
    far = config["search"] * float(np.linalg.norm(data.x_test, axis=1).max())
    params = run.seed(number)[1]
    return minimal_flip(run.network, params, data.x_test, max_distance=far)


def _of_flip(
    config: Mapping[str, Any],
    data: Prepared,
    run: LazyRun,
    number: int,
    flip: MinimalFlip,
) -> dict[str, float]:
    """What does not depend on the constant, but through the network."""
    initial, params = run.seed(number)
    relative = np.asarray(flip.relative_distance, float)
    upper = np.where(np.isin(np.asarray(flip.status), _FOUND), relative, np.inf)
    quantile = float(np.quantile(upper, _QUANTILE, method="higher"))
    found = {
        "relative": flip.median("relative_distance"),
        "distance": flip.median("distance"),
        "gradient_norm": float(np.median(flip.gradient_norm)),
        "step": flip.median("step"),
        "relative_95": quantile if np.isfinite(quantile) else np.nan,
        "one_step": _one_step(config["reach"], data, run, params, flip),
        "output": float(np.median(_relative_output(flip))),
        "output_max": float(np.max(_relative_output(flip))),
        "changed": np.nan,
    }
    if config.get("depth", 1) == 1:
        changed = sign_changes(params, initial, data.x_test)
        found["changed"] = float(np.mean(changed))
    return found | _shares(flip) | _of_network(data, run, number, flip)


def _of_network(
    data: Prepared, run: LazyRun, number: int, flip: MinimalFlip
) -> dict[str, float]:
    initial, params = run.seed(number)
    first = next(p["weight"] for p in initial if "weight" in p)
    moved = LazyBall(initial, 1.0).distance(params)
    return {
        "accuracy": float(np.mean(np.asarray(flip.value) * data.t_test[:, 0] > 0)),
        "left_at": int(run.trained.left_at[number]),
        "diverged_at": int(run.trained.diverged_at[number]),
        "moved": float(moved) * first.shape[1] ** 0.5,
    }


def _of_bounds(
    config: Mapping[str, Any],
    data: Prepared,
    run: LazyRun,
    number: int,
    flip: MinimalFlip,
    constant: float,
) -> dict[str, float]:
    """Counts of units in the ball, and how many images are within the bounds."""
    if config.get("depth", 1) > 1:
        return {"possible": np.nan, "b4_holds": np.nan, "b5_holds": np.nan}
    initial, _ = run.seed(number)
    radius = lazy_radius(constant, config["width"])
    possible = np.asarray(possible_sign_changes(initial, data.x_test, radius))
    b5 = lemma_b5(width=config["width"], c_0=constant, gamma=config["gamma"]).value
    return {
        "possible": float(np.mean(possible)),
        "b4_holds": float(np.mean(possible <= _b4(config, data, constant).value)),
        "b5_holds": float(np.mean(_relative_output(flip) <= b5)),
    }


def _b4(config: Mapping[str, Any], data: Prepared, constant: float) -> Any:
    return lemma_b4(
        width=config["width"],
        features=data.x_test.shape[1],
        radius=lazy_radius(constant, config["width"]),
        gamma=config["gamma"],
    )


def _relative_output(flip: MinimalFlip) -> np.ndarray:
    return np.abs(np.asarray(flip.value)) / np.asarray(flip.input_norm)


def _shares(flip: MinimalFlip) -> dict[str, float]:
    known = np.isin(np.asarray(flip.status), _FOUND)
    censored = np.asarray(flip.censored)
    return {
        "censored": float(np.mean(censored)),
        "unresolved": float(np.mean(~known & ~censored)),
    }


def _one_step(
    reach: float, data: Prepared, run: LazyRun, params: Any, flip: MinimalFlip
) -> float:
    """Share of images that one gradient step of a given size takes across."""
    x = jnp.asarray(data.x_test)
    sizes = np.linalg.norm(data.x_test, axis=1) * reach / np.sqrt(x.shape[1])
    labels = np.where(np.asarray(flip.value) < 0, -1.0, 1.0)[:, None]
    # One step for all rows, too long, which the ball of each pulls back to its size.
    step = GradientStep(step=2 * float(sizes.max()), radius=sizes, rule="normalized")
    found = attack(step, run.network, params, x, labels, loss="margin", batch_size=ROWS)
    return float(np.mean(~np.asarray(found.correct_after)))
