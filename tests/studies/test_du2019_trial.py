"""The trial that descends: what it returns is what its parts give on their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from widelimit.kernels import limit_kernels
from widelimit.kernels.gram import population_gram
from widelimit.networks.du2019 import du2019_fully_connected
from widelimit.studies.du2019_problem import inputs_of, problem_of, separation_of
from widelimit.studies.du2019_trial import (
    check,
    descend_and_measure,
    linear_losses,
)
from widelimit.studies.linear_convergence import LINEAR_CONVERGENCE

ROWS, DEPTH, WIDTH, STEPS, SEEDS = 4, 2, 8, 5, 2
CHANGES = {
    "architectures": "fully-connected",
    "depths": (DEPTH,),
    "widths": (WIDTH,),
    "rows": ROWS,
    "steps": STEPS,
    "seeds": SEEDS,
    "step_factor": 0.8,
}


def configuration(**changes):
    settings = LINEAR_CONVERGENCE.configure(changes=CHANGES | changes)
    [config] = LINEAR_CONVERGENCE.trials(settings)
    return config


def rows_by_hand(classes=(0, 1), rows=ROWS):
    """Digits of two classes, drawn as `prepare` says, and their signs."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.flatnonzero(np.isin(labels[:1437], classes))
    chosen = np.random.default_rng((0, 0)).permutation(chosen)[:rows]
    return images[chosen], np.where(labels[chosen] == classes[0], 1.0, -1.0)


@pytest.fixture(scope="module")
def result():
    shares = []
    found = descend_and_measure(configuration(), shares.append)
    assert shares[-1] == 1.0
    return found


def test_shapes_and_names(result):
    assert dict(result.sizes) == {"seed": SEEDS, "step": STEPS + 1, "layer": DEPTH}
    assert result["step"].values.tolist() == list(range(STEPS + 1))
    assert result["layer"].values.tolist() == [1, 2]
    assert result["diverged_at"].values.tolist() == [0] * SEEDS
    assert all(np.isfinite(v).all() for v in result.data_vars.values())
    assert result["movement"].dims == ("seed", "step", "layer")


def test_limits_and_theorem_are_those_of_the_inputs(result):
    x, _ = rows_by_hand()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    network = du2019_fully_connected(depth=DEPTH, width=1)
    known = population_gram(network, x)
    # Pixels are float32 before they are scaled.
    values = np.linalg.eigvalsh(limit_kernels(network, x).ntk)
    expected = {
        "lambda_0": known.lambda_0,
        "gram_norm": np.linalg.eigvalsh(known.gram)[-1],
        "separation": 1 - (x @ x.T - np.eye(ROWS)).max(),
        "branch_separation": 1.0,
        "ntk_smallest": values[0],
        "ntk_largest": values[-1],
        "step_size": 0.8 / values[-1],
        "required_step": known.lambda_0 / (ROWS**2 * 2**DEPTH),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=1e-4)
    n, gap, lam = ROWS, known.layer_separation, known.lambda_0
    terms = (
        n**4 * 2**DEPTH / lam**4,
        n * 2**DEPTH / 0.1,
        n**2 * np.log(DEPTH * n**2 / 0.1) / (lam**2 * gap ** (1.5 * DEPTH)),
    )
    np.testing.assert_allclose(result["required_width"], max(terms), rtol=1e-3)


def test_losses_are_those_of_descents_by_hand(result):
    x, y = rows_by_hand()
    x = jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    network = du2019_fully_connected(depth=DEPTH, width=WIDTH)
    eta = float(result["step_size"])
    for seed in range(SEEDS):
        params = network.init(jax.random.key(seed), (64,))

        def outputs(p):
            return network.apply(p, x)[:, 0]

        jacobian = [
            np.asarray(j).reshape(ROWS, -1)
            for j in jax.tree.leaves(jax.jacrev(outputs)(params))
        ]
        gram = sum(j @ j.T for j in jacobian)
        residual = np.asarray(outputs(params)) - y
        linear = np.linalg.matrix_power(np.eye(ROWS) - eta * gram, STEPS) @ residual
        at = result.isel(seed=seed)
        close = {"rtol": 2e-4}
        np.testing.assert_allclose(at["linear_loss"][-1], linear @ linear / 2, **close)
        np.testing.assert_allclose(
            at["smallest_total"][0], np.linalg.eigvalsh(gram)[0], **close
        )
        gradient = jax.jit(jax.grad(lambda p: 0.5 * ((outputs(p) - y) ** 2).sum()))
        for k in range(STEPS + 1):
            residual = np.asarray(outputs(params)) - y
            np.testing.assert_allclose(at["loss"][k], residual @ residual / 2, **close)
            params = jax.tree.map(lambda p, g: p - eta * g, params, gradient(params))
        fall = np.log(at["loss"] / at["loss"][0])
        bound = np.log(1 - eta * float(result["lambda_0"]) / 2)
        np.testing.assert_allclose(
            at["margin"], np.arange(STEPS + 1) * bound - fall, atol=1e-12
        )


