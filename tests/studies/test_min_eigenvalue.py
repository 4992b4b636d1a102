"""`min-eigenvalue`: its claims on drawn numbers, its trial against dense matrices."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from arcsine_ntk import jacobian_ntk

from widelimit.datasets import Table, prepare_table
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, min_eigenvalue_trial, run_study
from widelimit.studies.kim2023_tables import drawn_rows, first_depth, relative_margin
from widelimit.studies.min_eigenvalue_trial import check_parts, smallest_eigenvalues

STUDY = STUDIES["min-eigenvalue"]
FIRES = "algerian-forest-fires"
drawn_as = {"law": "paper", "rows": 244}


def drawn(config, report):
    """Eigenvalues with first depths 11 and 6 at 1e-6, and error bounds of 1e-9."""
    depth, activation = config["depth"], config["activation"]
    first = {"gelu": 11, "erf": 6}[activation]
    value = 1e-6 * 3.0 ** (depth - first + 0.5)
    if drawn_as["law"] == "opposite":
        first = {"gelu": 6, "erf": 13}[activation]
        value = 1e-6 * 3.0 ** (first - depth)
    noise = np.exp(0.01 * np.random.default_rng(depth).normal(size=4))
    ntk = 1e5 * value if drawn_as["law"] == "paper" else value
    error = 1e-9 if drawn_as["law"] == "paper" else 1e-3
    whole = np.array([ntk, value])
    verdict = (whole > error).astype(int)
    per_part = ("kernel", "seed")
    return xr.Dataset(
        {
            "whole": ("kernel", whole),
            "whole_error": ("kernel", [error, error]),
            "whole_verdict": ("kernel", verdict),
            "largest": ("kernel", [1.0, 1.0]),
            "part": (per_part, whole[:, None] * noise),
            "part_error": (per_part, np.full((2, 4), error)),
            "part_verdict": (per_part, np.repeat(verdict[:, None], 4, axis=1)),
            "rows": drawn_as["rows"],
            "table_rows": 244,
            "part_rows": 61,
            "features": 11,
            "threshold": config["threshold"],
        },
        {"kernel": ["ntk", "jacobian-ntk"], "seed": config["seeds"]},
    )


@pytest.fixture(autouse=True)
def as_the_paper(monkeypatch):
    monkeypatch.setitem(drawn_as, "law", "paper")
    monkeypatch.setitem(drawn_as, "rows", 244)


def outcome(directory, **changes):
    return run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        directory,
        changes={"tables": FIRES} | changes,
        progress=SilentProgress(),
    )


def claims(directory, **changes):
    return {c.name: c for c in outcome(directory, **changes).claims()}


def test_claims_find_what_was_drawn(tmp_path):
    found = claims(tmp_path)
    both = {
        "holds-when-deep": True,
        "first-depth": True,
        "not-before": False,
        "ntk-positive": True,
        "jacobian-much-smaller": True,
        "rises-with-depth": True,
    }
    expected = {f"erf-above-gelu[{FIRES}]": True}
    for activation in ("gelu", "erf"):
        expected |= {f"{name}[{FIRES},{activation}]": v for name, v in both.items()}
    assert {name: claim.holds for name, claim in found.items()} == expected
    detail = found[f"holds-when-deep[{FIRES},gelu]"].detail
    # Found, not typed: 1e-6 * 3 ** (depth - 10.5) passes 1e-9 at depth 5.
    assert "it holds from depth 5 on by the computed verdict" in detail
    assert "above 1e-06 from depth 11 on" in detail
    assert "it cannot be resolved at 1, 2, 3, 4)" in detail
    assert "parts of 61 rows from depth 5 on, and from depth 11 on." in detail


def test_claims_are_refuted_by_the_opposite(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "law", "opposite")
    found = {name: claim.holds for name, claim in claims(tmp_path).items()}
    assert found == {
        f"erf-above-gelu[{FIRES}]": None,
        **{f"{name}[{FIRES},{activation}]": holds
           for activation, early in (("gelu", None), ("erf", False))
           for name, holds in {
               "holds-when-deep": None,  # within the error
               "first-depth": early,
               "not-before": early,
               "ntk-positive": False,
               "jacobian-much-smaller": False,
               "rises-with-depth": None,
           }.items()},
    }  # fmt: skip


def test_a_part_of_the_table_leaves_the_papers_depths_open(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "rows", 100)
    found = claims(tmp_path)
    for name in ("first-depth", "not-before"):
        claim = found[f"{name}[{FIRES},erf]"]
        assert claim.holds is None and "100 of 244 rows" in claim.detail


def test_figures_and_claims_of_a_run_with_gaps(tmp_path):
    found = outcome(tmp_path, depths="10,11")
    gone = next(r for r in found.records if r.config["activation"] == "erf")
    assert gone.config["depth"] == 10
    results = found.results.copy(deep=True)
    at = {"activation": "erf", "depth": 10}
    for name in ("whole", "whole_error", "whole_verdict", "part", "part_error"):
        results[name] = results[name].astype(float)
        results[name].loc[at] = np.nan
    whole = dataclasses.replace(found, results=results)
    [figure] = whole.figures()
    assert len(figure.panels) == 3
    assert "244" in figure.caption and "1e-06" in figure.caption
    holds = {claim.name: claim.holds for claim in whole.claims()}
    assert holds[f"first-depth[{FIRES},gelu]"] is True
    assert holds[f"first-depth[{FIRES},erf]"] is None


@pytest.mark.parametrize(
    ("holds", "expected"),
    [([0, 1, 1], 3), ([1, 0, 1], 5), ([1, 1, 0], None), ([1, 1, 1], 2)],
)
def test_first_depth_is_that_from_which_on_it_holds(holds, expected):
    assert first_depth([2, 3, 5], np.array(holds, bool)) == expected


def test_relative_margin():
    found = relative_margin(np.array([3.0, 1.0, -1.0, 0.0]), np.array([1.0, 3, 1, 2]))
    np.testing.assert_allclose(found, [0.5, -0.5, -1.0, -1.0])


def test_a_smaller_draw_begins_a_larger_one():
    large, small = drawn_rows(30, 4, 100), drawn_rows(30, 4, 52)
    assert len(large) == 20 and small.tolist() == large[:10].tolist()
    assert sorted(drawn_rows(30, 4, None)) == list(range(30))


def little_table(table, activation):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(13, 2))
    labels = np.arange(13, dtype=np.int64) % 2
    return prepare_table(Table(table, x, labels, ("a", "b"), ("no", "yes")))


def test_the_trial_against_automatic_differentiation(monkeypatch):
    monkeypatch.setattr(min_eigenvalue_trial, "prepared", little_table)
    config = {"table": FIRES, "activation": "erf", "depth": 2, "size": 30,
              "seeds": [0, 1, 2], "threshold": 1e-6}  # fmt: skip
    shares = []
    found = smallest_eigenvalues(config, shares.append)
    assert shares[-1] == 1.0
    x = little_table(FIRES, "erf").x[drawn_rows(13, 2, 30)]
    assert len(x) == int(found["rows"]) == 10 and int(found["part_rows"]) == 3
    dense = jacobian_ntk(x, x, 2)
    whole = found["whole"].values
    least = np.linalg.eigvalsh(dense)[0]
    np.testing.assert_allclose(whole[1], least, rtol=1e-6, atol=1e-12)
    least = np.linalg.eigvalsh(dense[::3, ::3])[0]
    np.testing.assert_allclose(whole[0], least, rtol=1e-8)
    for seed in range(3):
        rows = slice(9 * seed, 9 * seed + 9)
        least = np.linalg.eigvalsh(dense[rows, rows])[0]
        part = float(found["part"].sel(kernel="jacobian-ntk", seed=seed))
        np.testing.assert_allclose(part, least, rtol=1e-6, atol=1e-12)
    assert (found["whole_verdict"] == 1).all()


def test_too_many_parts_are_refused(monkeypatch):
    monkeypatch.setattr(min_eigenvalue_trial, "prepared", little_table)
    settings = STUDY.configure(changes={"tables": FIRES, "seeds": 7})
    with pytest.raises(
        ValueError,
        match="`min-eigenvalue` needs .* 13 rows for `size=1200`, and `seeds=7`",
    ):
        check_parts(settings)
    check_parts(STUDY.configure(changes={"tables": FIRES, "seeds": 6}))


def test_without_the_table_the_study_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path / "cache"))
    min_eigenvalue_trial.prepared.cache_clear()
    with pytest.raises(FileNotFoundError, match="widelimit data fetch"):
        run_study(STUDY, tmp_path / "out", progress=SilentProgress())


def test_settings_are_checked():
    for name, value in (("tables", "iris"), ("activations", "relu"), ("depths", "3,2")):
        with pytest.raises(ValueError, match=name):
            STUDY.configure(changes={name: value})
