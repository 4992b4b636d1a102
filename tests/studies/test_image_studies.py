"""The studies on images: verdicts on numbers of known truth, and their figures."""

import itertools

import numpy as np
import pytest
import vl_convert
import xarray as xr

from widelimit.report.chart import figure_spec, panel_spec
from widelimit.studies import STUDIES, Bars, Pictures

CNN, RESNET, REGIME = (
    STUDIES[name] for name in ("stability-cnn", "stability-resnet", "regime-accuracy")
)
SEEDS, EPOCHS, TRAINED = 4, np.array([0, 2]), np.array([1, 2])


def drawn(axes, level, *, accuracy=lambda **at: 0.8, kappa=lambda **at: 0.3):
    """Results over a grid, with stability `level(**point)` and a little noise."""
    rng = np.random.default_rng(7)
    points = list(itertools.product(*axes.values()))
    shape = [len(v) for v in axes.values()]

    def over(function, *dims, noise=0.01):
        sizes = [len(coords[d]) for d in dims]
        parts = [
            function(**dict(zip(axes, point, strict=True)))
            * np.exp(noise * rng.normal(size=sizes))
            for point in points
        ]
        return (*axes, *dims), np.reshape(parts, [*shape, *sizes])

    coords = {
        **axes, "seed": np.arange(SEEDS), "epoch": EPOCHS, "train_epoch": TRAINED,
        "label": ["cat", "dog", "eel"], "shown": [0, 1], "row": range(4),
        "column": range(4), "channel": [0],
    }  # fmt: skip
    image = ("shown", "row", "column", "channel")
    per_seed = ("seed", "epoch")
    words = {
        f"picture_{name}": ((*axes, "shown"), np.full([*shape, 2], name))
        for name in ("label", "before", "after")
    }
    results = xr.Dataset(
        {
            "stability": over(level, *per_seed),
            "class_stability": over(level, "seed", "label"),
            "accuracy": over(accuracy, *per_seed, noise=0.001),
            "fit_accuracy": over(accuracy, *per_seed),
            "kappa": over(kappa, *per_seed),
            "train_loss": over(lambda **at: 1.0, "seed", "train_epoch"),
            "picture": over(lambda **at: 100.0, *image),
            "picture_step": over(lambda **at: 60.0, *image),
            "picture_peak": over(lambda **at: 0.2, "shown"),
            "picture_gain": over(lambda **at: 7.0, "shown"),
            **words,
        },
        coords,
        {"initialization": "he", "picture_radius": 0.2},
    )
    mean = results["stability"].mean("seed")
    return results.assign(mean_stability=mean, mean_stability_se=0.02 * mean)


def answers(study, results):
    return {claim.name: claim.holds for claim in study.claims(results)}


def peaked(w, middle):
    return 2.0 ** (-((np.log2(w) - middle) ** 2) / 4)


PLAIN = {"network": ["cnn", "fcn"], "depth": [3, 9], "width": [4, 16, 64]}


def test_of_plain_networks_what_the_paper_says_holds():
    def level(network, depth, width):
        power = 2.0 if network == "cnn" else 0.5
        return peaked(width, 4) * (depth + 1) ** power

    found = answers(CNN, drawn(PLAIN, level))
    phases = {
        f"{n}-rises-then-falls[L={d + 1}]" for n in ("cnn", "fcn") for d in (3, 9)
    }
    others = {
        "cnn-depths-differ-more",
        *(f"{n}-grows-with-depth-{when}-training" for n in ("cnn", "fcn")
          for when in ("before", "after")),
    }  # fmt: skip
    assert found == dict.fromkeys(phases | others, True)


def test_of_plain_networks_the_opposite_does_not():
    def level(network, depth, width):
        power = -0.5 if network == "cnn" else -2.0
        return width * (depth + 1.0) ** power

    found = answers(CNN, drawn(PLAIN, level))
    assert set(found.values()) == {False} and len(found) == 9


def test_of_one_kind_of_network_there_is_nothing_to_compare():
    axes = PLAIN | {"network": ["cnn"]}
    found = answers(CNN, drawn(axes, lambda network, depth, width: 1.0))
    assert set(found) == {
        "cnn-rises-then-falls[L=4]", "cnn-rises-then-falls[L=10]",
        "cnn-grows-with-depth-before-training", "cnn-grows-with-depth-after-training",
    }  # fmt: skip


RESIDUAL = {"network": ["resnet18", "resnet34"], "width": [0.125, 0.25, 0.5]}


@pytest.mark.parametrize("holds", [True, False])
def test_of_residual_networks(holds):
    def level(network, width):
        deeper = 1.5 if (network == "resnet34") == holds else 1.0
        return deeper * (peaked(width, -2) if holds else width)

    found = answers(RESNET, drawn(RESIDUAL, level))
    assert found == {
        "grows-with-depth-before-training": holds,
        "grows-with-depth-after-training": holds,
        "resnet18-rises-then-falls": holds,
        "resnet34-rises-then-falls": holds,
    }


