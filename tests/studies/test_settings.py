"""Settings: presets as announced, text as typed, mistakes told before anything runs."""

import pytest

from fake_studies import OWN, TRAINED, OwnSettings
from widelimit.studies import STUDIES, Settings, Study, find_study
from widelimit.studies.settings import TwoLayerSettings

WIDTH = STUDIES["stability-width"]
TWO_LAYER = ("lazy-ratio", "stability-regime")


@pytest.mark.parametrize("preset", ["quick", "laptop", "paper"])
@pytest.mark.parametrize("name", TRAINED)
def test_presets_are_valid(name, preset):
    study = STUDIES[name]
    settings = study.configure(preset)
    assert settings.epochs == 50 and settings.batch_size == 64
    assert settings.probe_epochs == (0, 1, 2, 5, 10, 15, 20, 25, 30, 40, 50)
    assert settings.scales == ("unit", "raw")
    assert study.settings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("name", TRAINED)
def test_the_paper_preset_is_the_papers_grid(name):
    paper = STUDIES[name].configure("paper")
    assert paper.data == "mnist" and paper.learning_rate == 0.001
    assert paper.train_rows is None and paper.test_rows is None
    assert paper.widths == (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    assert paper.depths == ((1,) if name in TWO_LAYER else (1, 3, 5, 7, 9))


def test_the_quick_preset_needs_no_download():
    shown = [study for study in STUDIES.values() if study.demo]
    assert {study.configure("quick").data for study in shown} == {"digits"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("widths", "16,32", (16, 32)),
        ("widths", " 16, 32,", (16, 32)),
        ("widths", "16", (16,)),
        ("scales", "raw", ("raw",)),
        ("initializations", "he,non-lazy:1.5", ("he", "non-lazy:1.5")),
        ("seeds", "7", 7),
        ("learning_rate", "0.25", 0.25),
        ("learning_rate", "none", None),
        ("train_rows", "None", None),
        ("loss", "squared", "squared"),
        ("data", "mnist", "mnist"),
        ("probe_epochs", "0,7,50", (0, 7, 50)),
    ],
)
def test_text_is_read_as_the_settings_type(name, text, value):
    assert getattr(WIDTH.configure(changes={name: text}), name) == value


def test_values_need_not_be_text():
    settings = WIDTH.configure(changes={"widths": (16, 32), "train_rows": None})
    assert settings.widths == (16, 32) and settings.train_rows is None


@pytest.mark.parametrize("text", ["1/4,0.5", "1 / 4, 2/4", "0.25,0.5"])
def test_width_factors_may_be_fractions(text):
    settings = STUDIES["stability-resnet"].configure(changes={"widths": text})
    assert settings.widths == (0.25, 0.5)
    settings = STUDIES["regime-accuracy"].configure(changes={"width": "1/16"})
    assert settings.width == 0.0625


@pytest.mark.parametrize("width", ["1/0", "1/4/2", "1/x", "-1/4", "/4"])
def test_what_is_no_fraction_is_told(width):
    with pytest.raises(ValueError, match=f"Got width='{width}'"):
        STUDIES["regime-accuracy"].configure(changes={"width": width})


@pytest.mark.parametrize(
    ("epochs", "probes"),
    [
        (1, (0, 1)),
        (2, (0, 1, 2)),
        (7, (0, 1, 2, 5, 7)),
        (25, (0, 1, 2, 5, 10, 15, 20, 25)),
        (60, (0, 1, 2, 5, 10, 15, 20, 25, 30, 40, 60)),
    ],
)
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_probe_epochs_follow_the_number_of_epochs(preset, epochs, probes):
    settings = WIDTH.configure(preset, {"epochs": str(epochs)})
    assert settings.epochs == epochs and settings.probe_epochs == probes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": "16"}, r"needs the name of a setting. Got 'width'.*widths"),
        ({"widths": "16,many"}, r"widths.1='many'"),
        ({"widths": "0"}, r"widths.0='0'"),
        ({"widths": "64/4"}, r"widths.0='64/4'"),
        ({"widths": ""}, r"widths=\(\)"),
        (
            {"widths": "16,32,16"},
            r"once. Got `widths=\(16, 32, 16\)`",
        ),
        ({"seeds": "0"}, r"seeds='0'"),
        ({"seeds": "1.5"}, r"seeds='1.5'"),
        ({"epochs": "0"}, r"epochs='0'"),
        ({"epochs": "ten"}, r"epochs='ten'"),
        ({"scales": "unit,half"}, r"scales.1='half'"),
        ({"loss": "hinge"}, r"loss='hinge'"),
        ({"learning_rate": "0"}, r"learning_rate='0'"),
        ({"learning_rate": "inf"}, r"learning_rate='inf'"),
        ({"learning_rate": "nan"}, r"learning_rate='nan'"),
        ({"test_rows": "1"}, r"test_rows"),
        ({"stability_rows": "1"}, r"stability_rows='1'"),
        ({"batch_size": "1025"}, r"batch_size \(1025\).*train_rows \(640\)"),
        ({"probe_epochs": "0,5,51"}, r"end with epochs \(50\).*51"),
        ({"probe_epochs": "0,5"}, r"end with epochs \(50\)"),
        ({"probe_epochs": "1,50"}, r"begin with 0"),
        ({"probe_epochs": "0,-1,50"}, r"probe_epochs.1='-1'"),
        ({"probe_epochs": "0,9,5,50"}, r"must rise"),
        ({"probe_epochs": "0,5,5,50"}, r"must rise"),
        ({"initializations": "he,xavier"}, r"'xavier' is unknown; known are he, lecun"),
        ({"initializations": "he:2"}, r"only non-lazy has an exponent"),
        ({"initializations": "non-lazy:"}, r"'non-lazy:' needs a positive number"),
        ({"initializations": "non-lazy:x"}, r"'non-lazy:x' needs a positive number"),
        ({"initializations": "non-lazy:-1"}, r"'non-lazy:-1' needs a positive number"),
        ({"initializations": "non-lazy:inf"}, r"needs a positive number"),
    ],
    ids=str,
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        WIDTH.configure(changes=changes)
    text = str(caught.value)
    assert text.startswith("`stability-width` needs") and "pydantic.dev" not in text
    assert len(text) < 500


