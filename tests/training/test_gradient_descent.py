"""Gradient descent: its steps and records are those of networks written out by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from oracles import unchecked
from widelimit.activations import AbstractActivation, Identity
from widelimit.layers import AbstractLayer, Activation, Dense, Readout, Sequential
from widelimit.networks import mlp
from widelimit.networks.du2019 import (
    du2019_conv_resnet,
    du2019_fully_connected,
    du2019_resnet,
)
from widelimit.training import gradient_descent

N, D, WIDTH, SEEDS, STEPS, ETA = 4, 3, 5, 2, 7, 0.2
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, D))
X /= np.linalg.norm(X, axis=1, keepdims=True)
Y = np.array([1.0, -0.7, 0.4, -1.3])
KAPPA = 0.4 * 0.6**1.5  # c_lambda lambda^{3/2}


def start(network, key, shape=(D,), seeds=SEEDS):
    return jax.vmap(lambda k: network.init(k, shape))(jax.random.split(key, seeds))


def run(network, params, **changes):
    options = {"step_size": ETA, "steps": STEPS} | changes
    x, y = options.pop("x", X), options.pop("y", Y)
    return gradient_descent(network, params, x, y, **options)


def norm(matrix):
    return np.linalg.svd(matrix, compute_uv=False)[0]


# Two hidden layers of du2019, in the paper's own letters


def softplus(z):
    return np.log1p(np.exp(z))


def c_sigma():
    density = lambda z: softplus(z) ** 2 * np.exp(-(z**2) / 2)  # noqa: E731
    return np.sqrt(2 * np.pi) / quad(density, -30, 30, epsabs=1e-13)[0]


def patches(x, q):
    """phi(x) of Sec. 2.2: for every pixel the q around it, zeros outside."""
    rows = []
    for pixel in range(len(x)):
        places = range(pixel - q // 2, pixel + q // 2 + 1)
        inside = [x[s] if 0 <= s < len(x) else np.zeros(x.shape[1]) for s in places]
        rows.append(np.concatenate(inside))
    return np.array(rows)


def patches_transposed(g, q, channels):
    """The transpose of `patches`."""
    out = np.zeros((len(g), channels))
    for pixel, row in enumerate(g):
        for offset in range(q):
            place = pixel + offset - q // 2
            if 0 <= place < len(g):
                out[place] += row[offset * channels : (offset + 1) * channels]
    return out


def by_hand(images, w1, w2, a, *, q, residual):
    """Outputs and gradients of u by W^(1), W^(2): Eq. (2), (3) or Sec. 2.2, H = 2."""
    m, u, gradients = len(a), [], []
    first = np.sqrt(c_sigma() / m)
    second = KAPPA / (2 * np.sqrt(m)) if residual else first
    for image in images:
        p0 = patches(image, q)
        z1 = p0 @ w1
        x1 = first * softplus(z1)
        p1 = patches(x1, q)
        z2 = p1 @ w2
        x2 = second * softplus(z2) + (x1 if residual else 0.0)
        u.append(np.sum(x2 @ a))
        back2 = second * a * expit(z2)
        back = patches_transposed(back2 @ w2.T, q, m) + (a if residual else 0.0)
        gradients.append((p0.T @ (first * expit(z1) * back), p1.T @ back2))
    return np.array(u), gradients


def inner(gradients, h):
    return np.array([[np.sum(p[h] * q[h]) for q in gradients] for p in gradients])


@pytest.mark.parametrize("kind", ["dense", "residual", "convolutional"])
def test_every_step_is_that_of_the_papers_formulas(kind, getkey):
    residual, x, q = kind != "dense", X, 1
    choices = {"depth": 2, "width": WIDTH}
    if kind == "convolutional":
        q, x = 3, np.random.default_rng(5).normal(size=(N, 4, 2)) / 3
        network = du2019_conv_resnet(c_lambda=0.4, separation=0.6, **choices)
    elif residual:
        network = du2019_resnet(c_lambda=0.4, separation=0.6, **choices)
    else:
        network = du2019_fully_connected(**choices)
    params = start(network, getkey(), x.shape[1:])
    population, lambda_0 = np.eye(N) / 7, 0.3
    found = run(network, params, x=x, lambda_0=lambda_0, population=population)
    assert found.loss.shape == (SEEDS, STEPS + 1)
    np.testing.assert_array_equal(found.diverged_at, [0] * SEEDS)
    images = x.reshape(N, -1, x.shape[-1])
    for seed in range(SEEDS):
        arrays = [np.asarray(leaf[seed]) for leaf in jax.tree.leaves(params)]
        weights = [w.reshape(-1, WIDTH) for w in arrays[:2]]
        a, starts = arrays[2][:, 0], list(weights)
        for k in range(STEPS + 1):
            u, gradients = by_hand(images, *weights, a, q=q, residual=residual)
            grams = [inner(gradients, h) for h in range(2)]
            loss = 0.5 * np.sum((u - Y) ** 2)
            if k == 0:
                first, loss_0 = grams, loss
            values = np.linalg.eigvalsh(grams[0] + grams[1])
            moved = [
                np.sqrt(np.sum((w - v) ** 2) / WIDTH)
                for w, v in zip(weights, starts, strict=True)
            ]
            expected = {
                "outputs": u,
                "loss": loss,
                "smallest": np.linalg.eigvalsh(grams[1])[0],
                "change": norm(grams[1] - first[1]),
                "smallest_total": values[0],
                "largest_total": values[-1],
                "movement": moved,
                "margin": k * np.log(1 - ETA * lambda_0 / 2) - np.log(loss / loss_0),
            }
            for name, value in expected.items():
                np.testing.assert_allclose(
                    getattr(found, name)[seed, k], value, rtol=1e-9, atol=1e-12
                )
            held = loss <= (1 - ETA * lambda_0 / 2) ** k * loss_0 * (1 + 1e-14)
            assert found.condition[seed, k] == held
            last = weights
            weights = [
                w - ETA * sum(r * g[h] for r, g in zip(u - Y, gradients, strict=True))
                for h, w in enumerate(weights)
            ]
        *trained, signs = jax.tree.leaves(found.params)
        for one, other in zip(trained, last, strict=True):
            np.testing.assert_allclose(one[seed].reshape(-1, WIDTH), other, rtol=1e-10)
        np.testing.assert_array_equal(signs[seed][:, 0], a)
        np.testing.assert_allclose(found.initial_gram[seed], first[1], rtol=1e-10)
        np.testing.assert_allclose(found.initial_total[seed], sum(first), rtol=1e-10)
        np.testing.assert_allclose(
            found.initial_error[seed], norm(first[1] - population), rtol=1e-10
        )
    assert found.movement[:, -1].min() > 1e-3  # the networks did move


# A linear model


def linear(getkey, seeds=SEEDS):
    network = mlp(depth=0, width=1)
    return network, start(network, getkey(), seeds=seeds)


def test_a_linear_model_follows_its_closed_form(getkey):
    network, params = linear(getkey)
    found = run(network, params)
    gram = X @ X.T
    for seed in range(SEEDS):
        residual = X @ np.asarray(params[0]["weight"][seed])[:, 0] - Y
        for k in range(STEPS + 1):
            now = np.linalg.matrix_power(np.eye(N) - ETA * gram, k) @ residual
            np.testing.assert_allclose(found.loss[seed, k], now @ now / 2, rtol=1e-10)
            np.testing.assert_allclose(found.outputs[seed, k], now + Y, atol=1e-12)
        np.testing.assert_allclose(found.initial_gram[seed], gram, rtol=1e-12)
    np.testing.assert_allclose(found.change, 0, atol=1e-14)
    np.testing.assert_allclose(found.smallest, found.smallest_total, atol=1e-14)
    np.testing.assert_allclose(found.largest_total, norm(gram))
    assert found.margin is found.condition is found.initial_error is None


def test_condition_6_1_is_judged_step_by_step(getkey):
    # One direction: the loss falls by (1 - eta)^2 a step, from any start.
    network = mlp(depth=0, width=1)
    params = start(network, getkey(), (1,))
    x, y = np.ones((1, 1)), np.array([3.0])
    for lambda_0, holds in ((3.5, True), (3.7, False)):  # 3.6 is the limit
        found = run(network, params, x=x, y=y, lambda_0=lambda_0)
        fall = 2 * np.log(1 - ETA)
        bound = np.log(1 - ETA * lambda_0 / 2)
        assert (bound > fall) == holds
        expected = np.arange(STEPS + 1) * (bound - fall)
        np.testing.assert_allclose(found.margin, [expected] * SEEDS, atol=1e-10)
        assert found.condition[:, 0].all()
        np.testing.assert_array_equal(found.condition[:, 1:], holds)


# Chunks, seeds, precision, programs


def test_chunks_change_nothing_but_reports(getkey, monkeypatch):
    network, params = linear(getkey)
    shares, parts = [], []
    whole = run(network, params, report=shares.append, lambda_0=0.1)
    monkeypatch.setattr("widelimit.training.gradient_descent_steps.CHUNK", 3)
    apart = run(network, params, report=parts.append, lambda_0=0.1)
    assert shares == [1.0]
    assert parts == pytest.approx([3 / 8, 6 / 8, 1.0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15),
        whole,
        apart,
    )


def test_no_steps_record_the_start(getkey):
    network, params = linear(getkey)
    found = run(network, params, steps=0, lambda_0=0.5)
    assert found.loss.shape == (SEEDS, 1) and found.condition.all()
    jax.tree.map(np.testing.assert_array_equal, found.params, params)


def test_single_precision_stays_single(getkey):
    network, params = linear(getkey)
    single = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    found, exact = run(network, single), run(network, params)
    assert found.params[0]["weight"].dtype == jnp.float32
    np.testing.assert_allclose(found.loss, exact.loss, rtol=1e-5)


@dataclasses.dataclass(frozen=True)
class AbstractCounter(AbstractActivation):
    """Squares, and counts how often Python runs it."""

    smooth = True

    def __call__(self, z):
        CALLS.append(z.shape)
        return z * z


CALLS = []


def test_equal_networks_share_one_program(getkey):
    def counted():
        return Sequential((Dense(2), Activation(AbstractCounter()), Readout()))

    counts = []
    params = start(counted(), getkey())
    for steps, size in ((7, 0.1), (7, 0.2), (8, 0.1)):
        CALLS.clear()
        run(counted(), params, steps=steps, step_size=size)
        counts.append(len(CALLS))
    # The check of the network runs it once without compiling.
    assert counts[0] > counts[1] < counts[2]


# Divergence


def test_a_seed_that_diverges_keeps_its_last_finite_state(getkey):
    network = mlp(depth=1, width=WIDTH, activation=Identity())
    params = start(network, getkey(), seeds=3)
    sizes = jnp.array([1.0, 6.0, 0.9])
    params = jax.tree.map(lambda p: sizes[:, None, None] * p, params)
    found = run(network, params, steps=12, step_size=0.1, lambda_0=0.01)
    step = int(found.diverged_at[1])
    np.testing.assert_array_equal(found.diverged_at, [0, step, 0])
    assert 3 < step < 12
    for name in ("loss", "smallest", "change", "smallest_total", "margin"):
        values = getattr(found, name)
        assert np.isfinite(values[1, :step]).all() and np.isnan(values[1, step:]).all()
        assert np.isfinite(values[[0, 2]]).all()
    assert np.isnan(found.movement[1, step:]).all()
    assert not found.condition[1, step:].any()
    kept = jax.tree.map(lambda p: p[1], found.params)
    outputs = np.asarray(network.apply(kept, jnp.asarray(X)))[:, 0]
    np.testing.assert_allclose(outputs, found.outputs[1, step - 1], rtol=1e-12)
    # The others are what they would be alone.
    pick = functools.partial(jax.tree.map, lambda a: a[2:])
    alone = run(network, pick(params), steps=12, step_size=0.1)
    np.testing.assert_allclose(alone.loss[0], found.loss[2], rtol=1e-12)
    np.testing.assert_allclose(
        alone.params[0]["weight"], pick(found.params)[0]["weight"], rtol=1e-12
    )


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_size": 0.0}, "needs a finite `step_size > 0`. Got `step_size=0.0`"),
        ({"step_size": float("nan")}, "Got `step_size=nan`"),
        ({"steps": -1}, "`steps >= 0`. Got `steps=-1`"),
        ({"x": X[:0], "y": Y[:0]}, r"at least one row.*Got `x.shape=\(0, 3\)`"),
        ({"x": X[:2]}, r"one target per row.*`x.shape=\(2, 3\)` and `y.shape=\(4,\)`"),
        (
            {"x": X[:, :2]},
            r"shape=\(2, 2, 1\)`.*inputs of shape \(2,\). Got.*\(2, 3, 1\)",
        ),
        ({"x": X[:, 0]}, r"one input per row.*Got `x.shape=\(4,\)`"),
        ({"x": np.full((4, 3), "a")}, "real numbers in `x`"),
        ({"y": np.full(4, "a")}, "one target per row.*of type <U1"),
        ({"network": lambda p, x: x}, "description of a network.*<function"),
        ({"y": Y[:, None]}, r"in a vector. Got.*`y.shape=\(4, 1\)`"),
        ({"x": np.where(X > 0.5, np.nan, X)}, "finite numbers in `x`. Got nan"),
        ({"y": np.array([1, 2, np.inf, 0.0])}, r"in `y`. Got inf at index \(2,\)"),
        (
            {"lambda_0": 10.1},
            "`lambda_0 >= 0` and `step_size .* < 2`.*=0.2` and `lambda_0=10.1`",
        ),
        ({"lambda_0": -0.1}, "`lambda_0=-0.1`"),
        ({"lambda_0": float("nan")}, "`lambda_0=nan`"),
        ({"population": np.eye(3)}, r"Got shape \(3, 3\) and 4 rows"),
        ({"width": 2}, r"one output.*Got outputs of shape \(2,\)"),
        ({"network": Sequential((Readout(),))}, r"parameters to train.*Readout"),
        ({"scale": 1e200}, r"finite at the start. Got seed 0 \(2 such seeds\)"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_named(change, message, getkey):
    network = change.pop(
        "network", mlp(depth=0, width=1, outputs=change.pop("width", 1))
    )
    scale = change.pop("scale", 1.0)
    described = network if isinstance(network, AbstractLayer) else mlp(depth=0, width=1)
    params = jax.tree.map(lambda p: scale * p, start(described, getkey()))
    with unchecked(), pytest.raises(ValueError, match=message):
        run(network, params, **change)


def test_parameters_without_seeds_are_refused(getkey):
    network = du2019_fully_connected(depth=1, width=WIDTH)
    with pytest.raises(ValueError, match=r"\(3,\), \(5,\)\]. Initialise"):
        run(network, network.init(getkey(), (D,)))
    with unchecked(), pytest.raises(ValueError, match="of its network. Got another"):
        run(network, {"weight": jnp.ones((2, D, 1))})
    with (
        unchecked(),
        pytest.raises(ValueError, match="arrays, all in.*Got float32, fl"),
    ):
        run(network, {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3), "float32")})
