"""Stopping early: verdicts on curves of known course, the trial's training scores."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from widelimit.datasets import load, prepare
from widelimit.measures import score
from widelimit.networks import zhu2022_network
from widelimit.studies import STUDIES
from widelimit.studies.early_stopping import size_of, train_for_long
from widelimit.studies.verdicts import within
from widelimit.training import train

STUDY = STUDIES["early-stopping"]
EPOCHS = np.array([0, 10, 50, 200])


def test_the_papers_depth_counts_weight_matrices():
    assert size_of("32x4") == (32, 3) and size_of("64x8") == (64, 7)


@pytest.mark.parametrize("preset", ["quick", "laptop", "paper"])
def test_presets_reach_from_the_start_over_epoch_50_to_200(preset):
    settings = STUDY.configure(preset)
    assert settings.networks == ("32x4", "64x8")
    assert settings.probe_epochs[0] == 0 and settings.probe_epochs[-1] == 200
    assert 50 in settings.probe_epochs and settings.epochs == 200
    assert len(list(STUDY.trials(settings))) == 8


def test_probe_epochs_follow():
    settings = STUDY.configure(changes={"epochs": "12", "stop": "7"})
    assert settings.probe_epochs == (0, 1, 2, 5, 7, 10, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": "32"}, "'32' is no width and depth"),
        ({"networks": "32x1"}, "depth of at least 2"),
        ({"networks": "ax4"}, "'ax4'"),
        ({"stop": "200"}, r"stop \(200\) must lie before epochs \(200\)"),
        ({"probe_epochs": "0,200"}, r"stop \(50\).*probe_epochs"),
        ({"initialization": "xavier"}, "'xavier' is unknown"),
        ({"schedules": "cosine"}, "schedules.0='cosine'"),
    ],
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        STUDY.configure(changes=changes)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["paper", "constant"])
def test_training_scores_are_those_of_a_network_trained_apart(schedule):
    changes = {
        "scales": "raw", "schedules": schedule, "networks": "4x2", "seeds": 1,
        "epochs": 27, "stop": 2, "probe_epochs": "0,2,27", "batch_size": 10,
        "train_rows": 20, "test_rows": 30, "stability_rows": 2, "learning_rate": 0.3,
    }  # fmt: skip
    [config] = STUDY.trials(STUDY.configure(changes=changes))
    result = train_for_long(config, lambda share: None)
    data = prepare(load("digits"), scale="raw", train=20, test=30)
    x, t = jnp.asarray(data.x_train, float), jnp.asarray(data.t_train, float)
    network = zhu2022_network(depth=1, width=4, outputs=10)
    order, start = jax.random.split(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf[None], network.init(start, (64,)))
    # The rate falls tenfold after 50 steps, or never.
    falls = {50: 0.1} if schedule == "paper" else {}
    rate = optax.piecewise_constant_schedule(0.3, falls)
    trained = train(
        network, params, x, t, loss="cross-entropy", epochs=27, batch_size=10,
        optimizer=optax.sgd(rate), keys=order[None],
    )  # fmt: skip
    last = jax.tree.map(lambda leaf: leaf[0], trained.params)
    expected = score(network(last, x), t, loss="cross-entropy")
    found = result.isel(seed=0, epoch=-1)
    np.testing.assert_allclose(found["fit_accuracy"], expected.accuracy)
    np.testing.assert_allclose(found["fit_loss"], expected.loss, rtol=1e-9)
    assert int(result["stop"]) == 2


def drawn(accuracy, loss, stability=1.0, noise=1e-3):
    """Results whose quantities change by these amounts, or factors, after epoch 50."""
    rng = np.random.default_rng(3)
    wobble = noise * rng.normal(size=(1, 1, 1, 6, 4))

    def over_epochs(*values):
        return ("scale", "schedule", "network", "seed", "epoch"), np.array(
            values
        ) + wobble

    fall = 2.0  # from 2.5 to 0.5
    return xr.Dataset(
        {
            "accuracy": over_epochs(0.1, 0.6, 0.8, 0.8 + accuracy),
            "fit_accuracy": over_epochs(0.1, 0.6, 0.9, 0.9 + accuracy),
            "test_loss": over_epochs(2.5, 1.0, 0.5, 0.5 + loss * fall),
            "fit_loss": over_epochs(2.5, 1.0, 0.5, 0.5 + loss * fall),
            "stability": over_epochs(1.0, 2.0, 3.0, 3.0 * stability),
            "stop": 50,
        },
        {
            "scale": ["unit"], "schedule": ["paper"], "network": ["32x4"],
            "seed": np.arange(6), "epoch": EPOCHS,
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ((0.0, 0.0), (True, True, True)),
        ((0.005, -0.02, 1.05), (True, True, True)),
        ((0.03, 0.0), (False, True, True)),
        ((-0.03, 0.0), (False, True, True)),
        ((0.0, 0.2), (True, False, True)),
        ((0.0, -0.1, 1.5), (True, False, False)),
        ((0.01, 0.05), (None, None, True)),
    ],
)
def test_verdicts(changes, answers):
    claims = {claim.name: claim.holds for claim in STUDY.claims(drawn(*changes))}
    accuracy, loss, stability = answers
    assert claims == {
        "training-accuracy-unchanged[unit,paper,32x4]": accuracy,
        "test-accuracy-unchanged[unit,paper,32x4]": accuracy,
        "training-loss-unchanged[unit,paper,32x4]": loss,
        "test-loss-unchanged[unit,paper,32x4]": loss,
        "stability-unchanged[unit,paper,32x4]": stability,
    }


def test_a_wide_spread_is_no_equivalence():
    found, holds = within(np.array([-0.02, 0.02, -0.02, 0.02]), 0.01)
    assert holds is None and found.half_width > 0.01
    _, holds = within(np.array([-0.002, 0.002, -0.002, 0.002]), 0.01)
    assert holds is True
    assert within(np.array([np.nan, 0.001]), 0.01)[1] is None


def test_figures_have_curves_of_both_parts():
    [figure] = STUDY.figures(drawn(0.0, 0.0))
    accuracy, loss, stability = figure.panels
    assert [c.series for c in accuracy.curves] == ["training, paper", "test, paper"]
    assert len(loss.curves) == 2 and len(stability.curves) == 1
    assert "3 hidden layers" in figure.caption
