"""Robust studies of wang2022: claims on drawn numbers, the trial against NumPy."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import xarray as xr

from widelimit.layers import Sequential
from widelimit.networks import wang2022_network
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, HeatMap, run_study
from widelimit.studies.wang2022_problem import data_of, train_lazily
from widelimit.studies.wang2022_robust import check_robust
from widelimit.studies.wang2022_robust_trial import (
    ball_radius,
    separation,
    train_robustly,
)
from widelimit.studies.wang2022_threshold import at_position, crossings

drawn_as = {"R": 5.0, "V": 25.0, "power": -0.5, "steep": 20.0, "moved": 10.0}


def drawn(config, report):
    """Robust accuracies that fall from 1 to 0 at the papers' thresholds."""
    seeds, d, m = config["seeds"], config["side"] ** 2, config["width"]
    rng = np.random.default_rng([d, m])
    noise = np.exp(0.01 * rng.normal(size=len(seeds)))
    moved = np.full(len(seeds), 10.0)
    if "deviation" in config:
        share = config["deviation"] / (drawn_as["V"] * m ** drawn_as["power"])
    else:
        share = drawn_as["R"] * d ** drawn_as["power"] / config["radius"]
    robust = 1 / (1 + (noise * share) ** -drawn_as["steep"])
    return results_of(config, robust, moved)


def drawn_distances(config, report):
    """Errors that depend on the distance in units of a power of the width."""
    constant = config["constant"] or 100.0
    unit = config["width"] ** (drawn_as["power"] + 0.5)  # 1 if the power is -1/2
    rng = np.random.default_rng([config["width"], round(10 * constant)])
    robust = 1 / (1 + (constant / unit / drawn_as["moved"]) ** -3.0)
    robust = robust * np.exp(0.01 * rng.normal(size=len(config["seeds"])))
    moved = np.full(len(config["seeds"]), constant)
    return results_of(config, np.minimum(robust, 1), moved)


def results_of(config, robust, moved):
    ones = np.ones(len(config["seeds"]))
    columns = {"robust_accuracy": robust, "accuracy": 0.98 * ones, "moved": moved,
               "train_robust": robust, "rising": 0 * ones, "epochs": 9 * ones,
               "stopped": ones, "diverged_at": np.zeros(len(ones), int)}  # fmt: skip
    return xr.Dataset(
        {name: ("seed", values) for name, values in columns.items()}
        | {"separation": 2.0, "learning_rate": 0.1, "features": config["side"] ** 2,
           "train_rows": 10, "test_rows": 20},
        {"seed": config["seeds"]},
        {"data": config["data"]},
    )  # fmt: skip


def outcome(name, directory, trial="drawn", **changes):
    one = dataclasses.replace(STUDIES[name], trial=f"{__name__}:{trial}", check=None)
    return run_study(one, directory, changes=changes, progress=SilentProgress())


def holds(found):
    return {claim.name.partition("[")[0]: claim.holds for claim in found.claims()}


DIMENSION = {"sides": (8, 11, 16), "radii": tuple(np.geomspace(0.1, 1, 16))}


def test_dimension_finds_the_paper(tmp_path):
    found = outcome("robust-dimension", tmp_path, **DIMENSION)
    assert set(holds(found).values()) == {True} and len(holds(found)) == 5
    power = found.claims()[0]
    assert "p = -0.49" in power.detail and "98%" in power.detail
    [figure] = found.figures()
    heat, clean, half = figure.panels
    assert isinstance(heat, HeatMap) and isinstance(clean, HeatMap)
    assert heat.x == [64, 121, 256] and "3 seeds, 20 test rows" in heat.notes[0]
    assert half.curves[0].y == pytest.approx([5 / 8, 5 / 11, 5 / 16], rel=0.05)


def test_dimension_finds_another_law(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "R", 0.4)
    monkeypatch.setitem(drawn_as, "power", 0.0)
    found = holds(outcome("robust-dimension", tmp_path, **DIMENSION))
    assert found == {"power": False, "constant": False, "robust-below": True,
                     "zero-above": False, "network-not-data": True}  # fmt: skip


def test_crossings_out_of_range_are_told(tmp_path):
    found = outcome("robust-dimension", tmp_path, sides=(2, 4, 8, 11))
    power, constant, *_ = found.claims()
    assert power.holds is None and "Of 12 crossings 0 lie below" in power.detail
    assert "and 6 above; the power is taken over the 2 dimensions" in power.detail
    # Two dimensions agree with the paper, of the others nothing is known.
    assert constant.holds is None and "not measured at d = 4;" in constant.detail
    assert "nan" not in constant.detail


