"""Studies through the store: what is there is kept, what is missing is undecided."""

import dataclasses
import math

import numpy as np
import pytest

import fake_studies
from fake_studies import FEATURES, OUTPUTS, OWN, TRAINED, WIDTHS, calls, study
from widelimit.runs import SilentProgress, Store
from widelimit.studies import STUDIES, Claim, Figure, Study, read_outcome, run_study

pytestmark = pytest.mark.usefixtures("no_calls")


@pytest.fixture
def no_calls():
    calls.clear()


def run(one, directory, **changes):
    return run_study(one, directory, changes=changes, progress=SilentProgress())


def verdicts(outcome):
    """Answers by claim; every claim and figure is complete and can be written."""
    claims = outcome.claims()
    names = [claim.name for claim in claims]
    assert len(set(names)) == len(names)
    for claim in claims:
        data = claim.to_dict()
        assert isinstance(claim, Claim) and data["statement"] and data["detail"]
        if claim.holds is not None:  # the number shown agrees with the verdict
            assert abs(claim.statistic) > claim.uncertainty
            assert (claim.statistic > 0) is claim.holds
    for figure in outcome.figures():
        assert isinstance(figure, Figure) and len(figure.panels) == 3
        for panel in figure.panels:
            for curve in panel.curves:
                for row in curve.rows():
                    numbers = [v for v in row.values() if isinstance(v, float)]
                    assert np.isfinite(numbers).all()
    return {claim.name: claim.holds for claim in claims}


CLAIMS = {
    "lazy-ratio": {
        "he-kappa-over-time",
        "he-kappa-shrinks-with-width",
        "non-lazy:2-kappa-over-time",
        "non-lazy:2-kappa-rises-then-falls",
        "non-lazy:2-kappa-above-he",
    },
    "stability-width": {
        "he-rises-then-falls",
        "he-below-lemma-5",
    },
    "stability-regime": {
        "non-lazy:1.5-below-he",
        "non-lazy:2-below-he",
        "non-lazy:1.5-falls-with-width",
        "non-lazy:2-falls-with-width",
        "non-lazy:1.5-learns",
        "non-lazy:2-learns",
    },
    "stability-depth": {
        f"{label}-{word}-with-depth-{when}-training"
        for label, word in [("he", "grows"), ("ntk", "grows"), ("lecun", "shrinks")]
        for when in ("before", "after")
    },
}


def stem(name):
    return name.partition("[")[0]


@pytest.mark.parametrize("name", TRAINED)
def test_claims_find_what_was_drawn(name, tmp_path):
    outcome = run(study(name), tmp_path)
    answers = verdicts(outcome)
    assert set(answers.values()) == {True}
    assert set(map(stem, answers)) == CLAIMS[name]
    for scale in ("unit", "raw"):
        assert sum(f"{scale}]" in claim for claim in answers) == len(answers) / 2
    assert outcome.missing == 0 and len(outcome.figures()) >= 2


@pytest.mark.parametrize("name", TRAINED)
def test_claims_are_refuted_by_the_opposite(name, tmp_path, monkeypatch):
    level = fake_studies.level

    def upside_down(config, epochs):
        stability, kappa = level(config, epochs)
        late = np.where(kappa > 0, 1 / np.where(kappa > 0, kappa, 1), 0.0)
        return 1 / stability, late

    monkeypatch.setattr(fake_studies, "level", upside_down)
    answers = verdicts(run(study(name), tmp_path))
    opposite = {stem(c) for c, holds in answers.items() if holds is False}
    learns = {c for c in CLAIMS[name] if "learns" in c}
    assert opposite == CLAIMS[name] - learns - {"he-kappa-over-time"}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(
    ("changes", "decided"),
    [
        ({"seeds": 1}, False),
        ({"seeds": 2}, None),
        ({"widths": "16"}, None),
        ({"widths": "16,32"}, None),
        ({"depths": "2"}, None),
        ({"scales": "raw"}, True),
        ({"epochs": "1"}, None),
        ({"initializations": "he"}, None),
        ({"initializations": "non-lazy,lecun"}, None),
        ({"initializations": "non-lazy:1.5"}, None),
    ],
    ids=str,
)
def test_small_grids_give_an_answer_to_every_claim(name, changes, decided, tmp_path):
    one = dataclasses.replace(study(name), presets=STUDIES[name].presets)
    small = {
        "widths": "8,32,128",
        "epochs": "5",
        "seeds": 3,
        "scales": "unit",
    } | changes
    answers = verdicts(run(one, tmp_path, **small))
    if decided is not None:
        assert {holds is not None for holds in answers.values()} == {decided}
    if changes.get("widths") is not None:
        for claim, holds in answers.items():
            if "rises-then-falls" in claim:
                assert holds is None
    if changes.get("widths") == "16" or changes.get("depths") == "2":
        axis = "depth" if "depths" in changes else "width"
        for claim, holds in answers.items():
            if f"with-{axis}" in claim:
                assert holds is None


@pytest.mark.parametrize("name", TRAINED)
def test_a_part_of_the_grid_leaves_open_what_it_cannot_tell(name, tmp_path):
    # Everything on unit rows is there; on raw ones only the first trial is.
    whole = run(study(name), tmp_path)
    raw = [r for r in whole.records if r.config["scale"] == "raw"]
    for record in raw[1:]:
        (tmp_path / "trials" / f"{record.key}.json").unlink()
    part = read_outcome(tmp_path, study=study(name))
    assert part.missing == len(raw) - 1
    before, after = verdicts(whole), verdicts(part)
    assert set(before) == set(after)
    for claim, holds in after.items():
        if claim.endswith("unit]"):
            assert holds is before[claim]
        elif "learns" in claim or "before" in claim:
            assert holds is None or holds is before[claim]
        else:
            assert holds is None
    assert len(part.figures()) == len(whole.figures())


