"""The trial of `eigenfeatures`: usefulness and robustness of every eigenfeature."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from widelimit.kernels import Verdict, network_spectrum
from widelimit.prediction import RobustFlow, eigenfeatures, robust_flow
from widelimit.prediction.decomposition import rounding
from widelimit.studies.kim2023_tables import drawn_rows, network_of, prepared

if TYPE_CHECKING:
    import xarray as xr

EIGENFEATURES_TRIAL = "widelimit.studies.eigenfeatures_trial:usefulness"

DRAWN = 64
"""Eigenfeatures, of the largest eigenvalues, whose accuracies are stored."""

HIGH = 0.8
"""Accuracy that counts as high."""


def usefulness(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Accuracy of the eigenfeatures of one training, without and with perturbation.

    Usefulness of an eigenfeature is the share of test inputs at which it has the sign
    of the target. Only features of eigenvalues that rounding does not hide are counted.

    Args:
        config: One point of the study's grid; `studies.eigenfeatures_settings` says
            what is in it.
        report: Called with the share done.

    Returns:
        Per seed and strength of the perturbation (0 for none): `predictor`, the
        accuracy of the sum of the features; `correlation` of their usefulness without
        and with the perturbation; `high`, the number of features of accuracy 0.8 or
        more; `lost`, the most accuracy that a feature with 0.8 or more without the
        perturbation loses by it; `gained`, the most that one with 0.8 or more under the
        perturbation gains by it; `moved`, the mean length of the perturbation. Per seed
        the number of `features`, and whether all eigenvalues are `resolved`. Per seed,
        strength and feature, for the first 64, `feature_accuracy`; per seed and
        feature `eigenvalue`. And the `depth`, `train_rows`, `test_rows` and
        `table_rows`.
    """
    import xarray as xr

    depth = depth_of(config)
    table = prepared(config["table"], config["activation"])
    strengths = [0.0, *config["strengths"]]
    seeds, found = list(config["seeds"]), []
    for seed in seeds:
        found.append(_one_split(config, seed, depth))
        report(len(found) / len(seeds))
    n, d = table.x.shape
    train, test = _split(n, d, config, 0)

    def of(name: str) -> np.ndarray:
        return np.stack([one[name] for one in found])

    over = ("seed", "strength")
    return xr.Dataset(
        {
            **{name: (over, of(name)) for name in _PER_STRENGTH},
            **{name: ("seed", of(name)) for name in _PER_SEED},
            "feature_accuracy": ((*over, "feature"), of("feature_accuracy")),
            "eigenvalue": (("seed", "feature"), of("eigenvalue")),
            "depth": depth,
            "train_rows": len(train),
            "test_rows": len(test),
            "table_rows": n,
        },
        coords={"seed": seeds, "strength": strengths, "feature": range(DRAWN)},
    )


_PER_STRENGTH = ("predictor", "correlation", "high", "lost", "gained", "moved")
_PER_SEED = ("features", "resolved")


def depth_of(config: Mapping[str, Any]) -> int:
    """The depth that is asked for, or the smallest at which Assumption 8 holds.

    Args:
        config: One point of the study's grid.

    Returns:
        The number of hidden layers.

    Raises:
        ValueError: If the search ends without one.
    """
    if config["depth"] is not None:
        return int(config["depth"])
    names = ("table", "activation", "size", "criterion", "threshold", "max_depth")
    return _found_depth(**{name: config[name] for name in names})


@functools.lru_cache(maxsize=32)
def _found_depth(
    *,
    table: str,
    activation: str,
    size: int | None,
    criterion: str,
    threshold: float,
    max_depth: int,
) -> int:
    x = prepared(table, activation).x
    n, d = x.shape
    x = x[drawn_rows(n, d, size)]
    for depth in range(1, max_depth + 1):
        found = network_spectrum(network_of(activation, depth), x, method="dense")
        passes = found.min > threshold
        if passes if criterion == "threshold" else found.verdict is Verdict.HOLDS:
            return depth
    raise ValueError(
        f"`eigenfeatures` needs a depth at which Assumption 8 holds, by `criterion="
        f"{criterion!r}`. Got none up to `max_depth={max_depth}` on '{table}' with "
        f"{activation}. Raise `max_depth`, lower `threshold`, or choose `depth`."
    )


