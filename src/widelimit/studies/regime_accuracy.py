"""Accuracy of a residual network from the lazy and the non-lazy initialisation."""

from typing import TYPE_CHECKING

from widelimit.studies.base import Study
from widelimit.studies.curves import last, name_of, seed_curve
from widelimit.studies.figure import Bars, Figure, Panel
from widelimit.studies.image_curves import (
    radius_of,
    sensitivity_figure,
    training_figure,
)
from widelimit.studies.image_settings import RegimeSettings
from widelimit.studies.image_trial import check_images
from widelimit.studies.verdicts import (
    Claim,
    interval,
    judge,
    log2,
    mean_of,
    share_interval,
    within,
)

if TYPE_CHECKING:
    import xarray as xr

PAPER = {"cifar10": (0.9289, 0.9214), "cifar100": (0.7108, 0.7055)}
"""Table 4: test accuracy of lazy and of non-lazy training, of one run each."""

MARGIN = 0.02
"""Accuracies that differ by two points at most are similar; the paper's differ by 0.75
and 0.53 points, which it calls similar without a spread."""

_LAZY = "he"


def _claims(results: "xr.Dataset") -> list[Claim]:
    claims = []
    others = [str(v) for v in results["initialization"].values if str(v) != _LAZY]
    for name in map(str, results["data"].values):
        at = last(results.sel(data=name))
        if _LAZY not in results["initialization"].values:
            continue
        lazy = at.sel(initialization=_LAZY)
        claims.append(_lazy(lazy, name))
        for other in others:
            non_lazy = at.sel(initialization=other)
            claims.append(_similar(lazy, non_lazy, name, other))
            claims.append(_moves_more(lazy, non_lazy, name, other))
    return claims


def _similar(
    lazy: "xr.Dataset", non_lazy: "xr.Dataset", name: str, other: str
) -> Claim:
    one, two = lazy["accuracy"].values, non_lazy["accuracy"].values
    found, holds = within(two - one, MARGIN)
    difference = interval(two - one)
    detail = (
        f"Two points, less the difference either way. {name_of(_LAZY)}: "
        f"{share_interval(one)}; {name_of(other)}: {share_interval(two)}; the "
        f"difference {100 * difference.mean:.3g} ± {100 * difference.half_width:.2g} "
        "points."
    )
    if name in PAPER:
        detail += " The paper has {:.2%} and {:.2%}.".format(*PAPER[name])
    return Claim(
        f"{other}-similar-accuracy[{name}]",
        f"{name}: training from the {name_of(other)} initialisation reaches a similar "
        f"test accuracy.",
        found.mean, found.half_width, holds, detail=detail,
        scope={"data": name, "initialization": other},
    )  # fmt: skip


def _lazy(lazy: "xr.Dataset", name: str) -> Claim:
    """Whether what is called lazy is: the table's names are those of its start."""
    ratios = lazy["kappa"].values
    found = interval(-log2(ratios))
    return Claim(
        f"{_LAZY}-stays-near[{name}]",
        f"{name}: from the {name_of(_LAZY)} initialisation, called lazy, weights move "
        "by less than they were.",
        found.mean, found.half_width, judge(found),
        detail=f"-log2 of the lazy ratio, which is {mean_of(ratios):.3g}.",
        scope={"data": name, "initialization": _LAZY},
    )  # fmt: skip


def _moves_more(
    lazy: "xr.Dataset", non_lazy: "xr.Dataset", name: str, other: str
) -> Claim:
    ratios = lazy["kappa"].values, non_lazy["kappa"].values
    found = interval(log2(ratios[1]) - log2(ratios[0]))
    return Claim(
        f"{other}-moves-more[{name}]",
        f"{name}: from the {name_of(other)} initialisation weights move farther, "
        "relative to their start.",
        found.mean, found.half_width, judge(found),
        detail=f"log2 of the ratio of lazy ratios, {mean_of(ratios[1]):.3g} and "
        f"{mean_of(ratios[0]):.3g}.",
        scope={"data": name, "initialization": other},
    )  # fmt: skip


