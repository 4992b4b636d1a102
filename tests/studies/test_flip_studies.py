"""The flip studies: claims on drawn numbers, trials by hand, bad settings."""

import dataclasses
import math

import numpy as np
import pytest
import xarray as xr

from widelimit.datasets import Prepared
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, Histogram, flip_trial, memory, run_study
from widelimit.studies.flip_trial import flips_at_the_exit, rows_at_the_exit
from widelimit.studies.wang2022_problem import check_lazy, seed_groups

drawn_as = {
    "power": 1.0, "larger": 2.0, "accuracy": 1.0, "one_step": 1.0, "holds": 1.0,
    "left": 1.0,
}  # fmt: skip


def drawn(config, report):
    """Quantities that go with d, m and C_0 as the theorem has it, or not."""
    seeds, constants = config["seeds"], np.array(config["constants"])
    d, p = config["side"] ** 2, drawn_as["power"]
    rng = np.random.default_rng([d, config["width"]])
    noise = np.exp(0.01 * rng.normal(size=(len(constants), len(seeds))))
    grown = constants[:, None] ** math.log2(drawn_as["larger"]) * noise
    ones, dims = np.ones(grown.shape), ("constant", "seed")
    return xr.Dataset(
        {
            "relative": (dims, grown * d ** (-0.5 * p)),
            "relative_95": (dims, 2 * noise * d ** (-0.5 * p)),
            "gradient_norm": (dims, grown * d ** (0.5 * p)),
            "step": (dims, grown / d**p),
            "output": (dims, ones * config.get("depth", 1)),
            "b4": ("constant", 100 * constants),
            "b5": ("constant", constants),
            "test_rows": 10,
        }
        | {k: (dims, ones * drawn_as[k]) for k in ("accuracy", "one_step")}
        | {k: (dims, ones * drawn_as["holds"]) for k in ("b4_holds", "b5_holds")}
        | {k: (dims, noise) for k in ("moved", "possible", "changed", "output_max")}
        | {k: (dims, 0 * ones) for k in ("censored", "unresolved")}
        | {"left_at": (dims, ones * drawn_as["left"])},
        {"constant": constants, "seed": seeds},
        {"reach": config["reach"], "gamma": config["gamma"]},
    )


def outcome(name, directory, **changes):
    study = dataclasses.replace(STUDIES[name], trial=f"{__name__}:drawn", check=None)
    return run_study(study, directory, changes=changes, progress=SilentProgress())


WRONG = {"power": 0.0, "larger": 0.5, "accuracy": 0.9, "one_step": 0.5, "holds": 0.5}


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    for key, value in {} if agrees else WRONG.items():
        monkeypatch.setitem(drawn_as, key, value)
    found = outcome("flip-dimension", tmp_path)
    series = ["m=256,C0=5", "m=1024,C0=5", "m=1024,C0=10", "m=1024,C0=20"]
    names = ["relative", "gradient-norm", "step"]
    expected = [f"{n}[{s},{m}]" for s in ("unit", "raw") for m in series for n in names]
    expected += [
        f"{n}[{s}]"
        for s in ("unit", "raw")
        for n in (
            *("accuracy", "bounded", "one-step", "lemma-b4", "lemma-b5"),
            *(f"larger-ball-{name}" for name in names),
        )
    ]
    holds = {claim.name: claim.holds for claim in found.claims()}
    assert holds == dict.fromkeys(expected, agrees)
    assert len(found.figures()) == 6


def test_larger_balls_are_judged_where_the_smaller_was_left(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "left", 0.0)
    claims = outcome("flip-dimension", tmp_path).claims()
    larger = [c for c in claims if c.name.startswith("larger-ball")]
    assert len(larger) == 6
    assert all(c.holds is None and "none did" in c.detail for c in larger)


def test_deeper_networks_are_judged_alike(tmp_path):
    found = outcome("flip-depth", tmp_path)
    holds = {claim.name: claim.holds for claim in found.claims()}
    names = [f"{n}[unit,L={k}]" for k in (1, 2, 3, 5)
             for n in ("relative", "gradient-norm", "step")]  # fmt: skip
    names += [f"{n}[unit]" for n in ("accuracy", "bounded", "one-step")]
    assert {name: holds.pop(name) for name in names} == dict.fromkeys(names, True)
    assert holds.pop("deeper-output[unit]") is True  # drawn as the depth
    assert set(holds) == {"deeper-relative[unit]"}
    assert [len(f.panels) for f in found.figures()] == [3, 3]


