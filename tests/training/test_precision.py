"""Mixed precision: bfloat16 inside, float32 for all that is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.activations import Erf, ReLU
from widelimit.attacks import PGD
from widelimit.layers import Activation, BatchNorm, Dense, Sequential
from widelimit.networks import mlp, resnet18
from widelimit.training import JacobianPenalty, momentum_sgd, train

D, ROWS = 3, 12
RNG = np.random.default_rng(10)
X = jnp.asarray(RNG.normal(size=(ROWS, D)), jnp.float32)
TARGETS = jnp.asarray(RNG.normal(size=(ROWS, 2)), jnp.float32)
KEYS = jax.random.split(jax.random.key(1), 2)


def run(network, params, x=X, targets=TARGETS, **options):
    defaults = {
        "loss": "squared", "optimizer": optax.sgd(0.1), "epochs": 1,
        "batch_size": ROWS, "keys": KEYS, "precision": "mixed",
    }  # fmt: skip
    return train(network, params, x, targets, **(defaults | options))


def start(network, shape=(D,)):
    params = jax.vmap(lambda key: network.init(key, shape))(KEYS)
    return jax.tree.map(lambda a: a.astype(jnp.float32), params)


def test_the_function_computes_in_bfloat16_and_what_is_kept_is_float32():
    seen = []

    def apply(params, x):
        seen.append((params.dtype, x.dtype))
        return x @ params

    weights = jnp.full((2, D, 2), 1.0 + 2.0**-12, jnp.float32)  # not in bfloat16
    trained = run(apply, weights, optimizer=optax.sgd(1e-5))
    assert {str(dtype) for dtype in sum(seen, ())} == {"bfloat16"}
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((trained.params, trained.loss))}
    assert dtypes == {jnp.dtype("float32")}
    # The step is far below bfloat16's resolution at 1, and yet it is made.
    x, y = np.asarray(X, float), np.asarray(TARGETS, float)
    slope = x.T @ (x.sum(1, keepdims=True) * np.ones(2) - y) / ROWS
    moved = (
        np.asarray(trained.params, float)[0] - np.asarray(weights, float)[0]
    ) / -1e-5
    error = np.abs(moved - slope).max()
    assert 0 < error < 0.03 * np.abs(slope).max()


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_near_that_in_full_precision(accumulate):
    layers = Dense(16), BatchNorm(), Activation(ReLU()), Dense(2)
    network = Sequential(layers)
    options = {
        "optimizer": momentum_sgd(0.05, steps_per_epoch=2, epochs=8, weight_decay=1e-3),
        "epochs": 8,
        "batch_size": 6,
        "accumulate": accumulate,
    }
    params = start(network)
    mixed = run(network, params, **options)
    full = run(network, params, **options, precision="full")
    assert {a.dtype for a in jax.tree.leaves(mixed.params)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(mixed.loss, full.loss, rtol=0.05)
    assert not np.array_equal(mixed.loss, full.loss)
    assert (full.loss[:, -1] < full.loss[:, 0]).all()


def test_statistics_have_the_digits_of_float32():
    x = X + 10.0  # bfloat16 has steps of 1/16 there
    trained = run(Sequential((BatchNorm(0.5), Dense(2))), start_norm(), x=x)
    rounded = np.asarray(x.astype(jnp.bfloat16), float)
    kept = trained.params[0]["statistics"]
    mean, variance = 0.5 * rounded.mean(0), 0.5 + 0.5 * rounded.var(0, ddof=1)
    for seed in range(2):
        np.testing.assert_allclose(kept["mean"][seed], mean, rtol=2e-6)
        np.testing.assert_allclose(kept["variance"][seed], variance, rtol=2e-5)


def start_norm():
    return start(Sequential((BatchNorm(0.5), Dense(2))))


@pytest.mark.slow
def test_a_residual_network_has_nearly_the_loss_of_full_precision():
    network = resnet18(width_factor=1 / 16)
    x = jnp.asarray(RNG.normal(size=(ROWS, 8, 8, 3)), jnp.float32)
    targets = jnp.asarray(np.eye(10)[RNG.integers(10, size=ROWS)], jnp.float32)
    params = start(network, (8, 8, 3))
    trained = run(network, params, x, targets, loss="cross-entropy")
    for seed in range(2):
        one = jax.tree.map(lambda a, i=seed: a[i], params)
        outputs, _ = jax.jit(network.apply_training)(one, x)
        expected = optax.softmax_cross_entropy(outputs, targets).mean()
        np.testing.assert_allclose(trained.loss[seed, 0], expected, rtol=0.05)
    assert {a.dtype for a in jax.tree.leaves(trained.params)} == {jnp.dtype("float32")}
    assert (trained.diverged_at == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X.astype(float)}, "needs float32 with.*Got float32, float64. Convert"),
        (
            {"jacobian_penalty": JacobianPenalty(0.1)},
            "full precision with a `jacobian_penalty`.*Take `precision='full'`",
        ),
        (
            {"adversary": PGD(0.1, steps=1), "targets": jnp.sign(TARGETS[:, :1])},
            "full precision with a `adversary`",
        ),
        ({"precision": "half"}, "one of 'full', 'mixed'. Got `precision='half'`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_has_no_mixed_precision_is_refused(change, message):
    outputs = change.get("targets", TARGETS).shape[1]
    network = mlp(depth=1, width=4, outputs=outputs, activation=Erf())
    with unchecked(), pytest.raises(ValueError, match=message):
        run(network, start(network), **change)