@pytest.mark.parametrize("agrees", [True, False])
def test_deviation_finds_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "V", 0.3)
        monkeypatch.setitem(drawn_as, "power", 0.0)
    found = outcome(
        "robust-deviation",
        tmp_path,
        widths=(1024, 2048, 4096),
        deviations=tuple(np.geomspace(0.1, 1, 16)),
    )
    others = {"power": agrees, "constant": agrees, "zero-below": agrees}
    assert holds(found) == others | {"robust-above": True}
    heat = found.figures()[0].panels[0]
    assert isinstance(heat, HeatMap) and len(heat.values) == 16


@pytest.mark.parametrize("agrees", [True, False])
def test_distance_finds_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "power", 0.0)
        monkeypatch.setitem(drawn_as, "moved", 0.5)
    found = outcome("robust-distance", tmp_path, trial="drawn_distances")
    answers = holds(found)
    assert answers["leaves"] and answers["lazy-costs"] and answers["falls"]
    assert (answers["collapse"], answers["units"]) == (agrees, agrees)
    left, plain, _ = found.figures()[0].panels
    assert [c.series for c in left.curves][1::2] == ["m = 64, free", "m = 512, free"]
    assert left.curves[1].x == [100.0]
    assert plain.curves[1].x == pytest.approx([12.5])


def every_claim_without(name, tmp_path, axis, hidden, trial="drawn", **changes):
    """Verdicts when the numbers at one place of an axis are missing."""
    found = outcome(name, tmp_path, trial=trial, **changes)
    results = found.results
    seen = results.where(results[axis] != hidden)
    claims = STUDIES[name].claims(seen)
    assert not any("nan" in claim.detail for claim in claims)
    return {claim.name.partition("[")[0]: claim.holds for claim in claims}


def test_a_dimension_that_is_not_measured_leaves_claims_open(tmp_path):
    found = every_claim_without(
        "robust-dimension", tmp_path, "side", 11, **DIMENSION | {"sides": (8, 11)}
    )
    assert found == dict.fromkeys(found) and len(found) == 5


def test_a_width_that_is_not_measured_leaves_claims_open(tmp_path):
    deviations = tuple(np.geomspace(0.1, 1, 16))
    found = every_claim_without(
        "robust-deviation", tmp_path, "width", 4096,
        widths=(1024, 2048, 4096), deviations=deviations,
    )  # fmt: skip
    assert found == dict.fromkeys(found) and len(found) == 4


def test_distances_of_a_width_that_is_not_measured_leave_claims_open(tmp_path):
    found = every_claim_without(
        "robust-distance", tmp_path, "width", 512, trial="drawn_distances"
    )
    assert found == dict.fromkeys(found) and len(found) == 5


def test_one_dimension_refutes_whatever_the_others(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "R", 0.4)
    monkeypatch.setitem(drawn_as, "power", 0.0)
    found = every_claim_without("robust-dimension", tmp_path, "side", 11, **DIMENSION)
    assert found == {"power": None, "constant": False, "robust-below": None,
                     "zero-above": False, "network-not-data": None}  # fmt: skip


def test_crossings():
    rows = [[1, 0.8, 0.2, 0.6], [0.4, 0.3, 0.2, 0.1], [1, 1, 0.9, 0.8],
            [1, math.nan, 0, 0]]  # fmt: skip
    values = xr.DataArray(
        [rows], dims=("seed", "d", "R"), coords={"R": [1.0, 2.0, 8.0, 16.0]}
    )
    found = crossings(values, "R", "d", rises=False)
    assert found.at[0, 0] == pytest.approx(4.0)  # halfway from 2 to 8
    assert np.isnan(found.at[0, 1:]).all()
    assert found.before.tolist() == [[False, True, False, False]]
    assert found.never.tolist() == [[False, False, True, False]]
    turned = crossings(1 - values, "R", "d", rises=True)
    np.testing.assert_array_equal(found.before, turned.before)
    assert turned.at[0, 0] == pytest.approx(4.0)
    one = values.isel(d=0)
    assert at_position(one, "R", 4.0) == pytest.approx([0.5])
    assert np.isnan(at_position(one, "R", 17.0)).all()


CONFIG = {
    "data": "digits", "classes": [0, 1], "side": 4, "train_rows": 12, "test_rows": 9,
    "width": 7, "epochs": 1, "batch_size": 12, "beta": 0.3, "patience": 3,
    "rule": "normalized", "attack_steps": 1, "radius": 0.2, "constant": 0.1,
    "seeds": [0, 4],
}  # fmt: skip


