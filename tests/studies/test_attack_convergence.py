"""`attack-convergence`: its claims on drawn numbers, its trial on a tiny network."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, run_study
from widelimit.studies.attack_convergence_trial import flip_with_more_steps

STUDY = STUDIES["attack-convergence"]
drawn_as = {"power": -0.5, "gain": 1.3, "late": 1.001}


def drawn(config, report):
    """Distances as a power of the dimension; gains that stop at the last but one."""
    steps = config["attack_steps"]
    rng = np.random.default_rng(config["side"])
    noise = np.exp(1e-4 * rng.normal(size=(len(config["seeds"]), len(steps) + 1)))
    gains = np.full(len(steps) + 1, drawn_as["gain"])
    gains[0], gains[-1] = 1, gains[-1] * drawn_as["late"]
    median = noise * config["side"] ** (2 * drawn_as["power"]) / gains
    per, nothing = ("seed", "attack"), np.zeros_like(median)
    return xr.Dataset(
        {
            "median": (per, median),
            "mean": (per, median),
            "factor": (per, noise * gains),
            "censored": (per, nothing),
            "compared": (per, nothing + 1),
            "farther": (per, nothing),
            "accuracy": ("seed", np.ones(len(noise))),
            "left_at": ("seed", np.ones(len(noise), int)),
            "diverged_at": ("seed", np.zeros(len(noise), int)),
            "features": config["side"] ** 2,
            "rows": config["attack_rows"],
        },
        {"seed": config["seeds"], "attack": ["flip", *map(str, steps)]},
        {n: config[n] for n in ("data", "c_0", "restarts", "max_distance",
                                "tolerance")},
    )  # fmt: skip


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "power", -0.1)
        monkeypatch.setitem(drawn_as, "gain", 0.9)
        monkeypatch.setitem(drawn_as, "late", 1.2 / 0.9)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"attack_steps": "1,10,100"},
        progress=SilentProgress(),
    )
    claims = {claim.name: claim for claim in found.claims()}
    case = "unit,m=512]"
    powers = [f"power[{n},{case}" for n in ("flip", "1", "10", "100")]
    holds = {name: claim.holds for name, claim in claims.items()}
    assert holds == {name: agrees for name in powers} | {
        f"enough[{case}": agrees,
        f"lower[{case}": True,  # 0.9 * 1.2 / 0.9 = 1.2
    }
    factor = 1.3 * 1.001 if agrees else 1.2
    assert f"{factor:.3f} [" in claims[f"lower[{case}"].detail
    (figure,) = found.figures()
    assert [len(panel.curves) for panel in figure.panels] == [5, 3]
    assert figure.panels[0].curves[0].x == [16, 36, 64]


@pytest.mark.slow
def test_the_trial_counts_and_compares():
    config = {
        "data": "digits", "classes": (0, 1), "scale": "unit", "side": 4, "width": 16,
        "c_0": 10.0, "train_rows": 60, "test_rows": 40, "attack_rows": 12,
        "epochs": 4, "batch_size": 20, "learning_rate": 0.1, "attack_steps": (1, 8),
        "restarts": 2, "max_distance": 0.15, "tolerance": 0.01, "seeds": [3, 5],
    }  # fmt: skip
    shares = []
    found = flip_with_more_steps(config, shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert found["attack"].values.tolist() == ["flip", "1", "8"]
    flip, one, many = (found.sel(attack=n) for n in ("flip", "1", "8"))
    np.testing.assert_array_equal(flip["factor"], 1)
    assert (flip["farther"] == 0).all() and (flip["censored"] > 0).any()
    # The single step is the flip along the gradient, up to a later crossing.
    np.testing.assert_allclose(one["factor"], 1, rtol=0.02)
    assert (many["mean"] <= flip["mean"] * 1.01).all()
    assert (many["censored"] <= flip["censored"]).all()
    assert found["accuracy"].dims == found["left_at"].dims == ("seed",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack_steps": "10,1"}, "attack_steps must be two"),
        ({"attack_steps": "1"}, "must be two at least"),
        ({"tolerance": "1"}, "less than 1"),
        ({"classes": "1,1"}, "classes must be two"),
        ({"max_distance": "0"}, "greater than 0"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        STUDY.configure("quick", change)
