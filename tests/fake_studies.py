"""The studies with a trial that draws its numbers instead of training, and one's own.

The numbers have the shape of those of `studies.trial` and follow the papers' claims,
with a little noise for every seed: stability peaks inside the widths, and so on.
"""

import dataclasses

import numpy as np
import xarray as xr

from widelimit.studies import STUDIES, Claim, Curve, Figure, Panel, Settings, Study
from widelimit.studies import interval as mean_interval
from widelimit.studies import judge as judge_interval
from widelimit.studies.settings import TrainingSettings

TRAINED = tuple(
    name for name, one in STUDIES.items() if issubclass(one.settings, TrainingSettings)
)
"""The studies that train zhu2022's network."""

FEATURES, OUTPUTS = 64, 10
WIDTHS = (8, 32, 128)

calls = []
"""Configuration of every trial computed in this process, in order."""


def study(name, trial="drawn", **changes):
    """A study of the catalogue over three widths, with a trial of this module."""
    few = {"widths": WIDTHS, "seeds": 3, "epochs": 25, "probe_epochs": (0, 1, 5, 25)}
    known = STUDIES[name]
    return dataclasses.replace(
        known,
        trial=f"{__name__}:{trial}",
        check=None,
        presets={"quick": dict(known.presets["quick"]) | few | changes},
    )


def level(config, epochs):
    """Stability and lazy ratio without noise, as functions of log2 width and epoch."""
    w, layers = np.log2(config["width"]), config["depth"] + 1
    non_lazy = config["initialization"].startswith("non-lazy")
    direction = -0.5 if config["initialization"] == "lecun" else 0.5
    depth = 2 ** (direction * layers) if direction < 0 else layers**direction
    stability = 0.02 * depth * 2 ** (-(w + 3 if non_lazy else (w - 5) ** 2) / 4)
    growth = epochs**1.0 if non_lazy else epochs**0.02
    peak = 2 ** (8 - (w - 5) ** 2 / 4) if non_lazy else 2 ** (-w / 2)
    return stability * np.ones(len(epochs)), peak * growth * (epochs > 0)


def drawn(config, report):
    calls.append(config)
    report(0.5)
    seeds, epochs = config["seeds"], np.array(config["probe_epochs"])
    rng = np.random.default_rng([config["width"], config["depth"], len(seeds)])
    noise = np.exp(0.01 * rng.normal(size=(len(seeds), 1)))
    stability, kappa = (noise * values for values in level(config, epochs))
    layers = config["depth"] + 1
    return xr.Dataset(
        {
            "stability": (("seed", "epoch"), stability),
            "stability_se": (("seed", "epoch"), 0.1 * stability),
            "mean_stability": ("epoch", stability.mean(0)),
            "mean_stability_se": ("epoch", 0.05 * stability.mean(0)),
            "kappa": (("seed", "epoch"), kappa),
            "movement": (
                ("seed", "epoch", "layer"),
                kappa[..., None] + np.ones(layers),
            ),
            "accuracy": (("seed", "epoch"), 0.9 * noise * np.ones(len(epochs))),
            "test_loss": (("seed", "epoch"), stability),
            "train_loss": (
                ("seed", "train_epoch"),
                noise * np.ones(config["epochs"]),
            ),
            "diverged_at": ("seed", np.zeros(len(seeds), dtype=np.int32)),
            "features": FEATURES,
            "samples": 640,
            "outputs": OUTPUTS,
            "learning_rate": 0.1,
        },
        {
            "seed": seeds,
            "epoch": epochs,
            "layer": np.arange(1, layers + 1),
            "train_epoch": np.arange(1, config["epochs"] + 1),
        },
    )


def diverging(config, report):
    """The last seed diverges in epoch 3, at every point of the grid."""
    values = drawn(config, report)
    late = (values["seed"] == config["seeds"][-1]) & (values["epoch"] >= 3)
    for name in ("stability", "stability_se", "kappa", "accuracy", "test_loss"):
        values[name] = values[name].where(~late)
    values["diverged_at"][-1] = 3
    kept = values["stability"].mean("seed", skipna=True)
    values["mean_stability"] = kept
    return values


def dead(config, report):
    """The narrowest networks do not depend on their input."""
    values = drawn(config, report)
    if config["width"] == WIDTHS[0]:
        values["stability"][:] = values["kappa"][:] = 0.0
        values["mean_stability"][:] = values["mean_stability_se"][:] = 0.0
    return values


def failing_in_part(config, report):
    if config["width"] == WIDTHS[1]:
        raise ArithmeticError("no <b>number</b> here")
    return drawn(config, report)


def failing(config, report):
    raise ArithmeticError("no <b>number</b> anywhere")


class OwnSettings(Settings):
    sizes: tuple[int, ...] = (1, 2, 3)
    shift: float | None = None
    broken: bool = False


def own_trial(config, report):
    calls.append(config)
    if config["broken"]:
        raise ArithmeticError("no <b>number</b> anywhere")
    values = [config["size"] + (config["shift"] or 0.0) + s for s in config["seeds"]]
    return xr.Dataset({"value": ("seed", np.array(values))})


def own_claims(results):
    found = mean_interval(results["value"].mean("size").values)
    return [
        Claim(
            name="positive",
            statement="The value is positive.",
            statistic=found.mean,
            uncertainty=found.half_width,
            holds=judge_interval(found),
        )
    ]


def own_figures(results):
    values = results["value"].isel(seed=0).values.tolist()
    curve = Curve("all", results["size"].values.tolist(), values)
    return [Figure("values", "Values", "", [Panel("", "size", "value", [curve])])]


OWN = Study(
    name="own",
    title="A study of one's own",
    question="Does it run?",
    source="nowhere",
    settings=OwnSettings,
    presets={"quick": {}, "more": {"sizes": (1, 2, 3, 4)}},
    axes={"size": "sizes"},
    trial=f"{__name__}:own_trial",
    claims=own_claims,
    figures=own_figures,
)