def test_the_trial_is_algorithm_1():
    found = train_robustly(CONFIG, lambda share: None)
    data = data_of(CONFIG | {"scale": "unit"})
    for seed in CONFIG["seeds"]:
        _, start = jax.random.split(jax.random.key(seed))
        params = wang2022_network(width=7).init(start, (16,))
        w = np.asarray(params[0]["weight"], float)
        a = np.asarray(params[2]["signs"], float)[:, 0]

        def f(x, w, a=a):
            return np.maximum(x @ w, 0) @ a / 7**0.5

        def attacked(x, y, w, a=a):  # one step of 2.5 R ends on the sphere of radius R
            g = ((x @ w > 0) * a) @ w.T / 7**0.5 * -y[:, None]
            moved = x + 0.2 * g / np.linalg.norm(g, axis=1, keepdims=True)
            worse = y * f(moved, w) < y * f(x, w)
            return np.where(worse[:, None], moved, x)

        x, y = data.x_train.astype(float), data.t_train[:, 0].astype(float)
        bad = attacked(x, y, w)
        right = np.mean(y * f(bad, w) > 0)
        # d/dw of the sum over the batch of log(1 + exp(-y f))
        pull = -y / (1 + np.exp(y * f(bad, w)))
        gradient = bad.T @ (pull[:, None] * (bad @ w > 0) * a) / 7**0.5
        step = -0.3 * gradient
        norms = np.linalg.norm(step, axis=0)
        limit = 0.1 / 7**0.5
        assert norms.max() > limit  # the projection has work to do
        new = w + step * np.minimum(1, limit / np.maximum(norms, 1e-9))
        x, y = data.x_test.astype(float), data.t_test[:, 0].astype(float)
        clean = y * f(x, new) > 0
        stands = clean & (y * f(attacked(x, y, new), new) > 0)
        at = found.sel(seed=seed)
        assert float(at["train_robust"]) == pytest.approx(right)
        assert float(at["accuracy"]) == pytest.approx(clean.mean())
        assert float(at["robust_accuracy"]) == pytest.approx(stands.mean())
        moved = np.linalg.norm(new - w, axis=0).max() * 7**0.5
        assert float(at["moved"]) == pytest.approx(moved, rel=1e-4)
    assert float(found["learning_rate"]) == pytest.approx(0.3 * 12)


def test_no_other_program_for_another_radius():
    from widelimit.attacks import PGD

    traced = []

    class Counting(Sequential):
        def __call__(self, params, x):
            traced.append(len(x))
            return super().__call__(params, x)

    network = Counting(wang2022_network(width=5).layers)
    data = data_of(CONFIG | {"scale": "unit"})
    ends = []
    for radius, ball in ((0.1, 0.3), (0.2, 0.3), (0.2, 0.01)):
        run = train_lazily(
            CONFIG | {"learning_rate": 0.1, "width": 5}, data, [0], network=network,
            adversary=PGD(radius=radius, steps=2), project=ball, patience=2,
        )  # fmt: skip
        ends.append(np.asarray(run.trained.params[0]["weight"]))
        count = len(traced) if len(ends) == 1 else count
    assert len(traced) == count > 0
    assert not np.array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[1], ends[2])


def test_half_the_distance_of_the_classes():
    data = data_of(CONFIG | {"scale": "unit"})
    expected = [
        min(
            math.dist(x, z)
            for z, other in zip(data.x_test, data.y_test, strict=True)
            if other != label
        )
        for x, label in zip(data.x_test, data.y_test, strict=True)
    ]
    assert separation(data) == pytest.approx(np.median(expected) / 2, rel=1e-6)


def test_the_ball_of_a_point():
    assert ball_radius({"constant": 10.0, "width": 400}) == 0.5
    assert ball_radius({"constant": 0.0, "width": 400}) is None
    assert ball_radius({"deviation": 0.3, "constant": 1.0, "width": 4}) == 0.3


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("robust-dimension", {"constant": 0}, "constant"),
        ("robust-dimension", {"radii": "0.1,0"}, "radii"),
        ("robust-deviation", {"deviations": "-0.1"}, "deviations"),
        ("robust-distance", {"constants": "5,1"}, "rise"),
        ("robust-dimension", {"sides": "0"}, "sides"),
        ("robust-distance", {"constants": "-1,1"}, "constants"),
        ("robust-distance", {"rule": "sideways"}, "rule"),
        ("robust-distance", {"classes": "1,1"}, "classes"),
    ],
)
def test_bad_settings_are_named(name, change, message):
    with pytest.raises(ValueError, match=message):
        STUDIES[name].configure("quick", change)


def test_what_does_not_fit_is_refused():
    big = STUDIES["robust-dimension"].configure("quick", {"widths": "1000000000"})
    with pytest.raises(ValueError, match="one seed of"):
        check_robust(big)
    rows = STUDIES["robust-dimension"].configure("quick", {"batch_size": 2000})
    with pytest.raises(ValueError, match="batch_size"):
        check_robust(rows)
