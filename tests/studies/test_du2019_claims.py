"""Claims of `linear-convergence` and `gram-stability`, on numbers that are drawn."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from widelimit.runs import SilentProgress
from widelimit.studies import read_outcome, run_study
from widelimit.studies.du2019_rates import since
from widelimit.studies.gram_stability import GRAM_STABILITY
from widelimit.studies.linear_convergence import LINEAR_CONVERGENCE
from widelimit.studies.powers import near, powers
from widelimit.studies.verdicts import every_seed

ETA, LAMBDA_0, STEPS = 0.1, 0.02, 30
GOOD = {"rate": 0.01, "least": 0.8, "start": -0.5, "change": -0.5, "moved": -0.5}
BAD = {"rate": 0.0005, "least": 0.3, "start": -0.1, "change": -0.1, "moved": -1.0}
level = dict(GOOD)
"""What the trial draws: rate of the loss, lambda_min over lambda_0, powers of m."""


def drawn(config, report):
    """One trial, with a little noise for every seed."""
    seeds, width = config["seeds"], config["width"]
    steps = np.arange(config["steps"] + 1)
    rng = np.random.default_rng([width, config["depth"], len(seeds)])
    noise = np.exp(0.01 * rng.normal(size=(len(seeds), 1)))
    loss = 3.0 * noise * np.exp(-level["rate"] * noise * steps)
    size = 1000.0 if level["start"] == GOOD["start"] else 1.0
    per_step, grown = ("seed", "step"), steps / steps[-1]
    change = noise * width ** level["change"] * grown * 0.1 / size
    moved = noise * width ** level["moved"] * grown
    return xr.Dataset(
        {
            "loss": (per_step, loss),
            "margin": (per_step, np.zeros_like(loss)),
            "smallest": (per_step, level["least"] * LAMBDA_0 * noise + 0 * loss),
            "change": (per_step, change),
            "smallest_total": (per_step, 0.02 * noise + 0 * loss),
            "linear_loss": (per_step, loss * (1.2 if level is GOOD else 1.0)),
            "movement": (
                (*per_step, "layer"),
                np.stack([moved * (1 + h) for h in range(config["depth"])], -1),
            ),
            "initial_error": ("seed", noise[:, 0] * width ** level["start"] / size),
            "diverged_at": ("seed", np.zeros(len(seeds), dtype=np.int32)),
            "lambda_0": LAMBDA_0,
            "gram_norm": 2.0,
            "separation": 0.1,
            "branch_separation": 1.0,
            "step_size": ETA,
            "ntk_smallest": 0.02,
            "ntk_largest": 10.0,
            "required_width": 1e20,
            "required_step": 1e-7,
        },
        {"seed": seeds, "step": steps, "layer": np.arange(1, config["depth"] + 1)},
    )


def diverging(config, report):
    """The last seed is lost from step 3 on."""
    values = drawn(config, report)
    lost = (values["seed"] == config["seeds"][-1]) & (values["step"] >= 3)
    for name in ("loss", "smallest", "change", "smallest_total", "movement"):
        values[name] = values[name].where(~lost)
    values["diverged_at"][-1] = 3
    return values


def failing_in_part(config, report):
    if config["width"] == 256:
        raise ArithmeticError("no number here")
    return drawn(config, report)


def outcome(study, directory, trial="drawn", **changes):
    small = {
        "architectures": "fully-connected,resnet:1",
        "depths": "2,3",
        "widths": "16,64,256",
        "steps": STEPS,
        "seeds": 4,
    }
    one = dataclasses.replace(study, trial=f"{__name__}:{trial}", check=None)
    return run_study(one, directory, changes=small | changes, progress=SilentProgress())


def verdicts(found):
    claims = found.claims()
    assert len({c.name for c in claims}) == len(claims)
    for claim in claims:
        data = claim.to_dict()
        assert data["statement"] and data["detail"]
        if claim.holds is not None:
            assert abs(claim.statistic) > claim.uncertainty
            assert (claim.statistic > 0) is claim.holds
    for figure in found.figures():
        assert len(figure.panels) == 3
        for panel in figure.panels:
            assert len(panel.title) < 45
            for curve in panel.curves:
                for row in curve.rows():
                    numbers = [v for v in row.values() if isinstance(v, float)]
                    assert np.isfinite(numbers).all()
    return {claim.name: claim.holds for claim in claims}


NAMES = {
    "linear-convergence": {
        "condition-6.1": False,
        "smallest-eigenvalue": False,
        "rate": False,
        "rate-of-all-layers": False,
        "linearised": True,  # drawn alike in either case
    },
    "gram-stability": {
        "start": False,
        "change": False,
        "change-no-faster": False,
        "movement": False,
        "start-in-reach": False,
        "change-in-reach": False,
    },
}
STUDIES = [LINEAR_CONVERGENCE, GRAM_STABILITY]
pytestmark = pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)


def stem(name):
    return name.partition("[")[0]


def test_claims_find_what_was_drawn(study, tmp_path):
    found = outcome(study, tmp_path)
    answers = verdicts(found)
    assert set(map(stem, answers)) == set(NAMES[study.name])
    assert len(answers) == 4 * len(NAMES[study.name])  # architectures, depths
    assert set(answers.values()) == {True}
    assert found.figures()


def test_claims_are_refuted_by_the_opposite(study, tmp_path, monkeypatch):
    for name, value in BAD.items():
        monkeypatch.setitem(level, name, value)
    answers = verdicts(outcome(study, tmp_path))
    assert {stem(n): holds for n, holds in answers.items()} == NAMES[study.name]


def test_one_seed_or_one_width_decides_nothing_about_powers(study, tmp_path):
    assert set(verdicts(outcome(study, tmp_path / "a", seeds=1)).values()) == {None}
    answers = verdicts(outcome(study, tmp_path / "b", widths="64"))
    for name, holds in answers.items():
        slope = study is GRAM_STABILITY and "in-reach" not in name
        assert holds is (None if slope else True)


def test_missing_trials_leave_their_claims_open(study, tmp_path):
    found = outcome(study, tmp_path, "failing_in_part")
    assert found.missing == 4
    # The widest is missing, and no power is known without it.
    assert set(verdicts(found).values()) == {None}
    whole = outcome(study, tmp_path / "whole")
    for record in whole.records:
        if record.config["architecture"] == "resnet:1":
            (tmp_path / "whole" / "trials" / f"{record.key}.json").unlink()
    part = read_outcome(tmp_path / "whole", study=whole.study)
    for name, holds in verdicts(part).items():
        assert holds is (None if "resnet" in name else True)


def test_a_diverged_seed_denies_every_seed_but_no_mean(study, tmp_path):
    answers = verdicts(outcome(study, tmp_path, "diverging"))
    for name, holds in answers.items():
        mean = study is GRAM_STABILITY or "linearised" in name
        assert holds is (True if mean else None)


# Small things


def test_powers_and_their_distances(study):
    x = np.array([2.0, 8.0, 32.0])
    rows = np.stack([3 * x**-0.5, 0.1 * x**-0.9])
    found = powers(xr.DataArray(rows, {"width": x}, ("seed", "width")), "width")
    np.testing.assert_allclose(found, [-0.5, -0.9])
    groups = near(found, -0.5)
    np.testing.assert_allclose(groups["above"], [0.25, -0.15])
    np.testing.assert_allclose(groups["below"], [0.25, 0.65])


def test_every_seed_must_agree(study):
    assert every_seed(np.array([1.0, 1.1, 0.9]))[1] is True
    assert every_seed(np.array([10.0, 11.0, 10.5, 10.2, 10.4, -0.1]))[1] is None
    assert every_seed(np.array([1.0, 1.1, 0.9, np.nan]))[1] is None
    assert every_seed(np.array([-1.0, -1.1, -0.9]))[1] is False


def test_since_names_the_width(study):
    widths = np.array([8, 16, 32])
    fine, poor = np.ones(3), np.array([1.0, -1.0, 1.0])
    assert since(np.stack([fine, fine]), widths).endswith("width 8 on")
    assert since(np.stack([fine, poor]), widths).endswith("width 32 on")
    assert since(np.stack([fine, -fine]), widths) == "so for 1 of 2 seeds"
    assert since(np.stack([fine, fine * np.nan]), widths) == "so for 1 of 2 seeds"