def test_networks_are_compared_by_depth_however_they_are_listed():
    axes = RESIDUAL | {"network": ["resnet110", "resnet20", "resnet8"]}

    def level(network, width):
        return float(network.removeprefix("resnet"))

    claims = RESNET.claims(drawn(axes, level))
    assert claims[0].holds is True
    assert "ResNet-8 < ResNet-20 < ResNet-110" in claims[0].statement


REGIMES = {"data": ["cifar10", "digits"], "initialization": ["he", "non-lazy"]}


@pytest.mark.parametrize(
    ("lost", "similar"), [(0.0, True), (0.008, True), (0.1, False), (-0.1, False)]
)
def test_similar_accuracy_is_within_two_points(lost, similar):
    results = drawn(
        REGIMES,
        lambda data, initialization: 1.0,
        accuracy=lambda data, initialization: 0.9 - lost * (initialization != "he"),
        kappa=lambda data, initialization: 0.3 if initialization == "he" else 30.0,
    )
    for data in REGIMES["data"]:
        found = answers(REGIME, results)
        assert found[f"non-lazy-similar-accuracy[{data}]"] is similar
        assert found[f"he-stays-near[{data}]"] is True
        assert found[f"non-lazy-moves-more[{data}]"] is True
    detail = {claim.name: claim.detail for claim in REGIME.claims(results)}
    assert "92.89% and 92.14%" in detail["non-lazy-similar-accuracy[cifar10]"]
    assert "paper" not in detail["non-lazy-similar-accuracy[digits]"]


def test_what_is_called_lazy_need_not_be():
    results = drawn(
        REGIMES,
        lambda data, initialization: 1.0,
        kappa=lambda data, initialization: 2.0 if initialization == "he" else 1.0,
    )
    found = answers(REGIME, results)
    assert found["he-stays-near[digits]"] is False
    assert found["non-lazy-moves-more[digits]"] is False


@pytest.mark.parametrize(
    ("study", "axes", "count"),
    [(CNN, PLAIN, 6), (RESNET, RESIDUAL, 3), (REGIME, REGIMES, 5)],
    ids=lambda v: getattr(v, "name", ""),
)
def test_figures_are_drawn(study, axes, count):
    figures = study.figures(drawn(axes, lambda **at: 1.0))
    assert len(figures) == count and len({f.name for f in figures}) == count
    pictures = [p for f in figures for p in f.panels if isinstance(p, Pictures)]
    assert pictures and all(len(row) == 3 for row in pictures[0].rows)
    image, direction, summed = pictures[0].rows[0]
    assert abs(int(image.pixels.mean()) - 100) <= 3
    assert abs(int(direction.pixels.mean()) - (127.5 + 60)) <= 3
    assert abs(int(summed.pixels.mean()) - (100 + 255 * 0.2 * 60 / 127)) <= 5
    assert "classified as before" in image.alt and "20%" in direction.alt
    for figure in figures[-1:]:
        specs = [panel_spec(p, name=f"p{i}") for i, p in enumerate(figure.panels)]
        svg = vl_convert.vegalite_to_svg(figure_spec(figure, specs))
        assert svg.count("<image") == 6 and "classified as after" in svg


def test_the_table_shows_the_papers_numbers_where_it_has_them():
    results = drawn(REGIMES, lambda **at: 1.0)
    table = REGIME.figures(results)[0].panels[0]
    assert isinstance(table, Bars) and list(table.categories) == ["cifar10", "digits"]
    papers = {
        row["series"]: row for row in table.rows() if row["y"] in (0.9289, 0.9214)
    }
    assert set(papers) == set(table.outlined)
    assert all(row["category"] == "cifar10" for row in papers.values())
    ours = [row for row in table.rows() if "ours" in row["series"]]
    assert len(ours) == 4 and all("low" in row for row in ours)


def test_without_pictures_and_with_a_missing_trial_figures_remain():
    results = drawn(RESIDUAL, lambda **at: 1.0)
    names = [name for name in results if str(name).startswith("picture")]
    figures = RESNET.figures(results.drop_vars(names))
    assert len(figures[-1].panels) == 1
    gone = results.where(results["width"] < 0.5)
    figures = RESNET.figures(gone)
    assert len(figures) == 3 and len(figures[-1].panels) == 1


def test_of_many_classes_the_extremes_are_shown():
    results = drawn(RESIDUAL, lambda **at: 1.0)
    many = [f"c{i}" for i in range(40)]
    values = results["class_stability"].isel(label=0, drop=True)
    spread = xr.DataArray(np.arange(40.0) + 1, {"label": many}, "label")
    results = results.drop_vars(["class_stability", "label"]).assign(
        class_stability=values * spread
    )
    bars = RESNET.figures(results)[-1].panels[0]
    assert list(bars.categories) == [*many[:-7:-1], *many[5::-1]]