def test_bands_of_accuracies_stay_below_one(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "accuracy", np.array([0.7, 0.99, 1.0]))
    _, training = outcome("flip-depth", tmp_path, seeds=3).figures()
    accuracy = training.panels[2]
    assert accuracy.title == "Test accuracy"
    for curve in accuracy.curves:
        assert 0.9 < min(curve.high) <= max(curve.high) < 1
        assert 0 < min(curve.low) < 0.7


def spread(config, report):
    """Flips that are Gaussian on unit rows, and exponential on raw ones."""
    rng = np.random.default_rng(0)
    size = (len(config["seeds"]), 4000)
    gaussian = config["scale"] == "unit"
    rows = rng.normal(5, 1, size) if gaussian else rng.exponential(1, size)
    seed = np.ones(size[0])
    return xr.Dataset(
        {
            **{k: (("seed", "row"), rows) for k in ("relative", "gradient_norm")},
            "step": (("seed", "row"), 0.045 * rows / np.median(rows)),
            "label": ("row", np.arange(4000) % 2),
            **{k: ("seed", seed) for k in ("accuracy", "left_at", "moved")},
            **{k: ("seed", 0 * seed) for k in ("censored", "unresolved")},
            "features": 64,
        },
        {"seed": config["seeds"], "row": np.arange(4000)},
        {"classes": ["0", "1"]},
    )


def test_histograms_know_a_gaussian(tmp_path):
    study = dataclasses.replace(
        STUDIES["flip-histogram"], trial=f"{__name__}:spread", check=None
    )
    changes = {"sides": "28", "widths": "100000"}
    found = run_study(study, tmp_path, changes=changes, progress=SilentProgress())
    at = "d=784,m=100000,C0=10"
    assert {claim.name: claim.holds for claim in found.claims()} == {
        f"{name}[{scale},{at}]": name == "step" or scale == "unit"
        for scale in ("unit", "raw")
        for name in ("gaussian-relative", "gaussian-gradient-norm", "gaussian-step",
                     "step")
    }  # fmt: skip
    panel = found.figures()[0].panels[0]
    assert isinstance(panel, Histogram)
    heights = np.sum([h for _, h in panel.bars], axis=0)
    np.testing.assert_allclose(np.sum(heights * np.diff(panel.edges)), 1)


def test_the_step_of_the_paper_is_judged_where_the_paper_names_it(tmp_path):
    study = dataclasses.replace(
        STUDIES["flip-histogram"], trial=f"{__name__}:spread", check=None
    )
    claims = run_study(study, tmp_path, progress=SilentProgress()).claims()
    steps = [claim for claim in claims if claim.name.startswith("step")]
    assert len(steps) == 2 and all(claim.holds is None for claim in steps)


def little_data(config):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(14, 4)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = (x[:, 0] > 0).astype(np.int64)
    t = (1.0 - 2.0 * y)[:, None].astype(np.float32)
    return Prepared(
        "drawn", x[:8], t[:8], y[:8], x[8:], t[8:], y[8:], ("0", "1"), (2, 2), "unit"
    )


CONFIG = {
    "data": "drawn", "classes": [0, 1], "scale": "unit", "side": 2, "width": 16,
    "epochs": 6, "batch_size": 4, "learning_rate": 0.5, "constants": [0.3, 50.0],
    "search": 4.0, "reach": 5.0, "gamma": 0.05, "train_rows": None, "test_rows": None,
    "seeds": [1, 4],
}  # fmt: skip


def first_flip(f, x, gradient, far):
    """The first change of sign on a fine grid, against the gradient's direction."""
    unit = gradient / np.linalg.norm(gradient)
    t = np.linspace(0, far, 20001)
    values = f(x - np.sign(f(x[None]))[0] * t[:, None] * unit)
    changed = np.flatnonzero(values * values[0] < 0)
    return t[changed[0]] if len(changed) else math.inf


