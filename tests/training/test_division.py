"""Batches divided over devices: the same training as on one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from widelimit.activations import Erf, ReLU
from widelimit.attacks import PGD
from widelimit.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Residual,
    Sequential,
    is_statistic,
)
from widelimit.networks import mlp
from widelimit.training import (
    CropFlip,
    JacobianPenalty,
    PixelScaling,
    division,
    program,
    train,
)
from widelimit.training.plan import Plan

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu" or jax.device_count() < 2,
    reason="batches are divided over several CPU devices",
)

ROWS, BATCH, SHAPE = 13, 6, (4, 5, 2)
RNG = np.random.default_rng(3)
X = RNG.normal(0.3, 1.5, size=(ROWS, *SHAPE))
TARGETS = jnp.asarray(np.eye(3)[RNG.integers(0, 3, ROWS)])
KEYS = jax.random.split(jax.random.key(4), 3)


def network(activation):
    inner = Sequential((Conv(3, (3, 3)), BatchNorm(0.2), Activation(activation)))
    shortcut = Sequential((Conv(3, (1, 1)), BatchNorm(0.4)))
    return Sequential((Residual(inner, shortcut), Flatten(), Dense(3)))


BATCHED = network(ReLU())
PLAIN = Sequential((Conv(3, (3, 3)), Activation(Erf()), Flatten(), Dense(3)))


def start(net, seeds=1, shape=SHAPE):
    return jax.vmap(lambda key: net.init(key, shape))(KEYS[:seeds])


def run(net, x=X, seeds=1, **options):
    defaults = {
        "loss": "cross-entropy", "optimizer": optax.sgd(0.1, momentum=0.5),
        "epochs": 2, "batch_size": BATCH, "keys": KEYS[:seeds],
    }  # fmt: skip
    x = x if options.get("stream") else jnp.asarray(x)
    return train(net, start(net, seeds), x, TARGETS, **(defaults | options))


@pytest.fixture
def devices(monkeypatch):
    """Numbers of devices that trainings took, the last one at the end."""
    seen = []

    def spy(*args):
        found = division.mesh(*args)
        seen.append(found.size)
        return found

    monkeypatch.setattr(program, "mesh", spy)
    return seen


def assert_close(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_divided_training_is_a_loop_over_whole_batches(devices):
    """The loop takes gradients of whole batches and knows nothing of devices."""
    rate, momentum = 0.1, 0.5
    found = run(BATCHED)
    assert devices[-1] == 2

    @jax.jit
    def value(params, x, targets):
        y, seen = BATCHED.apply_training(params, x)
        return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(y), axis=1)), seen

    slope = jax.value_and_grad(value, has_aux=True)
    params = jax.tree.map(lambda a: a[0], start(BATCHED))
    velocity, losses = jax.tree.map(jnp.zeros_like, params), []
    for epoch in range(2):
        drawn = jax.random.fold_in(KEYS[0], epoch)
        order = jax.random.permutation(drawn, ROWS)[:12].reshape(2, BATCH)
        values = []
        for rows in order:
            (loss, seen), gradient = slope(params, jnp.asarray(X)[rows], TARGETS[rows])
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
            moved = jax.tree.map(lambda p, v: p - rate * v, params, velocity)
            params = jax.tree_util.tree_map_with_path(
                lambda path, new, kept: kept if is_statistic(path) else new, moved, seen
            )
            values.append(float(loss))
        losses.append(np.mean(values))
    assert_close(jax.tree.map(lambda a: a[0], found.params), params)
    np.testing.assert_allclose(found.loss[0], losses, rtol=1e-10)


BYTES = RNG.integers(0, 256, size=X.shape).astype(np.uint8)
PIXELS = PixelScaling((0.4, 0.5), (0.3, 0.2))
OPTIONS = {
    "parts": (BATCHED, X, {"accumulate": 3}),
    "augmentation": (BATCHED, X, {"augmentation": CropFlip(1)}),
    "stream of bytes": (
        BATCHED, BYTES, {"stream": True, "scaling": PIXELS},
    ),
    "attacked inputs": (BATCHED, X, {"adversary": PGD(0.3, steps=3), "patience": 1}),
    "penalty": (PLAIN, X, {"jacobian_penalty": JacobianPenalty(0.2)}),
    "lazy ball": (PLAIN, X, {"lazy_radius": 0.4}),
    "three seeds": (BATCHED, X, {"seeds": 3}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_divided_or_not_it_gives_the_same(case, devices, monkeypatch):
    net, x, options = OPTIONS[case]
    found = run(net, x, **options)
    assert devices[-1] == 2
    monkeypatch.setattr(
        division, "divided", lambda *_: {"seeds": 1, division.BATCH_AXIS: 1}
    )
    whole = run(net, x, **options)
    assert devices[-1] == 1
    assert_close(found, whole)


def test_random_directions_are_others_on_every_device(devices):
    """Two equal rows, one on each device: with one direction each, penalties differ."""
    x = np.repeat(X[:1], 2, axis=0)
    penalty = JacobianPenalty(1.0, projections=1)
    options = {"batch_size": 2, "epochs": 1, "jacobian_penalty": penalty}
    params, targets = start(PLAIN), TARGETS[:2]

    def squares(key):
        one = jax.tree.map(lambda a: a[0], params)
        return penalty.outputs_and_squares(PLAIN, one, jnp.asarray(x[:1]), key)[1][0]

    found = train(
        PLAIN, params, jnp.asarray(x), targets, loss="squared",
        optimizer=optax.sgd(0.0), keys=KEYS[:1], **options,
    )  # fmt: skip
    assert devices[-1] == 2
    drawn = jax.random.fold_in(KEYS[0], 0)
    key = jax.random.split(jax.random.fold_in(drawn, 1), 1)[0]
    each = [squares(jax.random.fold_in(key, device)) for device in range(2)]
    assert abs(each[0] - each[1]) > 1e-3 * each[0]
    np.testing.assert_allclose(found.penalty[0, 0], 0.5 * np.mean(each), rtol=1e-10)


@pytest.mark.parametrize(
    ("net", "x", "seeds", "options", "expected"),
    [
        (BATCHED, X, 1, {"batch_size": 5}, 1),  # does not divide
        (BATCHED, X, 1, {"batch_size": 12, "accumulate": 4}, 1),  # nor do its parts
        (lambda p, x: PLAIN.apply(p, x), X, 1, {}, 1),  # may treat rows together
        (mlp(depth=1, width=4, outputs=3), X.reshape(ROWS, -1), 1, {}, 1),
        (BATCHED, X, 2, {}, 2),
    ],
)
def test_what_is_not_divided(net, x, seeds, options, expected, devices):
    source = PLAIN if not hasattr(net, "init") else net
    params = start(source, seeds, x.shape[1:])
    train(
        net, params, jnp.asarray(x), TARGETS, loss="squared", optimizer=optax.sgd(0.1),
        epochs=1, keys=KEYS[:seeds], **({"batch_size": BATCH} | options),
    )  # fmt: skip
    assert devices[-1] == expected
    axes = division.divided(seeds, x.ndim > 2, _plan(net, **options))
    assert axes[division.BATCH_AXIS] == 1


def _plan(net, batch_size=BATCH, accumulate=1):
    empty = Plan(**dict.fromkeys(Plan._fields))
    return empty._replace(apply=net, batch_size=batch_size, accumulate=accumulate)


def test_seeds_come_first_and_rows_take_what_is_left(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: list(range(8)))
    for seeds, batch, expected in (
        (1, 64, (1, 8)), (2, 64, (2, 4)), (3, 64, (3, 2)), (8, 64, (8, 1)),
        (16, 64, (8, 1)), (5, 64, (5, 1)), (1, 12, (1, 6)), (2, 7, (2, 1)),
    ):  # fmt: skip
        axes = division.divided(seeds, True, _plan(BATCHED, batch))
        assert tuple(axes.values()) == expected


def test_what_it_returns_goes_with_all_else():
    """JAX computes with nothing that lies on different sets of devices."""
    divided, whole, two = (
        run(BATCHED),
        run(BATCHED, batch_size=5),
        run(BATCHED, seeds=2),
    )
    for found in (divided, whole, two):
        for other in (divided, whole, two):
            assert np.all(np.isfinite(found.loss - other.loss))
        for batch_size in (5, 6):
            alone = jax.tree.map(lambda a: a[:1], found.params)
            again = train(
                BATCHED, alone, jnp.asarray(X), TARGETS, loss="cross-entropy",
                optimizer=optax.sgd(0.1), epochs=1, batch_size=batch_size,
                keys=KEYS[:1],
            )  # fmt: skip
            assert np.isfinite(again.loss).all()
        one = jax.tree.map(lambda a: a[0], found.params)
        x = jax.device_put(jnp.asarray(X), jax.devices()[0])
        assert np.isfinite(BATCHED(one, x)).all()


@pytest.mark.parametrize("place", [0, 1])
def test_its_inputs_may_lie_on_any_device(place):
    at = jax.devices()[place]
    found = train(
        BATCHED, jax.device_put(start(BATCHED), at), jax.device_put(jnp.asarray(X), at),
        jax.device_put(TARGETS, at), loss="cross-entropy",
        optimizer=optax.sgd(0.1, momentum=0.5), epochs=2, batch_size=BATCH,
        keys=jax.device_put(KEYS[:1], at),
    )  # fmt: skip
    assert_close(found, run(BATCHED))


def test_probes_see_their_whole_batches(devices):
    x = jnp.asarray(X)

    def variances(params, _):
        _, seen = BATCHED.apply_training(params, x)
        return seen[0]["branch"][1]["statistics"]["variance"]

    params = start(BATCHED)
    found = run(BATCHED, probe=variances, probe_epochs=(0,))
    assert devices[-1] == 2
    one = jax.tree.map(lambda a: a[0], params)
    np.testing.assert_allclose(found.probes[0, 0], variances(one, None), rtol=1e-10)


class Failing(np.ndarray):
    """Rows that can be read once, to be checked."""

    def __getitem__(self, index):
        if isinstance(index, np.ndarray):
            raise OSError("the disk is gone")
        return super().__getitem__(index)


def test_rows_that_cannot_be_read_end_it_on_every_device():
    with pytest.raises(ValueError, match="can be read while it trains.*disk is gone"):
        run(BATCHED, X.view(Failing), stream=True)
