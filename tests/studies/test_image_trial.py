"""The trial on images: the same numbers as networks trained apart, and its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from widelimit.datasets import load, prepare_images
from widelimit.measures import perturbation_stability, score
from widelimit.networks import cnn, resnet18
from widelimit.runs.trial import Report
from widelimit.studies import STUDIES, image_trial
from widelimit.studies.image_settings import CIFAR_DEPTHS, image_network, known_resnet
from widelimit.studies.image_trial import check_images, train_on_images
from widelimit.studies.pictures import LEVELS, damaging_directions
from widelimit.training import train

STUDY = STUDIES["stability-cnn"]
TINY = {
    "networks": "cnn", "depths": "2", "widths": "3", "seeds": 2, "epochs": 4,
    "probe_epochs": "0,4", "batch_size": 20, "train_rows": 40, "test_rows": 30,
    "stability_rows": 24, "learning_rate": 0.2, "milestones": "0.5", "pictures": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("unfinished")


def run(place):
    [config] = STUDY.trials(STUDY.configure(changes=TINY))
    return train_on_images(config, Report(lambda share: None, place))


@pytest.fixture(scope="module")
def result(place):
    return run(place)


@pytest.mark.slow
def test_a_killed_trial_goes_on_with_the_same_numbers(result, place):
    assert sorted(p.name for p in place.iterdir()) == ["seed-0.npz", "seed-1.npz"]
    (place / "seed-1.npz").unlink()  # killed while the second seed trained
    xr.testing.assert_identical(run(place), result)


def test_names_and_shapes(result):
    sizes = {"seed": 2, "epoch": 2, "layer": 3, "train_epoch": 4, "label": 10}
    images = {"shown": 2, "row": 8, "column": 8, "channel": 1}
    assert dict(result.sizes) == sizes | images
    told = dict(result.attrs)
    assert "Takes exact" in told.pop("stability")
    assert told == {"initialization": "he", "picture_radius": 0.2}
    assert int(result["features"]) == 64 and int(result["samples"]) == 40


def test_values_are_those_of_a_network_trained_apart(result):
    data = prepare_images(load("digits"), train=40, test=30)
    x, t, x_test, t_test = (
        jnp.asarray(a, float)
        for a in (data.x_train, data.t_train, data.x_test, data.t_test)
    )
    network = cnn(depth=2, channels=3, outputs=10)
    order, start = jax.random.split(jax.random.key(1))
    initial = network.init(start, (8, 8, 1))
    trained = train(
        network, jax.tree.map(lambda a: a[None], initial), x, t, loss="cross-entropy",
        # Four epochs of two steps; the rate falls halfway.
        optimizer=optax.sgd(optax.piecewise_constant_schedule(0.2, {4: 0.1})),
        epochs=4, batch_size=20, keys=order[None],
    )  # fmt: skip
    params = jax.tree.map(lambda a: a[0], trained.params)
    at = result.isel(seed=1, epoch=-1)
    stability = perturbation_stability(lambda z: network(params, z[None])[0], x_test)
    stability = np.asarray(stability)[:24]
    np.testing.assert_allclose(at["stability"], stability.mean(), rtol=1e-9)
    for label in range(10):
        own = stability[data.y_test[:24] == label]
        expected = own.mean() if len(own) else np.nan
        found = result["class_stability"].sel(label=str(label)).isel(seed=1)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    for rows, targets, names in (
        (x_test, t_test, ("accuracy", "test_loss")),
        (x[:30], t[:30], ("fit_accuracy", "fit_loss")),
    ):
        scores = score(network(params, rows), targets, loss="cross-entropy")
        np.testing.assert_allclose(at[names[0]], scores.accuracy)
        np.testing.assert_allclose(at[names[1]], scores.loss, rtol=1e-9)
    matrices = [
        (np.asarray(params[i]["weight"]), np.asarray(initial[i]["weight"]))
        for i in (0, 2, 5)
    ]
    moved = sum(np.linalg.norm(a - b) for a, b in matrices)
    kappa = moved / sum(np.linalg.norm(b) for _, b in matrices)
    np.testing.assert_allclose(at["kappa"], kappa, rtol=1e-9)


# Pictures, of a linear function whose Jacobian is known


@pytest.mark.parametrize("scale", ["channel", "raw", "unit"])
def test_the_damaging_direction_of_a_linear_function(scale):
    data = prepare_images(load("digits"), scale=scale, train=40, test=30)
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(10, 64))

    def apply(params, z):
        return jnp.reshape(z, (len(z), -1)) @ params.T

    found = damaging_directions(apply, jnp.asarray(matrix), data, count=3, share=0.4)
    labels = found["picture_label"].values
    assert len(set(labels)) == 3
    rows = [int(np.flatnonzero(data.y_test == int(v))[0]) for v in labels]
    raw = prepare_images(load("digits"), scale="raw", train=40, test=30).x_test[rows]
    pixels = 255 * raw if scale != "unit" else 255 * raw / raw.max((1, 2, 3))[
        :, None, None, None
    ]  # fmt: skip
    assert np.abs(found["picture"].values - pixels).max() <= 0.5 + 1e-3
    for number, row in enumerate(rows):
        one = found.isel(shown=number)
        x = np.asarray(data.x_test[row], float)
        step = one["picture_step"].values * float(one["picture_peak"]) / LEVELS
        if scale == "channel":
            step = step / data.std
        elif scale == "unit":
            step = step * x.max()
        radius = 0.4 * np.linalg.norm(x)
        assert np.linalg.norm(step) == pytest.approx(radius, rel=0.02)
        change = matrix @ step.ravel()
        random = rng.normal(size=(4000, 64))
        random *= radius / np.linalg.norm(random, axis=1, keepdims=True)
        others = np.linalg.norm(random @ matrix.T, axis=1)
        assert np.linalg.norm(change) > others.max()
        # Uniform in the ball: a mean radius of d / (d + 1) of the largest.
        gain = np.linalg.norm(change) / (others.mean() * 64 / 65)
        assert float(one["picture_gain"]) == pytest.approx(gain, rel=0.03)
        label = int(labels[number])

        def margin(y, label=label):
            return y[label] - np.delete(y, label).max()

        y = matrix @ x.ravel()
        assert margin(y + change) < margin(y - change)
        assert str(one["picture_before"].values) == str(y.argmax())
        assert str(one["picture_after"].values) == str((y + change).argmax())


# Networks, settings and memory


def test_networks_by_name():
    common = {"outputs": 7, "start": "non-lazy:1.5"}
    plain = image_network("fcn", depth=2, width=5, **common)
    assert plain.output_shape((4, 4, 3)) == (7,)
    same = resnet18(
        outputs=7, width_factor=0.125, initialization="non-lazy", exponent=1.5
    )
    assert image_network("resnet18", depth=None, width=0.125, **common) == same
    for depth in CIFAR_DEPTHS:
        assert known_resnet(f"resnet{depth}") == f"resnet{depth}"


@pytest.mark.parametrize(
    ("study", "changes", "message"),
    [
        ("stability-cnn", {"networks": "vgg"}, "networks.0='vgg'"),
        ("stability-cnn", {"accumulate": "5"}, r"batch_size \(64\) must be a multiple"),
        ("stability-cnn", {"initialization": "xavier"}, "'xavier' is unknown"),
        ("stability-cnn", {"milestones": "0.5,1"}, "milestones.1='1'"),
        ("stability-cnn", {"scale": "half"}, "scale='half'"),
        ("stability-resnet", {"networks": "resnet19"}, "'resnet19' is unknown.*110"),
        ("stability-resnet", {"widths": "0"}, "widths.0='0'"),
        ("regime-accuracy", {"network": "cnn"}, "'cnn' is unknown.*resnet8"),
        ("regime-accuracy", {"initializations": "he:2"}, "only non-lazy"),
        ("regime-accuracy", {"precision": "half"}, "precision='half'"),
        ("regime-accuracy", {"momentum": "1"}, "momentum='1'"),
    ],
)
def test_mistakes_are_told(study, changes, message):
    with pytest.raises(ValueError, match=message):
        STUDIES[study].configure(changes=changes)


def test_the_paper_preset_of_the_table_is_what_its_code_trains():
    paper = STUDIES["regime-accuracy"].configure("paper")
    assert paper.network == "resnet110" and paper.width == 1.0
    assert paper.data == ("cifar10", "cifar100") and paper.epochs == 164
    assert [round(164 * share) for share in paper.milestones] == [81, 122]
    assert paper.batch_size == 128 and paper.learning_rate == 0.1
    assert paper.momentum == 0.9 and paper.weight_decay == 1e-4 and paper.augment


def test_weights_larger_than_a_tile_leave_room_for_inputs(monkeypatch):
    """As those of ResNet-34 of width 2 are."""
    monkeypatch.setattr(image_trial, "TILE_BYTES", 2**21)
    network = cnn(depth=2, channels=192, outputs=10)
    shapes = jax.eval_shape(lambda k: network.init(k, (8, 8, 1)), jax.random.key(0))
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    plan = image_trial.plan_of(network, jnp.ones((5, 8, 8, 1)))
    assert weights > 2**21 and plan.bytes > weights and plan.batch_size >= 1


def test_data_and_memory_are_checked_before_anything_runs(monkeypatch, tmp_path):
    def check(name="stability-cnn", **changes):
        check_images(STUDIES[name].configure(changes=changes))

    check()
    with pytest.raises(ValueError, match=r"batch_size=5000.*'digits'"):
        check(batch_size=5000, train_rows="none")
    with pytest.raises(ValueError, match="100000"):
        check(train_rows=100000)
    with pytest.raises(
        ValueError, match=r"stability_rows=21` and 20 test rows of 'dig"
    ):
        check(stability_rows="21", test_rows="20")
    monkeypatch.setattr("os.sysconf", lambda name: 2**12)  # 16 MiB
    with pytest.raises(
        ValueError, match=r"fcn of width 9999` needs.*alone.*Set smaller `widt"
    ):
        check(networks="fcn", widths="9999")
    with pytest.raises(ValueError, match=r"640 rows at once.*`accumulate=\d+`, of \d+"):
        check(networks="cnn", widths="32", batch_size="640")
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="widelimit data fetch mnist"):
        check("regime-accuracy", data="mnist")
    with pytest.raises(ValueError, match="Got `name='dogs'`"):
        check("stability-resnet", data="dogs")
