"""The trial of `certified-gap`: what is certain, and what attacks reach."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.activations import activation_named
from widelimit.attacks import PGD, minimal_flip, smallest_radius
from widelimit.datasets import Prepared, load, prepare
from widelimit.description import Description
from widelimit.layers import AbstractLayer, Params
from widelimit.networks import kim2023_network
from widelimit.prediction import as_function, certified_radius, robust_flow
from widelimit.studies.memory import check_device_memory
from widelimit.training import JacobianPenalty

if TYPE_CHECKING:
    import xarray as xr

CERTIFIED_GAP_TRIAL = "widelimit.studies.certified_gap_trial:certify_and_attack"
MODELS = ("infinite", "linearised", "finite")
COPIES = 5  # of a Gram matrix that are alive while it is decomposed


@dataclasses.dataclass(frozen=True)
class Centred(Description):
    r"""A network less what it is at initialisation, or the tangent of that.

    $f_\theta - f_{\theta_0}$ starts at zero, as the infinitely wide network does.

    Args:
        network: The network.
        linear: Whether to take $\partial_\theta f_{\theta_0} (\theta - \theta_0)$.
    """

    network: AbstractLayer
    linear: bool = False

    def start(self, params: Params) -> dict[str, Params]:
        """Parameters before training, from those of the network."""
        return {"start": params, "moved": jax.tree.map(jnp.zeros_like, params)}

    def __call__(
        self, params: dict[str, Params], x: Float[Array, "n d"]
    ) -> Float[Array, "n o"]:
        """Outputs for a batch of inputs."""
        fixed, moved = jax.lax.stop_gradient(params["start"]), params["moved"]
        if self.linear:
            return jax.jvp(lambda p: self.network.apply(p, x), (fixed,), (moved,))[1]
        now = jax.tree.map(jnp.add, fixed, moved)
        return self.network.apply(now, x) - self.network.apply(fixed, x)


def certify_and_attack(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Certified radii and attacks on networks of infinite and of finite width.

    Trained on kim2023's Eq. (1) by full-batch gradient descent, from zero: the
    infinitely wide network in closed form, one of finite width less its own start, and
    that one's tangent, in single precision. All take the same steps. A seed draws the
    rows and initialises the network.

    Args:
        config: One point of the study's grid, with `data`, `classes`, `activation`,
            `side`, `width`, `regularizations`, `train_rows`, `attack_rows`, `steps`,
            `step_share`, `attack_steps`, `restarts`, `max_radius` and `tolerance`.
        report: Called with the share done.

    Returns:
        Per seed and $\lambda$, of the infinite network, the median `certified` radius
        and the share `truncated` at `max_radius`, and medians of ratios over test rows
        that flip, PGD's distance over the certified radius (`gap`) and the flip's over
        PGD's (`slack`). Per model too the medians `flip` and `pgd` of the distances,
        and the shares `flip_censored` and `pgd_censored` of inputs that do not flip
        within `max_radius`; a median is NaN where half or more do not flip.
        Per model too the training `loss` with its penalty
        and the test `accuracy`; the numbers of inputs `unsound`, where an attack flips
        within the certified radius, and `beaten`, where PGD needs more than the flip by
        more than the tolerance.
    """
    import xarray as xr

    lambdas, seeds = config["regularizations"], config["seeds"]
    rows: list[list[dict[str, Any]]] = []
    for i, seed in enumerate(seeds):
        data = rows_of(config, seed)
        rows.append([])
        for j, weight in enumerate(lambdas):
            rows[-1].append(_one(config, data, weight, seed))
            report((i + (j + 1) / len(lambdas)) / len(seeds))
    per = {True: ("seed", "regularization", "model"), False: ("seed", "regularization")}
    first = rows[0][0]
    return xr.Dataset(
        {
            **{
                name: (
                    per[np.ndim(value) > 0],
                    np.array([[one[name] for one in row] for row in rows], float),
                )
                for name, value in first.items()
            },
            "features": config["side"] ** 2,
            "rows": config["attack_rows"],
        },
        coords={"seed": list(seeds), "regularization": list(lambdas),
                "model": list(MODELS)},
        attrs={name: config[name] for name in
               ("data", "activation", "width", "steps", "max_radius", "tolerance")},
    )  # fmt: skip


def rows_of(config: Mapping[str, Any], seed: int) -> Prepared:
    """The rows of one seed: of norm 1, two classes with targets +1 and -1."""
    return prepare(
        load(config["data"]),
        scale="unit",
        classes=tuple(config["classes"]),
        size=config["side"],
        targets="sign",
        train=config["train_rows"],
        test=config["attack_rows"],
        seed=seed,
    )


