"""`gram-depth`: its claims on drawn numbers, and its trial on real rows."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import expit

from widelimit.kernels.gram import population_gram
from widelimit.networks.du2019 import du2019_fully_connected
from widelimit.runs import SilentProgress
from widelimit.studies import run_study
from widelimit.studies.du2019_depth_trial import check_rows, smallest_eigenvalues
from widelimit.studies.gram_depth import GRAM_DEPTH, chi

LAWS = {"fully-connected": "exponential", "resnet:1": "power"}
law = dict(LAWS)


def drawn(config, report):
    depth = config["depth"]
    rng = np.random.default_rng([depth, len(config["seeds"])])
    noise = np.exp(0.001 * rng.normal(size=len(config["seeds"])))
    kinds = {"exponential": chi() ** depth, "power": depth**-2.0, "flat": 1.0}
    return xr.Dataset(
        {
            "lambda_0": ("seed", 0.1 * noise * kinds[law[config["architecture"]]]),
            "error": ("seed", 1e-15 + 0 * noise),
            "separation": ("seed", noise),
            "branch_separation": 1.0,
        },
        {"seed": config["seeds"]},
    )


def verdicts(directory, **changes):
    small = {"architectures": ",".join(LAWS), "seeds": 3}
    found = run_study(
        dataclasses.replace(GRAM_DEPTH, trial=f"{__name__}:drawn", check=None),
        directory,
        changes=small | changes,
        progress=SilentProgress(),
    )
    assert len(found.figures()) == 1
    return {claim.name: claim.holds for claim in found.claims()}


def test_claims_find_what_was_drawn(tmp_path):
    assert verdicts(tmp_path) == {
        "exponential-not-power[fully-connected]": True,
        "factor-per-layer[fully-connected]": True,
        "inverse-square[resnet:1]": True,
        "power-not-exponential[resnet:1]": True,
    }


def test_claims_are_refuted_by_the_opposite(tmp_path, monkeypatch):
    monkeypatch.setitem(law, "fully-connected", "power")
    monkeypatch.setitem(law, "resnet:1", "exponential")
    assert set(verdicts(tmp_path).values()) == {False}


def test_two_depths_cannot_tell_a_power_from_an_exponential(tmp_path):
    for name, holds in verdicts(tmp_path, depths="2,8").items():
        assert holds is (None if "-not-" in name else True)


def test_chi_is_the_integral():
    def mean(f):
        density = lambda z: f(z) * np.exp(-(z**2) / 2)  # noqa: E731
        return quad(density, -30, 30, epsabs=1e-13)[0]

    softplus = lambda z: np.log1p(np.exp(z))  # noqa: E731
    expected = mean(lambda z: expit(z) ** 2) / mean(lambda z: softplus(z) ** 2)
    assert chi() == pytest.approx(expected, rel=1e-10)


def test_the_trial_takes_disjoint_rows():
    from sklearn.datasets import load_digits

    changes = {"architectures": "fully-connected", "depths": "2", "rows": 3, "seeds": 2}
    settings = GRAM_DEPTH.configure(changes=changes)
    check_rows(settings)
    [config] = GRAM_DEPTH.trials(settings)
    shares = []
    found = smallest_eigenvalues(config, shares.append)
    assert shares == [0.5, 1.0] and found["seed"].values.tolist() == [0, 1]
    # The rows, drawn as `prepare` says it does.
    images, labels = load_digits(return_X_y=True)
    chosen = np.flatnonzero(labels[:1437] <= 1)
    chosen = np.random.default_rng((0, 0)).permutation(chosen)[:6]
    x = images[chosen] / np.linalg.norm(images[chosen], axis=1, keepdims=True)
    for seed in range(2):
        rows = x[3 * seed : 3 * seed + 3]
        expected = population_gram(du2019_fully_connected(depth=2, width=1), rows)
        value = float(found["lambda_0"][seed])
        assert value == pytest.approx(expected.lambda_0, rel=1e-4)  # float32 pixels
        cosines = rows @ rows.T - np.eye(3)
        separation = float(found["separation"][seed])
        assert separation == pytest.approx(1 - cosines.max(), rel=1e-4)
