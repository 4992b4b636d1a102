"""Training that ends at the lazy ball, and adversarial training inside it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.activations import Tanh
from widelimit.attacks import PGD, attack
from widelimit.networks import mlp, wang2022_network
from widelimit.training import JacobianPenalty, LazyBall, lazy_projection, train

D, M, N, BATCH, SEEDS = 4, 16, 12, 3, 2
RATE, EPOCHS = 0.5, 6
NET = wang2022_network(width=M)


@pytest.fixture
def data(getkey):
    x = jax.random.normal(getkey(), (N, D))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    return x, jnp.sign(x[:, :1] + 0.3 * x[:, 1:2])


@pytest.fixture
def seeds(getkey):
    keys = jax.random.split(getkey(), SEEDS)
    return jax.vmap(lambda k: NET.init(k, (D,)))(keys), keys


def run(seeds, data, net=NET, **options):
    params, keys = seeds
    defaults = {
        "loss": "logistic",
        "optimizer": optax.sgd(RATE),
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "keys": keys,
    }
    return train(net, params, *data, **defaults | options)


def pick(tree, seed):
    return jax.tree.map(lambda a: a[seed], tree)


def by_hand(params, key, x, y, epochs):
    """SGD in NumPy, step by step: the weights and the distance after every step."""
    weight = np.array(params[0]["weight"])
    signs, start = np.array(params[-1]["signs"])[:, 0], weight.copy()
    path, losses = [], []
    inputs = np.asarray(x)
    for epoch in epochs:
        order = jax.random.permutation(jax.random.fold_in(key, epoch), N)
        for rows in np.asarray(order).reshape(-1, BATCH):
            pre = inputs[rows] @ weight
            f = np.maximum(pre, 0) @ signs / np.sqrt(M)
            t = np.asarray(y)[rows, 0]
            losses.append(np.logaddexp(0, -t * f).mean())
            slope = -t / (1 + np.exp(t * f)) / BATCH
            step = inputs[rows].T @ ((pre > 0) * slope[:, None] * signs / np.sqrt(M))
            weight = weight - RATE * step
            gap = np.linalg.norm(weight - start, axis=0).max()
            path.append((weight, gap))
    return path, np.array(losses).reshape(len(epochs), -1).mean(axis=1)


def test_a_seed_stops_before_the_step_that_leaves_the_ball(seeds, data):
    paths = [
        by_hand(pick(seeds[0], i), seeds[1][i], *data, range(EPOCHS))[0] for i in (0, 1)
    ]
    radius = float(paths[0][9][1]) * (1 + 1e-9)  # seed 0 goes beyond at a later step
    trained = run(seeds, data, lazy_radius=radius)
    for seed, path in enumerate(paths):
        out = [i for i, (_, gap) in enumerate(path) if gap > radius]
        step = out[0] if out else len(path)
        assert int(trained.left_at[seed]) == (step + 1 if out else 0)
        weight = path[step - 1][0] if step else seeds[0][0]["weight"][seed]
        found = trained.params[0]["weight"][seed]
        np.testing.assert_allclose(found, weight, rtol=1e-10)
        ball = LazyBall(pick(seeds[0], seed), radius)
        assert ball.contains(pick(trained.params, seed))
        epoch = step // (N // BATCH)
        assert np.isfinite(trained.loss[seed, : epoch + 1]).all() or not out
        assert np.isnan(trained.loss[seed, epoch + 1 :]).all()
    assert trained.left_at[0] > 2 and not trained.diverged_at.any()


def test_a_large_ball_changes_nothing(seeds, data):
    free, kept = run(seeds, data), run(seeds, data, lazy_radius=1e3)
    assert not kept.left_at.any()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12),
        (free.params, free.loss),
        (kept.params, kept.loss),
    )


def test_adversarial_training_is_algorithm_1(seeds, data):
    """Attack all, descend by batches, project."""
    x, y = data
    radius, epochs = 0.2, 2
    adversary = PGD(0.15, steps=4)
    trained = run(
        seeds, data, adversary=adversary, epochs=epochs,
        optimizer=optax.chain(optax.sgd(RATE), lazy_projection(radius, every=4)),
    )  # fmt: skip
    params, key = pick(seeds[0], 1), seeds[1][1]
    start, right, losses = np.array(params[0]["weight"]), [], []
    now = params
    for epoch in range(epochs):
        found = attack(adversary, NET, now, x, y, loss="logistic")
        right.append(found.correct_after.mean())
        path, loss = by_hand(now, key, found.points, y, [epoch])
        weight = path[-1][0]
        losses.append(loss[0])
        gap = weight - start
        size = np.linalg.norm(gap, axis=0)
        weight = start + gap * np.minimum(1, radius / size)
        now = ({"weight": jnp.asarray(weight)}, *params[1:])
    np.testing.assert_allclose(trained.params[0]["weight"][1], weight, rtol=1e-8)
    np.testing.assert_allclose(trained.loss[1], losses, rtol=1e-8)
    np.testing.assert_allclose(trained.robust_accuracy[1], right)
    for seed in range(SEEDS):
        ball = LazyBall(pick(seeds[0], seed), radius)
        assert ball.contains(pick(trained.params, seed))


@pytest.mark.slow
def test_training_ends_when_the_robust_accuracy_no_longer_rises(seeds, data):
    options = {"adversary": PGD(0.02, steps=2), "epochs": 25}
    free = run(seeds, data, **options)
    kept = run(seeds, data, patience=2, **options)
    accuracy = np.asarray(free.robust_accuracy)
    for seed in range(SEEDS):
        best, waited, stop = -1.0, 0, 0
        for epoch, value in enumerate(accuracy[seed]):
            best, waited = (value, 0) if value > best else (best, waited + 1)
            if waited == 2:
                stop = epoch
                break
        assert 0 < stop < 25 and int(kept.stopped_at[seed]) == stop
        seen = kept.robust_accuracy[seed]
        np.testing.assert_allclose(seen[: stop + 1], accuracy[seed][: stop + 1])
        assert np.isnan(seen[stop + 1 :]).all()
        assert np.isnan(kept.loss[seed, stop:]).all()
        shorter = run(seeds, data, **options | {"epochs": stop})
        np.testing.assert_allclose(
            kept.params[0]["weight"][seed],
            shorter.params[0]["weight"][seed],
            rtol=1e-10,
        )


def test_a_seed_whose_loss_overflows_keeps_where_it_was_finite(getkey):
    """From 1e100 one step leads to -1e190, whose square is infinite."""
    trained = train(
        lambda p, x: p * x,
        jnp.array([1e100]),
        jnp.array([[1.0]]),
        jnp.array([[0.0]]),
        loss="squared",
        optimizer=optax.sgd(1e90),
        epochs=3,
        batch_size=1,
        keys=jax.random.split(getkey(), 1),
    )
    assert int(trained.diverged_at[0]) == 2 and np.isfinite(trained.loss[0, 0])
    np.testing.assert_array_equal(trained.params, [1e100])


BAD = {
    "finite `lazy_radius > 0`": {"lazy_radius": 0.0},
    "loss with a lower end": {"loss": "margin"},
    "an attack as its method or `adversary`": {"adversary": 0.1},
    "an `adversary` when it is given `patience`": {"patience": 1},
    "patience >= 1": {"patience": 0, "adversary": PGD(0.1)},
    "finite `radius >= 0`": {"adversary": PGD(float("inf"))},
    "one `radius`, or one for each of the 12": {"adversary": PGD(np.ones(3))},
    "inside the attack's box": {"adversary": PGD(0.1, low=0.0)},
    "either an `adversary` or a `jacobian_penalty`": {
        "adversary": PGD(0.1),
        "jacobian_penalty": JacobianPenalty(0.1),
        "net": mlp(depth=1, width=M, activation=Tanh()),
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message, seeds, data):
    change = BAD[message]
    if "net" in change:
        keys = seeds[1]
        seeds = jax.vmap(lambda k: change["net"].init(k, (D,)))(keys), keys
    with unchecked(), pytest.raises(ValueError, match=message):
        run(seeds, data, **change)


def test_labels_must_be_two_classes(seeds, data):
    x, y = data
    with pytest.raises(ValueError, match="targets \\+1 and -1"):
        run(seeds, (x, (y + 1) / 2))
    with pytest.raises(ValueError, match="labels: \\+1 and -1"):
        run(seeds, (x, 3 * y), loss="squared", adversary=PGD(0.1))
    with unchecked(), pytest.raises(ValueError, match="needs an array as `x`"):
        run(seeds, (x.tolist(), y))


def test_parameters_of_another_network_are_refused(seeds, data):
    with pytest.raises(ValueError, match="`train` needs"):
        run(seeds, data, net=wang2022_network(width=M, depth=2))