def _one(
    config: Mapping[str, Any], data: Prepared, weight: float, seed: int
) -> dict[str, Any]:
    """What is recorded of one seed and one weight of the penalty."""
    x, t, new, goals = (
        np.asarray(a, float)
        for a in (data.x_train, data.t_train, data.x_test, data.t_test)
    )
    phi, steps = activation_named(config["activation"]), config["steps"]
    limit = kim2023_network(depth=1, width=1, activation=phi)
    flow = robust_flow(limit, x, t[:, 0], regularization=weight)
    rate = config["step_share"] * flow.largest_learning_rate
    descent = flow.descent(rate)
    predictor = descent.predictor(steps)
    sure = certified_radius(predictor, new, max_radius=config["max_radius"])
    apply, params = as_function(predictor)
    # With a row of zeros for each derivative, all weights run through one program.
    columns = ((0, 0), (0, x.shape[1] + 1 - predictor.weights.shape[1]), (0, 0))
    params = {**params, "weights": np.pad(predictor.weights, columns), "x": x}
    with jax.enable_x64(True):
        doubles = jax.tree.map(jnp.asarray, params)
        models = [_attacked(config, apply, doubles, new, goals)]
    models[0]["loss"] = float(descent.loss(steps))
    models += [
        _trained(config, data, weight, rate, seed, linear) for linear in (True, False)
    ]
    infinite = models[0]
    found = {
        name: [one[name] for one in models] for name in models[1] if name != "each"
    }
    radius, pgd, flip = (sure.radius, *infinite["each"])
    with np.errstate(divide="ignore"):
        ratio = np.where(radius > 0, pgd / radius, np.inf)
    reached = np.minimum(
        np.where(infinite["there"][0], pgd, np.inf),
        np.where(infinite["there"][1], flip, np.inf),
    )
    found.pop("there")
    return {
        **found,
        "certified": np.median(radius),
        "truncated": np.mean(radius >= sure.max_radius * (1 - 1e-9)),
        "gap": known_median(ratio, infinite["there"][0]),
        "unsound": np.sum(radius > reached),
    }


def _trained(
    config: Mapping[str, Any],
    data: Prepared,
    weight: Any,
    rate: Any,
    seed: int,
    linear: bool,
) -> dict[str, Any]:
    """A network of finite width, trained and attacked, in single precision."""
    phi = activation_named(config["activation"])
    network = kim2023_network(depth=1, width=config["width"], activation=phi)
    model = Centred(network, linear)
    x, t, new, goals = (
        jnp.asarray(a, jnp.float32)
        for a in (data.x_train, data.t_train, data.x_test, data.t_test)
    )
    params = network.init(jax.random.key(seed), x.shape[1:])
    params = model.start(jax.tree.map(lambda a: a.astype(jnp.float32), params))
    weight, rate = (jnp.asarray(a, jnp.float32) for a in (weight, rate))
    end, loss = _descend(
        model, params, x, t, weight, rate, jnp.asarray(config["steps"])
    )
    found = _attacked(config, model, end, new, goals)
    found["loss"] = float(loss)
    if not np.isfinite(found["loss"]):
        found = {n: v if n in {"each", "there"} else np.nan for n, v in found.items()}
    return found


@eqx.filter_jit
def _descend(
    model: Centred,
    params: dict[str, Params],
    x: Float[Array, "n d"],
    t: Float[Array, "n o"],
    weight: Array,
    rate: Array,
    steps: Array,
) -> tuple[dict[str, Params], Array]:
    """Gradient descent on Eq. (1), one program for all weights, and the last loss."""
    penalty = JacobianPenalty(1.0)  # of which only the squares are used

    def loss(moved):
        now = {"start": params["start"], "moved": moved}
        values, squares = penalty.outputs_and_squares(model, now, x, jax.random.key(0))
        errors = jnp.sum(jnp.square(values - t), axis=1)
        return jnp.mean(errors + weight * squares) / 2

    def step(_, moved, /):
        slope = jax.grad(loss)(moved)
        return jax.tree.map(lambda p, g: p - rate * g, moved, slope)

    moved = jax.lax.fori_loop(0, steps, step, params["moved"])
    return {"start": params["start"], "moved": moved}, loss(moved)


def _attacked(
    config: Mapping[str, Any], apply: Any, params: Any, x: Any, goals: Any
) -> dict[str, Any]:
    """The minimal flip and PGD's smallest radius of one model's predictions."""
    x = jnp.asarray(x)
    outputs = np.asarray(apply(params, x))
    y, most = np.where(outputs >= 0, 1.0, -1.0), config["max_radius"]
    flip = minimal_flip(apply, params, x, max_distance=most)
    method = PGD(radius=1.0, steps=config["attack_steps"], restarts=config["restarts"])
    pgd = smallest_radius(
        method, apply, params, x, y, high=most, tolerance=config["tolerance"]
    )
    far, near = np.asarray(flip.distance, float), np.asarray(pgd.distance, float)
    there = np.asarray(pgd.flipped), np.asarray(flip.flipped)
    beaten = there[1] & (near > far * (1 + config["tolerance"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        slack = np.where(near > 0, far / near, 1.0)
    return {
        "flip": flip.median(),
        "pgd": pgd.median(),
        "slack": known_median(slack, there[0] & there[1]),
        "flip_censored": float(np.mean(np.asarray(flip.censored))),
        "pgd_censored": float(np.mean(np.asarray(pgd.censored))),
        "beaten": float(beaten.sum()),
        "accuracy": float(np.mean(outputs * np.asarray(goals) > 0)),
        "loss": math.nan,
        "each": (near, far),
        "there": there,
    }


def known_median(values: np.ndarray, known: np.ndarray) -> float:
    """Median of the known values, if they are more than half.

    Args:
        values: One per input.
        known: Whether it is known.

    Returns:
        The median; NaN where half or more are not known.
    """
    return float(np.median(values[known])) if known.mean() > 0.5 else math.nan


def check_certified_gap(settings: Any) -> None:
    """Raise, with the cure, unless the data are here and the largest Gram matrix fits.

    Args:
        settings: Settings of the study.

    Raises:
        ValueError: If labels, sides or rows do not suit the data, or the Gram matrix
            does not fit into memory.
        OSError: If the data set is not on this machine.
    """
    side = max(settings.sides)
    rows_of(settings.model_dump() | {"side": side}, 0)
    size = settings.train_rows * (side**2 + 1)
    check_device_memory(
        "check_certified_gap",
        8.0 * COPIES * size**2,
        f"the Gram matrix of {size} rows, of values and gradients",
        "Choose fewer `train_rows` or smaller `sides`.",
    )