def test_an_unknown_preset_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'quick', 'laptop', 'paper'. Got.*'huge'"):
        WIDTH.configure("huge")


@pytest.mark.parametrize("name", TWO_LAYER)
def test_studies_of_two_layer_networks_have_one_depth(name):
    study = STUDIES[name]
    assert study.configure(changes={"depths": "2"}).depths == (2,)
    with pytest.raises(ValueError, match="depths"):
        study.configure(changes={"depths": "1,2"})


def test_trials_are_the_points_of_the_grid_in_order():
    changes = {
        "scales": "raw,unit",
        "initializations": "he,ntk",
        "depths": "2,1",
        "widths": "8,4,16",
        "seeds": 4,
    }
    settings = WIDTH.configure(changes=changes)
    trials = list(WIDTH.trials(settings))
    assert len(trials) == 2 * 2 * 2 * 3
    points = [(t["scale"], t["initialization"], t["depth"], t["width"]) for t in trials]
    assert points[:4] == [
        ("raw", "he", 2, 8),
        ("raw", "he", 2, 4),
        ("raw", "he", 2, 16),
        ("raw", "he", 1, 8),
    ]
    assert points[-1] == ("unit", "ntk", 1, 16) and len(set(points)) == len(points)
    grid = {"scales", "initializations", "depths", "widths"}
    axes = {"scale", "initialization", "depth", "width"}
    for trial in trials:
        assert set(trial) == set(TwoLayerSettings.model_fields) - grid | axes
        assert trial["seeds"] == [0, 1, 2, 3]
        assert trial["probe_epochs"] == [*settings.probe_epochs]  # JSON has no tuples


def test_settings_of_ones_own():
    settings = OWN.configure(changes={"sizes": "2,5", "shift": "0.5", "broken": "yes"})
    assert settings == OwnSettings(sizes=(2, 5), shift=0.5, broken=True)
    assert [trial["size"] for trial in OWN.trials(settings)] == [2, 5]
    with pytest.raises(ValueError, match="frozen"):
        settings.shift = 1.0


def test_a_tuple_that_may_be_missing_is_read_from_text():
    class Optional(Settings):
        sizes: tuple[int, ...] | None = None

    study = Study("s", "", "", "", Optional, {"quick": {}}, {}, "", list, list)
    assert study.configure(changes={"sizes": "1,2"}).sizes == (1, 2)
    assert study.configure(changes={"sizes": "none"}).sizes is None


# find_study


def test_studies_are_found_by_name():
    for name, study in STUDIES.items():
        assert find_study(name) is study and study.name == name
    assert find_study("fake_studies:OWN") is OWN


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("width", "Got 'width'. Known: lazy-ratio, stability-width"),
        ("", "Got ''"),
        ("no_such_module:STUDY", "No module named 'no_such_module'.*Python path"),
        ("fake_studies:NONE", "no attribute 'NONE'"),
        ("fake_studies:WIDTHS", "Got 'fake_studies:WIDTHS'. Known"),
        (":OWN", "Got ':OWN'"),
        ("fake_studies:", "Got 'fake_studies:'"),
    ],
)
def test_unknown_studies_are_told(name, message):
    with pytest.raises(ValueError, match=message):
        find_study(name)
