"""Settings of the du2019 studies: presets that are valid, mistakes told at once."""

import pytest

from widelimit.studies.du2019_settings import name_of, parse
from widelimit.studies.gram_depth import GRAM_DEPTH
from widelimit.studies.gram_stability import GRAM_STABILITY
from widelimit.studies.linear_convergence import LINEAR_CONVERGENCE

STUDIES = [LINEAR_CONVERGENCE, GRAM_STABILITY, GRAM_DEPTH]


@pytest.mark.parametrize("preset", ["quick", "laptop", "paper"])
@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)
def test_presets_are_valid(study, preset):
    settings = study.configure(preset)
    assert study.settings.model_validate(settings.model_dump(mode="json")) == settings
    assert settings.data == ("digits" if preset == "quick" else "mnist")
    names = {parse(label)[0] for label in settings.architectures}
    assert names == {"fully-connected", "resnet", "conv-resnet"}
    trials = list(study.trials(settings))
    points = [tuple(t[axis] for axis in study.axes) for t in trials]
    assert len(set(points)) == len(points)
    assert all(t["seeds"] == list(range(settings.seeds)) for t in trials)


@pytest.mark.parametrize(
    ("label", "parsed", "name"),
    [
        ("fully-connected", ("fully-connected", None), "fully-connected"),
        ("resnet", ("resnet", None), "ResNet, λ of the data"),
        ("resnet:0.25", ("resnet", 0.25), "ResNet, λ = 0.25"),
        ("conv-resnet:1", ("conv-resnet", 1.0), "convolutional ResNet, λ = 1"),
    ],
)
def test_architecture_labels(label, parsed, name):
    assert parse(label) == parsed and name_of(label) == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": "vgg"}, "'vgg' is unknown; known are fully-connected, res"),
        ({"architectures": "fully-connected:1"}, "fully-connected network has no lamb"),
        ({"architectures": "resnet:"}, "'resnet:' needs a positive number"),
        ({"architectures": "conv-resnet:-1"}, "needs a positive number"),
        ({"architectures": "resnet:inf"}, "needs a positive number"),
        ({"depths": "1"}, r"depths.0='1'"),
        ({"rows": "1"}, r"rows='1'"),
        ({"window": "3,3,3"}, r"window"),
        ({"classes": "3"}, r"classes"),
        ({"c_lambda": "1"}, r"c_lambda='1'"),
        ({"step_factor": "0"}, r"step_factor='0'"),
        ({"delta": "1.5"}, r"delta='1.5'"),
    ],
    ids=str,
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        LINEAR_CONVERGENCE.configure(changes=changes)