def _figures(results: "xr.Dataset") -> list[Figure]:
    labels = [str(v) for v in results["initialization"].values]
    figures = [_table(results, labels)]
    for name in map(str, results["data"].values):
        at = results.sel(data=name)
        groups = [(name_of(v), at.sel(initialization=v)) for v in labels]
        figures.append(
            training_figure(groups, name=name, title=name, legend="initialisation")
        )
        figures.append(
            sensitivity_figure(
                groups,
                name=f"{name}-images",
                title=name,
                legend="initialisation",
                radius=radius_of(results),
            )
        )
    return figures


def _table(results: "xr.Dataset", labels: list[str]) -> Figure:
    names = [str(v) for v in results["data"].values]
    none = (float("nan"), float("nan"))
    bars = []
    for label in labels:
        found = [
            share_interval(
                last(results.sel(data=n, initialization=label))["accuracy"].values
            )
            for n in names
        ]
        ends = [(f.low, f.high) for f in found]
        bars.append((f"{name_of(label)}: ours", [f.mean for f in found], ends))
    papers = ["He (lazy): the paper's", "non-lazy: the paper's"]
    if set(names) & set(PAPER):
        for place, paper in enumerate(papers):
            values = [PAPER.get(n, none)[place] for n in names]
            bars.append((paper, values, [none] * len(names)))
    kappa, stability = (
        [
            seed_curve(
                results[quantity].sel(data=n, initialization=label),
                f"{name_of(label)}, {n}" if len(names) > 1 else name_of(label),
                "epoch",
                log=quantity != "kappa",
            )
            for n in names
            for label in labels
        ]
        for quantity in ("kappa", "stability")
    )
    return Figure(
        name="accuracy",
        title="Accuracy from both initialisations",
        caption="Test accuracy after training with Wilson's 95 % intervals over seeds; "
        "dashed, Table 4 of the paper, where it has the data: one run each, of "
        "ResNet-110. Middle: the lazy ratio of the weights, which says how lazy "
        "training is. Batch normalisation takes the scale of the weights out of the "
        "function and leaves it in the effective learning rate, which is the larger "
        "the smaller they are.",
        panels=(
            Bars("Test accuracy", "data", "share of test images that are right", names,
                 bars, written=".2%", outlined=papers, y_domain=(0.0, 1.0)),
            Panel("How lazy training is", "epoch", "lazy ratio κ", kappa, x_log=False,
                  ordered=False),
            Panel("Stability", "epoch", "P(f, ε) / ε", stability, x_log=False,
                  ordered=False),
        ),
    )  # fmt: skip


_RECIPE = {
    "batch_size": 128,
    "schedule": "step",
    "milestones": (81 / 164, 122 / 164),
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "learning_rate": 0.1,
    "augment": True,
}
"""What the code behind the paper's table trains with, for 164 epochs."""

REGIME_ACCURACY = Study(
    name="regime-accuracy",
    title="Accuracy of lazy and non-lazy training",
    question="Does a ResNet that starts from the non-lazy initialisation reach the "
    "accuracy of one that starts from He's, and is either of them lazy?",
    source="zhu2022, Table 4, App. E.1.",
    settings=RegimeSettings,
    presets={
        "quick": {
            **_RECIPE, "batch_size": 32, "network": "resnet8", "width": 0.5,
            "epochs": 15, "seeds": 6, "augment": False,
        },
        "laptop": {
            **_RECIPE, "data": ("cifar10",), "size": 16, "network": "resnet20",
            "width": 0.5, "epochs": 30, "seeds": 3, "train_rows": 5120,
            "test_rows": 1000,
        },
        "paper": {
            **_RECIPE, "data": ("cifar10", "cifar100"), "network": "resnet110",
            "epochs": 164, "seeds": 5, "train_rows": None, "precision": "mixed",
            "stability_rows": 1000,
        },
    },
    axes={"data": "data", "initialization": "initializations"},
    trial="widelimit.studies.image_trial:train_on_images",
    claims=_claims,
    figures=_figures,
    check=check_images,
    demo=False,
)  # fmt: skip