@pytest.mark.slow
def test_the_trial_against_a_walk_along_the_gradient(monkeypatch):
    runs, real = [], flip_trial.train_lazily

    def kept(*args, **named):
        runs.append(real(*args, **named))
        return runs[-1]

    monkeypatch.setattr(flip_trial, "data_of", little_data)
    monkeypatch.setattr(flip_trial, "train_lazily", kept)
    found = flips_at_the_exit(CONFIG, lambda share: None)
    rows = rows_at_the_exit(CONFIG | {"constant": 0.3}, lambda share: None)
    data = little_data(CONFIG)
    steps = 2 * CONFIG["epochs"]
    assert np.all(found["left_at"].sel(constant=0.3) > 0)
    assert np.all(found["left_at"].sel(constant=50.0) == 0)
    assert int(found["steps"]) == steps
    for seed in CONFIG["seeds"]:
        at = found.sel(seed=seed, constant=0.3)
        initial, params = runs[0].seed(CONFIG["seeds"].index(seed))
        w0, w = (np.asarray(p[0]["weight"], float) for p in (initial, params))
        a = np.asarray(params[2]["signs"], float)[:, 0] / 4

        def f(x, w=w, a=a):
            return np.maximum(x @ w, 0) @ a

        x = data.x_test.astype(float)
        gradients = ((x @ w > 0) * a) @ w.T
        sizes = np.linalg.norm(gradients, axis=1)
        far = [first_flip(f, x[i], gradients[i], 4.0) for i in range(6)]
        relative = rows["relative"].sel(seed=seed).values
        known = np.isfinite(far)
        np.testing.assert_allclose(relative[known], np.array(far)[known], atol=3e-4)
        assert np.all(np.isnan(relative[~known]))
        assert float(at["censored"]) == np.mean(~known)
        np.testing.assert_allclose(at["gradient_norm"], np.median(sizes), rtol=1e-5)
        if known.sum() > 3:
            np.testing.assert_allclose(at["relative"], np.median(far), atol=3e-4)
        if known.all():
            np.testing.assert_allclose(at["relative_95"], np.max(far), atol=3e-4)
        assert float(at["b5_holds"]) == np.mean(np.abs(f(x)) <= float(at["b5"]))
        assert float(at["unresolved"]) == 0
        step = 5 / math.sqrt(4) * np.sign(f(x))[:, None] * gradients / sizes[:, None]
        flipped = f(x - step) * f(x) < 0
        assert float(at["one_step"]) == np.mean(flipped)
        right = f(x) * data.t_test[:, 0] > 0
        assert float(at["accuracy"]) == np.mean(right)
        moved = np.linalg.norm(w - w0, axis=0).max() * 4
        np.testing.assert_allclose(at["moved"], moved, rtol=1e-4)
        assert moved <= 0.3
        np.testing.assert_allclose(at["output_max"], np.abs(f(x)).max(), rtol=1e-4)
        near = np.abs(x @ w0) <= 0.3 / 4
        assert float(at["possible"]) == near.sum(axis=1).mean()
        bound = 0.3 * 4 + math.sqrt(8 * math.log(20))
        np.testing.assert_allclose(at["b4"], bound, rtol=1e-6)
        assert float(at["b4_holds"]) == np.mean(near.sum(axis=1) <= bound)
        changed = ((x @ w > 0) != (x @ w0 > 0)).sum(axis=1).mean()
        assert float(at["changed"]) == changed


@pytest.mark.slow
def test_a_ball_that_was_not_left_is_not_trained_for_again(monkeypatch):
    monkeypatch.setattr(flip_trial, "data_of", little_data)
    trained, real = [], flip_trial.train_lazily

    def counted(*args, constant, **named):
        trained.append(constant)
        return real(*args, constant=constant, **named)

    monkeypatch.setattr(flip_trial, "train_lazily", counted)
    config = CONFIG | {"constants": [0.3, 50.0, 60.0]}
    found = flips_at_the_exit(config, lambda share: None)
    assert trained == [0.3, 50.0]
    last, before = (found.sel(constant=c) for c in (60.0, 50.0))
    assert np.array_equal(last["relative"], before["relative"])
    assert float(last["b5"]) > float(before["b5"])


def test_seeds_of_deep_networks_take_turns(monkeypatch):
    monkeypatch.setattr(
        "widelimit.studies.wang2022_problem.device_memory", lambda: 2**30
    )
    assert seed_groups(range(4), 4, 256) == [[0, 1, 2, 3]]
    assert seed_groups(range(4), 4, 2048, 2) == [[0, 1], [2, 3]]
    assert seed_groups(range(2), 4, 2048, 9) == [[0], [1]]


def test_bad_settings_are_named(monkeypatch):
    study = STUDIES["flip-dimension"]
    with pytest.raises(ValueError, match="must rise"):
        study.configure("quick", {"constants": "10,5"})
    with pytest.raises(ValueError, match="greater than 0"):
        study.configure("quick", {"constants": "0"})
    with pytest.raises(ValueError, match="classes must be two"):
        study.configure("quick", {"classes": "1,1"})
    with pytest.raises(ValueError, match="must not exceed"):
        check_lazy(study.configure("quick", {"batch_size": "4000"}))
    monkeypatch.setattr(memory, "device_memory", lambda: 2**20)
    with pytest.raises(ValueError, match="Choose a smaller `widths`"):
        check_lazy(STUDIES["flip-depth"].configure("quick"))
