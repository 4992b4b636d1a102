"""The trial: what it returns is what the measures give on networks trained apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.datasets import load, prepare
from widelimit.measures import (
    lazy_ratio,
    mean_over_seeds,
    perturbation_stability,
    relative_movement,
    score,
)
from widelimit.networks import zhu2022_network
from widelimit.studies import STUDIES
from widelimit.studies.trial import check_data, initialization, train_and_measure
from widelimit.training import train, zhu2022_sgd

FEATURES, OUTPUTS, DEPTH, WIDTH = 64, 10, 2, 6
CHANGES = {
    "scales": "raw",
    "initializations": "non-lazy:0.4",
    "depths": (DEPTH,),
    "widths": (WIDTH,),
    "seeds": 2,
    "epochs": 3,
    "probe_epochs": "0,2,3",
    "batch_size": 20,
    "train_rows": 70,
    "test_rows": 30,
    "stability_rows": 12,
}


def configuration(**changes):
    study = STUDIES["stability-width"]
    [config] = study.trials(study.configure(changes=CHANGES | changes))
    return config


def measured(**changes):
    return train_and_measure(configuration(**changes), lambda share: None)


@pytest.fixture(scope="module")
def result():
    return measured()


def test_shapes_and_names(result):
    assert dict(result.sizes) == {"seed": 2, "epoch": 3, "layer": 3, "train_epoch": 3}
    per_seed = ("seed", "epoch")
    for name in ("stability", "stability_se", "kappa", "accuracy", "test_loss"):
        assert result[name].dims == per_seed
    assert result["movement"].dims == (*per_seed, "layer")
    assert result["mean_stability"].dims == result["mean_stability_se"].dims
    assert result["train_loss"].dims == ("seed", "train_epoch")
    assert result["diverged_at"].values.tolist() == [0, 0]
    assert result["epoch"].values.tolist() == [0, 2, 3]
    assert result["layer"].values.tolist() == [1, 2, 3]
    assert int(result["features"]) == FEATURES and int(result["outputs"]) == OUTPUTS
    assert all(np.isfinite(v).all() for v in result.data_vars.values())


def test_the_learning_rate_keeps_the_papers_rate_times_steps(result):
    assert float(result["learning_rate"]) == pytest.approx(0.001 * 937 / 3)


def test_the_same_configuration_gives_the_same_numbers(result):
    again = measured()
    for name, values in result.data_vars.items():
        np.testing.assert_array_equal(values, again[name])


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@pytest.mark.slow
def test_values_are_those_of_networks_trained_apart(loss):
    rate = 0.2
    result = measured(learning_rate=rate, loss=loss)
    assert float(result["learning_rate"]) == rate
    # One seed after the other, measured before and after: no probe is involved.
    data = prepare(load("digits"), scale="raw", train=70, test=30)
    x, t, x_test, t_test = (
        jnp.asarray(array, float)
        for array in (data.x_train, data.t_train, data.x_test, data.t_test)
    )
    network = zhu2022_network(
        depth=DEPTH,
        width=WIDTH,
        outputs=OUTPUTS,
        initialization="non-lazy",
        exponent=0.4,
    )

    @jax.jit
    def expected(params, initial):
        per_input = perturbation_stability(
            lambda row: network(params, row[None])[0], x_test[:12]
        )
        scores = score(network(params, x_test), t_test, loss=loss)
        return per_input, {
            "stability": per_input.mean(),
            "stability_se": jnp.std(per_input, ddof=1) / 12**0.5,
            "kappa": lazy_ratio(params, initial),
            "movement": jnp.stack(list(relative_movement(params, initial).values())),
            "accuracy": scores.accuracy,
            "test_loss": scores.loss,
        }

    stability = np.empty((2, 3, 12))
    for seed in range(2):
        order, start = jax.random.split(jax.random.key(seed))
        initial = network.init(start, (FEATURES,))
        trained = train(
            network,
            jax.tree.map(lambda leaf: leaf[None], initial),
            x,
            t,
            loss=loss,
            optimizer=zhu2022_sgd(steps_per_epoch=3, learning_rate=rate),
            epochs=3,
            batch_size=20,
            keys=order[None],
        )
        final = jax.tree.map(lambda leaf: leaf[0], trained.params)
        for place, params in ((0, initial), (2, final)):
            stability[seed, place], values = expected(params, initial)
            for name, value in values.items():
                found = result[name].isel(seed=seed, epoch=place)
                np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            result["train_loss"].isel(seed=seed), trained.loss[0], rtol=1e-9
        )
    for place in (0, 2):
        estimate = mean_over_seeds(stability[:, place])
        at = result.isel(epoch=place)
        np.testing.assert_allclose(at["mean_stability"], estimate.mean)
        np.testing.assert_allclose(at["mean_stability_se"], estimate.standard_error)
    assert float(result["kappa"][0, -1]) > 1e-3  # the networks did move


def test_a_diverged_seed_is_left_out_of_the_mean():
    # At this rate some networks overflow in the first epoch; in the others all ReLUs
    # are off from then on.
    result = measured(learning_rate=1e30, loss="squared", seeds=6, depths=(1,))
    diverged = result["diverged_at"].values > 0
    assert 0 < diverged.sum() < 6
    for epoch in (2, 3):
        at = result.sel(epoch=epoch)
        np.testing.assert_array_equal(np.isnan(at["stability"]), diverged)
        kept = at["stability"].values[~diverged]
        np.testing.assert_allclose(at["mean_stability"], kept.mean())
        assert np.isfinite(at["mean_stability_se"])
    start = result.sel(epoch=0)
    np.testing.assert_allclose(start["mean_stability"], start["stability"].mean())


@pytest.mark.slow
def test_without_a_seed_left_the_mean_is_missing():
    result = measured(learning_rate=1e90, loss="squared", seeds=2, depths=(1,))
    assert (result["diverged_at"] == 1).all()
    found = result["mean_stability"].values, result["mean_stability_se"].values
    np.testing.assert_array_equal(np.isnan(found), [[False, True, True]] * 2)


@pytest.mark.parametrize(
    ("label", "arguments"),
    [
        ("he", {"initialization": "he"}),
        ("non-lazy", {"initialization": "non-lazy"}),
        ("non-lazy:1.5", {"initialization": "non-lazy", "exponent": 1.5}),
    ],
)
def test_initialisation_labels(label, arguments):
    assert initialization(label) == arguments


@pytest.mark.parametrize("label", ["non-lazy:", "non-lazy:a"])
def test_a_bad_exponent_is_told(label):
    with pytest.raises(ValueError, match=f"Got '{label}'.*non-lazy:1.5"):
        initialization(label)


def check(**changes):
    check_data(STUDIES["stability-width"].configure(changes=CHANGES | changes))


def test_data_are_checked_before_anything_runs(tmp_path, monkeypatch):
    check()
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="widelimit data fetch mnist"):
        check(data="mnist")
    with pytest.raises(ValueError, match="'digits', 'mnist'.*Got `name='dogs'`"):
        check(data="dogs")
    with pytest.raises(ValueError, match="100000"):
        check(train_rows=100000)
    with pytest.raises(ValueError, match=r"batch_size=5000.*rows of 'digits'"):
        check(batch_size=5000, train_rows="none")
    with pytest.raises(ValueError, match=r"stability_rows=31` and 30 test.*'digits'"):
        check(stability_rows=31)
    with pytest.raises(ValueError, match=r"stability_rows=400` and 360 test rows of"):
        check(stability_rows=400, test_rows="none")


@pytest.mark.slow
def test_a_trial_in_single_precision_agrees():
    config = configuration(initializations=("he",), learning_rate=0.05)
    double = train_and_measure(config, lambda share: None)
    with jax.enable_x64(False):
        single = train_and_measure(config, lambda share: None)
    # Other draws, so other networks; the numbers are alike.
    for name in ("stability", "train_loss", "test_loss"):
        means = [float(r[name].mean()) for r in (single, double)]
        assert means[0] == pytest.approx(means[1], rel=0.6)


def test_networks_that_do_not_fit_are_refused_with_the_bytes(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 2**15)  # 1 GiB
    settings = STUDIES["stability-width"].configure(
        changes={"widths": (4096,), "depths": (9,)}
    )
    with pytest.raises(
        ValueError, match=r"width 4096, 9 hidden.* GiB.*Got .*1 GiB. Set f"
    ):
        check_data(settings)
