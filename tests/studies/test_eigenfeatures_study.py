"""`eigenfeatures`: its claims on drawn numbers, its trial against dense matrices."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from arcsine_ntk import jacobian_ntk

from widelimit.activations import Erf
from widelimit.datasets import Table, prepare_table
from widelimit.kernels import Verdict
from widelimit.networks import kim2023_network
from widelimit.prediction import robust_flow
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, eigenfeatures_trial, run_study
from widelimit.studies.eigenfeatures_claims import correlation, fisher
from widelimit.studies.eigenfeatures_trial import (
    DRAWN,
    depth_of,
    perturbed,
    usefulness,
)

STUDY = STUDIES["eigenfeatures"]
SONAR = "sonar"
drawn_as = {"agrees": True}


def drawn(config, report):
    """Correlations that regularisation raises, and no fragile feature; or the other."""
    lam, agrees = config["regularization"], drawn_as["agrees"]
    n = len(config["seeds"])
    noise = 0.01 * np.random.default_rng(1).normal(size=n)
    r = 0.8 + noise if (lam > 0) is agrees else -0.3 + noise
    one = np.ones((n, 3))
    gap = np.array([0.0, 0.01, 0.05 if agrees else 0.5])
    under = np.array([0.9, 0.88, 0.8 if (lam > 0) is agrees else 0.6])
    over = ("seed", "strength")
    return xr.Dataset(
        {
            "predictor": (over, under + noise[:, None]),
            "correlation": (over, np.stack([one[:, 0], r, r], axis=1)),
            "high": (over, 2 * one),
            "lost": (over, gap + np.abs(noise)[:, None]),
            "gained": (over, gap + np.abs(noise)[:, None]),
            "moved": (over, one * [0.0, 0.02, 0.2]),
            "features": ("seed", np.full(n, 40)),
            "resolved": ("seed", np.full(n, True)),
            "feature_accuracy": (
                (*over, "feature"),
                np.full((n, 3, DRAWN), 0.75),
            ),
            "eigenvalue": (("seed", "feature"), np.ones((n, DRAWN))),
            "depth": 3,
            "train_rows": 30,
            "test_rows": 10,
            "table_rows": 208,
        },
        {
            "seed": config["seeds"],
            "strength": [0.0, *config["strengths"]],
            "feature": range(DRAWN),
        },
    )


def outcome(directory, **changes):
    small = {"tables": SONAR, "activations": "erf", "seeds": 3}
    return run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        directory,
        changes=small | changes,
        progress=SilentProgress(),
    )


NAMES = (
    "robust-aligned",
    "more-aligned-0.01",
    "more-aligned-0.1",
    "none-accurate-but-fragile",
    "none-robust-but-inaccurate",
    "predictor-more-robust",
)


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    monkeypatch.setitem(drawn_as, "agrees", agrees)
    found = outcome(tmp_path)
    holds = {claim.name: claim.holds for claim in found.claims()}
    assert holds == {f"{name}[{SONAR},erf]": agrees for name in NAMES}
    pairs, over_lambda = found.figures()
    assert [len(f.panels) for f in (pairs, over_lambda)] == [4, 2]
    assert all(not panel.joined for panel in pairs.panels)
    first = over_lambda.panels[0].curves[0]
    assert first.y[0] == pytest.approx(0.8 if agrees else -0.3, abs=0.02)
    assert all("Depth 3; 30 training and 10 test" in c.detail for c in found.claims())


def test_without_accurate_features_nothing_is_said_of_them(tmp_path):
    found = outcome(tmp_path)
    results = found.results.assign(high=0 * found.results["high"])
    found = dataclasses.replace(found, results=results)
    open_ones = {c.name.split("[")[0] for c in found.claims() if c.holds is None}
    assert open_ones == {"none-accurate-but-fragile", "none-robust-but-inaccurate"}


def test_missing_trials_leave_claims_open(tmp_path):
    found = outcome(tmp_path)
    gone = found.results["regularization"] == 0
    results = found.results.copy()
    for name in ("correlation", "predictor", "high", "lost", "gained", "features"):
        results[name] = results[name].astype(float).where(~gone)
    found = dataclasses.replace(found, results=results)
    holds = {c.name.split("[")[0]: c.holds for c in found.claims()}
    assert holds["robust-aligned"] and holds["more-aligned-0.1"] is None
    assert len(found.figures()) == 2


def test_intervals_of_correlations_are_fishers(tmp_path):
    found = outcome(tmp_path, seeds=3).results.sel(table=SONAR, activation="erf")
    r = found["correlation"].sel(regularization=1.0, strength=0.1).values
    z = np.log((1 + r) / (1 - r)) / 2
    measured = correlation(found, 1.0, 0.1)
    assert measured.mean == pytest.approx(z.mean())
    width = 4.302652729911275 * z.std(ddof=1) / math.sqrt(3)  # Student's, 2 degrees
    assert measured.half_width == pytest.approx(width)
    assert np.isfinite(fisher(np.array([1.0, -1.0]))).all()


def little_table(table, activation):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20, 2))
    labels = (x @ [1.0, -0.5] + 0.5 * rng.normal(size=20) > 0).astype(np.int64)
    return prepare_table(Table(table, x, labels, ("a", "b"), ("no", "yes")))


CONFIG = {
    "table": SONAR, "activation": "erf", "size": 18, "threshold": 1e-6, "seeds": [0, 1],
    "regularization": 0.04, "strengths": [0.01, 0.1], "attack": "squared",
    "test_share": 0.3, "depth": 2, "criterion": "threshold", "max_depth": 4,
}  # fmt: skip


@pytest.mark.parametrize("lam", [0.04, 0.0])
def test_the_trial_against_dense_matrices(monkeypatch, lam):
    monkeypatch.setattr(eigenfeatures_trial, "prepared", little_table)
    shares = []
    found = usefulness({**CONFIG, "regularization": lam}, shares.append)
    assert shares == [0.5, 1.0]
    sizes = {n: int(found[n]) for n in ("depth", "train_rows", "test_rows")}
    assert sizes == {"depth": 2, "train_rows": 6, "test_rows": 6}
    table = little_table(SONAR, "erf")
    for seed in range(2):
        order = np.random.default_rng((1, seed)).permutation(20)
        test, train = order[:6], order[6:12]
        x, y, t = table.x[train], table.t[train, 0], table.t[test, 0]
        scale = np.tile([1.0, math.sqrt(lam), math.sqrt(lam)], 6)
        targets = np.tile([1.0, 0.0, 0.0], 6)
        targets[::3] = y
        keep = slice(None) if lam else slice(None, None, 3)
        gram = (scale[:, None] * jacobian_ntk(x, x, 2) * scale)[keep, keep]
        mu, v = np.linalg.eigh(gram)
        mu, v = mu[::-1], v[:, ::-1]

        def standard(z, x=x, y=y):
            return jacobian_ntk(z, x, 2)[::3, ::3] @ np.linalg.solve(
                jacobian_ntk(x, x, 2)[::3, ::3], y
            )

        rights = []
        for strength in (0.0, 0.01, 0.1):
            z = table.x[test]
            step = 1e-5 * np.eye(2)
            slopes = [(standard(z + e) - standard(z - e)) / 2e-5 for e in step]
            z = z + strength * ((standard(z) - t) * np.array(slopes)).T
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            row = (jacobian_ntk(z, x, 2)[::3] * scale)[:, keep]
            features = (row @ v) / mu * (v.T @ targets[keep])
            rights.append(np.mean(np.sign(features) == t[:, None], axis=0))
            total = np.mean(np.sign(features.sum(axis=1)) == t)
            at = found.sel(seed=seed, strength=strength)
            assert float(at["predictor"]) == pytest.approx(total)
            moved = np.linalg.norm(z - table.x[test], axis=1).mean()
            assert float(at["moved"]) == pytest.approx(moved, rel=1e-4)
            accuracies = at["feature_accuracy"].values[: len(mu)]
            np.testing.assert_allclose(accuracies, rights[-1])
            r = np.corrcoef(rights[0], rights[-1])[0, 1]
            assert float(at["correlation"]) == pytest.approx(r)
            clean = rights[0]
            assert int(at["high"]) == np.sum(rights[-1] >= 0.8)
            lost = (clean - rights[-1])[clean >= 0.8]
            assert float(at["lost"]) == pytest.approx(max([0.0, *lost]))
            gained = (rights[-1] - clean)[rights[-1] >= 0.8]
            assert float(at["gained"]) == pytest.approx(max([0.0, *gained]))
        assert int(found["features"].sel(seed=seed)) == len(mu)
        found_mu = found["eigenvalue"].sel(seed=seed).values[: len(mu)]
        np.testing.assert_allclose(found_mu, mu, rtol=1e-6, atol=1e-11)


def test_eigenvalues_that_rounding_hides_are_left_out(monkeypatch):
    monkeypatch.setattr(eigenfeatures_trial, "prepared", little_table)
    config = {**CONFIG, "regularization": 1e-6, "depth": 1, "size": None, "seeds": [0]}
    found = usefulness(config, lambda share: None)
    count = int(found["features"][0])
    assert not bool(found["resolved"][0]) and 14 < count < 42
    mu = found["eigenvalue"][0].values
    assert np.isfinite(mu).sum() == count
    assert np.nanmin(mu) > 42 * np.finfo(float).eps * mu[0]
    assert np.isfinite(found["predictor"]).all()


@pytest.mark.parametrize("attack", ["margin", "unit"])
def test_other_steps(attack):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    network = kim2023_network(depth=1, width=1, activation=Erf())
    flow = robust_flow(network, x[:4], np.array([1.0, -1, 1, -1]), regularization=0.0)
    y = np.array([1.0, -1.0])
    moved = perturbed(flow, x[4:], y, 0.05, attack)
    slopes = np.stack(
        [(flow.at(x[4:] + e).values - flow.at(x[4:] - e).values) / 2e-5
         for e in 1e-5 * np.eye(3)], axis=1)  # fmt: skip
    if attack == "unit":
        slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    expected = x[4:] - 0.05 * y[:, None] * slopes
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(moved, expected, atol=1e-8)
    assert (y * flow.at(moved).values < y * flow.at(x[4:]).values).all()


def test_the_depth_is_searched_for(monkeypatch):
    known = {1: (2e-7, False), 2: (9e-7, True), 3: (2e-6, True)}
    asked = []

    def spectrum(depth, x, **options):
        asked.append((depth, x.shape))
        least, holds = known.get(depth, (0.0, False))
        verdict = Verdict.HOLDS if holds else Verdict.UNRESOLVED
        return SimpleNamespace(min=least, verdict=verdict)

    monkeypatch.setattr(eigenfeatures_trial, "prepared", little_table)
    monkeypatch.setattr(eigenfeatures_trial, "network_of", lambda phi, depth: depth)
    monkeypatch.setattr(eigenfeatures_trial, "network_spectrum", spectrum)
    eigenfeatures_trial._found_depth.cache_clear()
    search = {**CONFIG, "depth": None}
    assert depth_of(search) == 3
    assert asked == [(depth, (6, 2)) for depth in (1, 2, 3)]
    assert depth_of(search) == 3 and len(asked) == 3  # remembered
    assert depth_of({**search, "criterion": "verdict"}) == 2
    with pytest.raises(
        ValueError, match="`eigenfeatures` needs .* none up to `max_depth=4` on"
    ):
        depth_of({**search, "threshold": 1.0})
    eigenfeatures_trial._found_depth.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("regularizations", "0.1,1", "begin with 0"),
        ("regularizations", "0,1,0.1", "rise"),
        ("strengths", "0.1,0.01", "rise"),
        ("attack", "fgsm", "attack"),
        ("tables", "iris", "known are"),
    ],
)
def test_settings_are_checked(name, value, message):
    with pytest.raises(ValueError, match=message):
        STUDY.configure(changes={name: value})