@pytest.mark.parametrize("name", TRAINED)
def test_a_diverged_seed_is_left_out(name, tmp_path):
    outcome = run(study(name, "diverging", seeds=4, scales=("raw",)), tmp_path)
    assert int((outcome.results["diverged_at"] > 0).sum()) == len(outcome.records)
    answers = verdicts(outcome)
    assert None not in answers.values()
    for figure in outcome.figures():
        assert all(len(c.rows()) > 1 for p in figure.panels for c in p.curves)


@pytest.mark.parametrize("name", TRAINED)
def test_dead_networks_do_not_break_claims(name, tmp_path):
    verdicts(run(study(name, "dead", scales=("raw",)), tmp_path))


@pytest.mark.parametrize("name", TRAINED)
def test_failed_trials_leave_their_claims_open(name, tmp_path):
    outcome = run(study(name, "failing_in_part", scales=("raw",)), tmp_path)
    failed = [r for r in outcome.records if r.status == "failed"]
    assert len(failed) == len(outcome.records) / 3 == outcome.missing
    answers = verdicts(outcome)
    # The middle width is missing: there is no peak, and nothing holds at every width.
    assert set(answers.values()) == {None}


@pytest.mark.parametrize("name", TRAINED)
def test_without_a_finished_trial_there_are_no_claims(name, tmp_path):
    outcome = run(study(name, "failing"), tmp_path)
    assert outcome.claims() == [] and outcome.figures() == []
    assert outcome.missing == len(outcome.records) == outcome.results["status"].size


def test_sizes_come_from_any_finished_trial(tmp_path):
    outcome = run(study("stability-width", "failing_in_part"), tmp_path)
    assert int(outcome.results["features"].max()) == FEATURES
    assert int(outcome.results["outputs"].max()) == OUTPUTS


# Running, going on


def test_finished_trials_are_not_computed_again(tmp_path):
    first = run(OWN, tmp_path)
    assert [config["size"] for config in calls] == [1, 2, 3]
    again = run(OWN, tmp_path)
    assert len(calls) == 3
    assert again.results.equals(first.results)
    (tmp_path / "trials" / f"{first.records[0].key}.json").unlink()
    run(OWN, tmp_path)
    assert len(calls) == 4 and calls[-1] == first.records[0].config


def test_a_changed_configuration_is_refused(tmp_path):
    run(OWN, tmp_path)
    with pytest.raises(ValueError, match=r"settings.seeds: 5 -> 6") as caught:
        run(OWN, tmp_path, seeds=6)
    assert str(tmp_path) in str(caught.value)
    assert len(calls) == 3 and run(OWN, tmp_path).settings.seeds == 5


def test_failed_trials_are_tried_again_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(fake_studies, "own_trial", fake_studies.failing)
    assert run(OWN, tmp_path).missing == 3
    monkeypatch.undo()
    assert run(OWN, tmp_path).missing == 3 and not calls
    retried = run_study(OWN, tmp_path, progress=SilentProgress(), retry_failed=True)
    assert retried.missing == 0 and len(calls) == 3


def test_a_study_of_ones_own_by_name_and_as_an_object(tmp_path):
    for number, one in enumerate(("fake_studies:OWN", OWN)):
        directory = tmp_path / str(number)
        outcome = run(one, directory, sizes="2,4", shift="0.5")
        assert outcome.reference == ("fake_studies:OWN", "own")[number]
        assert outcome.results["value"].values.tolist() == [
            [size + 0.5 + seed for seed in range(5)] for size in (2, 4)
        ]
        [claim] = outcome.claims()
        assert claim.holds is True and claim.statistic == 5.5
    assert read_outcome(tmp_path / "0").study is OWN
    with pytest.raises(ValueError, match="Got 'own'"):
        read_outcome(tmp_path / "1")
    assert read_outcome(tmp_path / "1", study=OWN).study is OWN


def test_settings_may_be_given_whole(tmp_path):
    settings = OWN.configure("more", {"seeds": 2})
    outcome = run_study(OWN, tmp_path, settings=settings, progress=SilentProgress())
    assert outcome.settings == settings and len(outcome.records) == 4


def test_data_are_checked_before_a_trial_runs(tmp_path):
    checked = []

    def check(settings):
        checked.append(settings)
        if settings.shift:
            raise FileNotFoundError("there are no data")

    one = dataclasses.replace(OWN, check=check)
    with pytest.raises(FileNotFoundError, match="there are no data"):
        run(one, tmp_path / "shifted", shift=2.0)
    assert not calls and not (tmp_path / "shifted").exists()
    run(one, tmp_path / "not")
    run(one, tmp_path / "not")  # nothing is left to do, so no data are needed
    assert len(checked) == 2


def test_missing_data_stop_a_study(tmp_path, monkeypatch):
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="widelimit data fetch mnist"):
        run(STUDIES["lazy-ratio"], tmp_path / "out", data="mnist")
    assert not (tmp_path / "out").exists()


def test_a_directory_without_a_study_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no study.json.*widelimit run"):
        read_outcome(tmp_path)


def test_records_are_those_of_the_store(tmp_path):
    outcome = run(OWN, tmp_path)
    stored = [record.key for record in Store(tmp_path).records()]
    assert [record.key for record in outcome.records] == stored
    assert outcome.directory == tmp_path and not math.isnan(outcome.missing)
    assert isinstance(outcome.study, Study) and len(WIDTHS) == 3