def test_linear_losses_are_matrix_powers():
    rng = np.random.default_rng(3)
    residual, a = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 4))
    gram = a @ a.swapaxes(1, 2)
    found = linear_losses(residual, gram, 0.05, 4)
    for seed in range(2):
        for k in range(5):
            m = np.linalg.matrix_power(np.eye(3) - 0.05 * gram[seed], k)
            expected = 0.5 * np.sum((m @ residual[seed]) ** 2)
            np.testing.assert_allclose(found[seed, k], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("window", "size", "shape"),
    [((3,), 4, (4, 4)), ((3, 3), 4, (4, 4, 1)), ((3, 2), None, (8, 8, 1))],
)
def test_images_of_convolutional_networks(window, size, shape):
    config = configuration(conv_size=size, window=window, classes=(3, 8))
    x, y = inputs_of(config, "conv-resnet", ROWS)
    pixels, signs = rows_by_hand((3, 8))
    np.testing.assert_array_equal(y, signs)
    images = pixels.reshape(-1, 8, 8)
    if size == 4:
        images = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    images /= np.linalg.norm(images, axis=(1, 2), keepdims=True)
    assert x.shape == (ROWS, *shape)
    np.testing.assert_allclose(x.reshape(images.shape), images, rtol=1e-6)


def test_the_lambda_of_the_data_is_that_of_its_closest_rows():
    x, _ = inputs_of(configuration(), "resnet", ROWS)
    expected = 1 - (x @ x.T - np.eye(ROWS)).max()
    found = separation_of("resnet", x, (3,))
    assert found == pytest.approx(expected, rel=1e-10)
    assert separation_of("resnet:0.3", x, (3,)) == 0.3
    assert separation_of("fully-connected", x, (3,)) == 1.0


@pytest.mark.slow
def test_a_convolutional_trial():
    changes = {"architectures": "conv-resnet:1", "window": (3, 3), "conv_size": 3}
    config = configuration(**changes)
    found = descend_and_measure(config, lambda share: None)
    problem = problem_of(config)
    assert problem.pixels == 9 and problem.x.shape == (ROWS, 3, 3, 1)
    assert (found["loss"][:, -1] < found["loss"][:, 0]).all()
    # poly(p) is read as p.
    lam = float(found["lambda_0"])
    step = lam * DEPTH**2 / (ROWS**2 * 9)
    assert float(found["required_step"]) == pytest.approx(step, rel=1e-10)


# Before anything runs


def checked(**changes):
    check(LINEAR_CONVERGENCE.configure(changes=CHANGES | changes))


def test_data_are_checked_before_anything_runs(tmp_path, monkeypatch):
    checked()
    monkeypatch.setenv("WIDELIMIT_DATA", str(tmp_path))
    monkeypatch.setenv("WIDELIMIT_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="widelimit data fetch mnist"):
        checked(data="mnist")
    with pytest.raises(ValueError, match="at least 5000 rows"):
        checked(rows=5000)


def test_inputs_without_a_lambda_are_told_with_the_cure():
    # One channel and windows of nine pixels: fewer than twice the sixteen pixels.
    with pytest.raises(ValueError, match=r"`conv-resnet` needs.*as in conv-resnet:1"):
        checked(architectures="conv-resnet", window=(3, 3))


def test_networks_that_do_not_fit_are_refused_with_the_bytes(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 2**15)  # 1 GiB
    with pytest.raises(ValueError, match=r"width 8192, 2 hidden.*5 GiB. Got 1 GiB"):
        checked(widths=(8192,))
