"""`attack-convergence`: its claims on drawn numbers, its trial on a tiny network."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Array, Float, Int

from widelimit.attacks.flip import AbstractFlips, FlipStatus
from widelimit.report.chart import panel_spec
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, run_study
from widelimit.studies.attack_convergence_trial import _numbers, flip_with_more_steps

STUDY = STUDIES["attack-convergence"]
drawn_as = {"power": -0.5, "gain": 1.3, "late": 1.001, "hidden": ()}


class SmallFlips(AbstractFlips):
    """Distances alone."""

    distance: Float[Array, " n"]
    input_norm: Float[Array, " n"]
    status: Int[Array, " n"]


def drawn(config, report):
    """Distances as a power of the dimension; gains that stop at the last but one."""
    steps = config["attack_steps"]
    rng = np.random.default_rng(config["side"])
    noise = np.exp(1e-4 * rng.normal(size=(len(config["seeds"]), len(steps) + 1)))
    gains = np.full(len(steps) + 1, drawn_as["gain"])
    gains[0], gains[-1] = 1, gains[-1] * drawn_as["late"]
    median = noise * config["side"] ** (2 * drawn_as["power"]) / gains
    per, nothing = ("seed", "attack"), np.zeros_like(median)
    factor, share = noise * gains, nothing
    if config["side"] in drawn_as["hidden"]:
        median, factor, share = nothing + np.nan, nothing + np.nan, nothing + 1
    return xr.Dataset(
        {
            "median": (per, median),
            "mean": (per, nothing + 1),
            "factor": (per, factor),
            "censored": (per, share),
            "compared": (per, 1 - share),
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


@pytest.mark.parametrize("hidden", [(8,), (4, 6, 8)])
def test_inputs_that_do_not_flip_leave_claims_open(tmp_path, monkeypatch, hidden):
    monkeypatch.setitem(drawn_as, "hidden", hidden)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"attack_steps": "1,10,100"},
        progress=SilentProgress(),
    )
    for claim in found.claims():
        assert claim.holds is None and "nan" not in claim.detail, claim
        some = claim.name.startswith("enough") and len(hidden) == 1
        assert ("over the measured" if some else "not measured") in claim.detail
    (figure,) = found.figures()
    medians, gains, shares = figure.panels
    x = [(row["x"], row["kind"]) for row in medians.curves[-1].rows()]
    seen = [d for d in (16, 36) if len(hidden) == 1]
    assert x == [(d, "theory") for d in (*seen, 64) if seen]
    assert [row["x"] for row in medians.curves[0].rows()] == seen
    assert [bool(curve.rows()) for curve in gains.curves][-1] is False
    assert [curve.series for curve in shares.curves][:2] == ["flip", "  1 step"]
    spec = panel_spec(shares, name="shares")
    scales = [layer["encoding"]["y"]["scale"] for layer in spec["layer"]]
    assert all(scale["domain"] == [0.0, 1.0] for scale in scales)
    for panel in figure.panels:
        panel_spec(panel, name="drawn")


@pytest.mark.parametrize(("far", "median"), [(1, 0.2), (2, np.nan), (3, np.nan)])
def test_a_median_is_known_where_most_flip(far, median):
    status = [FlipStatus.FLIPPED] * (3 - far) + [FlipStatus.CENSORED] * far
    flip = SmallFlips(
        jnp.array([0.1, 0.2, 0.5] if far == 1 else [0.1, 0.5, 0.5]),
        jnp.ones(3),
        jnp.array(status),
    )
    found = _numbers(flip, flip, 0.01)
    assert found["median"] == pytest.approx(median, nan_ok=True)
    assert found["censored"] == pytest.approx(far / 3)
    assert found["factor"] == pytest.approx(1 if far < 3 else np.nan, nan_ok=True)


def test_as_many_rows_are_attacked_as_there_are():
    STUDY.check(STUDY.configure("quick"))
    settings = STUDY.configure("quick", {"test_rows": "39"})
    with pytest.raises(ValueError, match=r"attack_rows=40` and 39 test.*Set a smaller"):
        STUDY.check(settings)


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