def _split(
    n: int, d: int, config: Mapping[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and of test rows."""
    order = np.random.default_rng((1, seed)).permutation(n)
    test = max(2, round(config["test_share"] * n))
    most = n if config["size"] is None else config["size"] // (d + 1)
    return order[test:][:most], order[:test]


def _one_split(
    config: Mapping[str, Any], seed: int, depth: int
) -> dict[str, np.ndarray | float | int | bool]:
    """What one division into training and test rows gives."""
    table = prepared(config["table"], config["activation"])
    x, y = table.x, table.t[:, 0]
    n, d = x.shape
    train, test = _split(n, d, config, seed)
    network = network_of(config["activation"], depth)
    standard = robust_flow(network, x[train], y[train], regularization=0.0)
    lam = config["regularization"]
    flow = robust_flow(network, x[train], y[train], regularization=lam)
    inputs = [
        perturbed(standard, x[test], y[test], strength, config["attack"])
        for strength in (0.0, *config["strengths"])
    ]
    values = _features(flow, np.concatenate(inputs))
    values = values.reshape(len(values), len(inputs), len(test))
    right = np.mean(np.sign(values) == y[test], axis=2)  # feature, strength
    total = np.mean(np.sign(values.sum(axis=0)) == y[test], axis=1)
    clean = right[:, :1]
    lost = np.where(clean >= HIGH, clean - right, 0.0)
    gained = np.where(right >= HIGH, right - clean, 0.0)
    return {
        "predictor": total,
        "correlation": np.array([pearson(clean[:, 0], r) for r in right.T]),
        "high": np.sum(right >= HIGH, axis=0),
        "lost": np.maximum(lost.max(axis=0), 0.0),
        "gained": np.maximum(gained.max(axis=0), 0.0),
        "moved": np.array([_length(inputs[0] - z) for z in inputs]),
        "features": len(values),
        "resolved": flow.resolved,
        "feature_accuracy": _padded(right).T,
        "eigenvalue": _padded(flow.eigenvalues[: len(values)]),
    }


def perturbed(
    standard: RobustFlow,
    x: Float[np.ndarray, "m d"],
    y: Float[np.ndarray, " m"],
    strength: float,
    attack: str = "squared",
) -> Float[np.ndarray, "m d"]:
    r"""Inputs after one projected gradient step against a trained network.

    $$\tilde x = \Pi(x + \eta \nabla_x \ell(f(x), y)), \quad \Pi(z) = z / \|z\|_2,$$

    with $f$ the network of standard training at $t = \infty$ [1, Sec. 5.2], and inputs
    brought back to the unit sphere, where the paper's theory is. $\ell$ is $(f - y)^2 /
    2$, the loss of Eq. (1); or, for `margin`, $-y f$; for `unit` the gradient of $-y f$
    is divided by its length. The paper says "one-step projected gradient descent on the
    analytic solution without Jacobian regularisation" with learning rates $\eta$, and
    names neither loss nor projection.

    Args:
        standard: Training without regularisation.
        x: Inputs of norm 1.
        y: Targets +1 and -1.
        strength: $\eta$.
        attack: `squared`, `margin` or `unit`.

    Returns:
        The perturbed inputs, of norm 1.

    References:
        [1] Kim & Yang (2023), https://arxiv.org/abs/2312.03386
    """
    found = standard.at(x)
    slopes, factors = found.gradients, -y
    if attack == "squared":
        factors = found.values - y
    elif attack == "unit":
        factors = factors / np.linalg.norm(slopes, axis=1)
    moved = x + strength * factors[:, None] * slopes
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _features(
    flow: RobustFlow, x: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "i m"]:
    """The eigenfeatures at inputs, of eigenvalues that rounding does not hide."""
    # Time makes a feature larger or smaller and leaves its sign. Where an eigenvalue is
    # hidden there is no limit, and a time long enough for the others is taken.
    hidden = rounding(flow.eigenvalues)
    time = math.inf if flow.resolved else len(flow.x) / hidden
    kept = int(np.sum(flow.eigenvalues > hidden))
    return eigenfeatures(flow, x, time, gradients=False).values[:kept]


def pearson(u: Float[np.ndarray, " i"], v: Float[np.ndarray, " i"]) -> float:
    """Pearson's correlation of two lists.

    Args:
        u: One list.
        v: The other.

    Returns:
        The correlation; NaN where one of them is constant.
    """
    u, v = u - u.mean(), v - v.mean()
    size = math.sqrt(float(u @ u) * float(v @ v))
    return float(u @ v) / size if size > 0 else math.nan


def _length(moves: Float[np.ndarray, "m d"]) -> float:
    return float(np.mean(np.linalg.norm(moves, axis=1)))


def _padded(values: np.ndarray) -> np.ndarray:
    """The first values, and NaN where there are fewer."""
    found = np.full((DRAWN, *values.shape[1:]), np.nan)
    kept = min(DRAWN, len(values))
    found[:kept] = values[:kept]
    return found
