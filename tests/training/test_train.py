"""Training, against hand-written back-propagation and against itself."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import oracles
from oracles import unchecked
from widelimit.activations import AbstractActivation, Identity
from widelimit.layers import Activation, BatchNorm, Sequential
from widelimit.measures import lazy_ratio
from widelimit.networks import cnn, mlp, zhu2022_network
from widelimit.training import CropFlip, step_decay_sgd, train

D, OUT, ROWS, BATCH, SEEDS = 3, 4, 11, 4, 2  # two batches; three rows wait
RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(ROWS, D)))
LABELS = RNG.integers(OUT, size=ROWS)
TARGETS = {
    "cross-entropy": jnp.asarray(np.eye(OUT)[LABELS]),
    "squared": jnp.asarray(RNG.normal(size=(ROWS, OUT))),
    "logistic": jnp.asarray(np.where(LABELS > 1, 1.0, -1.0)[:, None]),
}
SGD = optax.sgd(0.3)


def initial(net, keys):
    return jax.vmap(lambda k: net.init(k, (D,)))(keys)


def seeds(getkey, net=None, k=SEEDS):
    """A network, its initial parameters and the keys of its training."""
    net = net or mlp(depth=2, width=5, outputs=OUT)
    return (
        net,
        initial(net, jax.random.split(getkey(), k)),
        jax.random.split(getkey(), k),
    )


def run(net, params, keys, **options):
    defaults = {
        "loss": "cross-entropy",
        "optimizer": SGD,
        "epochs": 3,
        "batch_size": BATCH,
        "keys": keys,
    }
    options = defaults | options
    x, targets = (
        options.pop("x", X),
        options.pop("targets", TARGETS.get(options["loss"])),
    )
    return train(net, params, x, targets, **options)


def assert_trees_close(one, other, rtol=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15), one, other
    )


def assert_trees_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


# Against the reference


def orders(key, epochs):
    return [
        np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), ROWS))
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize(
    ("loss", "optimizer", "move"),
    [
        ("cross-entropy", SGD, oracles.descend(0.3)),
        ("squared", optax.sgd(0.1, momentum=0.8), oracles.heavy_ball(0.1, 0.8)),
        ("logistic", optax.adam(0.03), oracles.adam(0.03)),
        (
            "cross-entropy",
            step_decay_sgd(
                0.5, steps_per_epoch=2, decay=0.25, every=2, after=1, epochs=5
            ),
            oracles.descend(lambda step: 0.5 * 0.25 ** ((step // 2 + 1) // 2)),
        ),
    ],
    ids=["cross-entropy-sgd", "squared-momentum", "logistic-adam", "schedule"],
)
def test_parameters_and_losses_are_those_of_back_propagation(
    loss, optimizer, move, getkey
):
    targets = TARGETS[loss]
    net, params, keys = seeds(getkey, mlp(depth=2, width=5, outputs=targets.shape[1]))
    trained = run(net, params, keys, loss=loss, optimizer=optimizer, epochs=5)
    for seed in range(SEEDS):
        weights, losses = oracles.train_relu_network(
            [np.asarray(p["weight"][seed]) for p in params if p],
            np.asarray(X),
            np.asarray(targets),
            loss=loss,
            move=move,
            orders=orders(keys[seed], 5),
            batch_size=BATCH,
        )
        actual = [p["weight"][seed] for p in trained.params if p]
        for a, b in zip(actual, weights, strict=True):
            # Optax keeps its schedules in float32.
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(trained.loss[seed], losses, rtol=1e-10)
    np.testing.assert_array_equal(trained.diverged_at, [0] * SEEDS)
    assert trained.probes is None
    # Every epoch has its own order, and every seed its own.
    assert len({tuple(o) for key in keys for o in orders(key, 5)}) == 5 * SEEDS


def test_any_function_can_be_trained(getkey):
    # One step of gradient descent on a scalar slope, by hand.
    params = {"slope": jnp.array([0.7, -1.3])}
    x, y = jnp.array([[2.0]]), jnp.array([[1.5]])
    trained = train(
        lambda p, x: p["slope"] * x,
        params,
        x,
        y,
        loss="squared",
        optimizer=optax.sgd(0.1),
        epochs=1,
        batch_size=1,
        keys=jax.random.split(getkey(), 2),
    )
    slopes = np.array([0.7, -1.3])
    expected = slopes - 0.1 * 2.0 * (2.0 * slopes - 1.5)
    np.testing.assert_allclose(trained.params["slope"], expected, rtol=1e-14)
    np.testing.assert_allclose(
        trained.loss[:, 0], 0.5 * (2 * slopes - 1.5) ** 2, rtol=1e-14
    )


# Seeds


def test_a_seed_alone_trains_as_it_does_among_others(getkey):
    net, params, keys = seeds(getkey, k=3)
    together = run(net, params, keys)
    alone = run(net, jax.tree.map(lambda p: p[1:2], params), keys[1:2])
    assert_trees_close(alone, jax.tree.map(lambda a: a[1:2], together))


def test_seeds_of_image_networks_train_apart(getkey):
    net, shape = cnn(depth=2, channels=2, outputs=OUT), (4, 4, 1)
    params = jax.vmap(lambda k: net.init(k, shape))(jax.random.split(getkey(), 3))
    keys = jax.random.split(getkey(), 3)
    x = jax.random.normal(getkey(), (ROWS, *shape))
    options = {
        "loss": "cross-entropy", "optimizer": SGD, "epochs": 2, "batch_size": BATCH,
        "probe": lambda p, start: lazy_ratio(p, start), "probe_epochs": [0, 2],
    }  # fmt: skip
    targets = TARGETS["cross-entropy"]
    together = train(net, params, x, targets, keys=keys, **options)
    one = jax.tree.map(lambda p: p[1:2], params)
    alone = train(net, one, x, targets, keys=keys[1:2], **options)
    assert_trees_close(alone, jax.tree.map(lambda a: a[1:2], together))
    assert not np.isclose(together.loss[0], together.loss[2]).any()


def test_the_same_keys_give_the_same_bits(getkey):
    net, params, keys = seeds(getkey)
    assert_trees_equal(run(net, params, keys), run(net, params, keys))


def test_other_keys_draw_other_batches(getkey):
    net, params, keys = seeds(getkey)
    one, other = run(net, params, keys), run(net, params, keys[::-1])
    assert not np.isclose(one.loss, other.loss).any()


def test_no_epochs_change_nothing(getkey):
    net, params, keys = seeds(getkey)
    probe = lambda p, start: lazy_ratio(p, start)  # noqa: E731
    trained = run(net, params, keys, epochs=0, probe=probe, probe_epochs=[0])
    assert_trees_equal(trained.params, params)
    assert trained.loss.shape == (SEEDS, 0)
    np.testing.assert_array_equal(trained.diverged_at, [0] * SEEDS)
    np.testing.assert_array_equal(trained.probes, [[0.0]] * SEEDS)


def test_float32_stays_float32(getkey):
    net, params, keys = seeds(getkey)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    single = run(
        net,
        params,
        keys,
        x=X.astype(jnp.float32),
        targets=TARGETS["cross-entropy"].astype(jnp.float32),
    )
    dtypes = {a.dtype for a in jax.tree.leaves((single.params, single.loss))}
    assert dtypes == {jnp.dtype("float32")}


@pytest.mark.parametrize("own", ["float16", ">f4"])
def test_inputs_and_targets_of_any_type_and_order_are_converted(own, getkey):
    """Exactly: those of fewer bits to the type of the parameters."""
    net, params, keys = seeds(getkey)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    x, targets = (np.asarray(a).astype(own) for a in (X, TARGETS["cross-entropy"]))
    with unchecked():
        found = [
            run(net, params, keys, x=x, targets=targets, stream=stream)
            for stream in (False, True)
        ]
    x, targets = (jnp.asarray(a.astype(np.float32)) for a in (x, targets))
    expected = run(net, params, keys, x=x, targets=targets)
    assert found[0].loss.dtype == np.float32
    for one in found:
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def test_targets_take_the_type_of_the_inputs(getkey):
    net, params, keys = seeds(getkey)
    params = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    x = X.astype(jnp.float32)
    assert run(net, params, keys, x=x).loss.dtype == jnp.float32
    with pytest.raises(
        ValueError, match=r"`targets` that float32 holds. Got 1e\+39 at"
    ):
        targets = TARGETS["squared"].at[2, 1].set(1e39)
        run(net, params, keys, x=x, targets=targets, loss="squared")


@pytest.mark.parametrize(("stream", "own"), [(False, "f8"), (True, ">f8")])
def test_numbers_beyond_the_device_s_type_are_refused(stream, own, getkey):
    x = np.array(X, own)
    x[3, 2] = -1e39
    with jax.enable_x64(False), unchecked():
        net, params, keys = seeds(getkey)
        with pytest.raises(ValueError, match=r"float32 holds. Got -1e\+39 at .*3, 2\)"):
            run(net, params, keys, x=x, stream=stream)


# Divergence


def exploding(getkey):
    """Three seeds of a deep linear network, of which the middle one runs away."""
    net = mlp(depth=2, width=5, outputs=OUT, activation=Identity(), weight_std=0.9)
    net, params, keys = seeds(getkey, net, k=3)
    sizes = jnp.array([1.0, 3.0, 0.9])
    params = jax.tree.map(lambda p: sizes[:, None, None] * p, params)
    return net, params, keys, {"loss": "squared", "optimizer": optax.sgd(0.03)}


def test_a_seed_that_diverges_stops_and_the_others_go_on(getkey):
    net, params, keys, options = exploding(getkey)
    trained = run(net, params, keys, epochs=6, **options)
    epoch = int(trained.diverged_at[1])
    assert 1 < epoch < 6, "choose another size: the test needs a start that is finite"
    np.testing.assert_array_equal(trained.diverged_at, [0, epoch, 0])
    assert np.isfinite(trained.loss[1, : epoch - 1]).all()
    assert np.isnan(trained.loss[1, epoch - 1 :]).all()
    # It keeps what it had before that epoch.
    before = run(net, params, keys, epochs=epoch - 1, **options)
    assert_trees_close(
        *(jax.tree.map(lambda a: a[1], t.params) for t in (trained, before))
    )
    # The others are what they would be alone.
    for seed in (0, 2):
        pick = functools.partial(jax.tree.map, lambda a, i=seed: a[i : i + 1])
        alone = run(net, pick(params), keys[seed : seed + 1], epochs=6, **options)
        assert_trees_close(alone, pick(trained))


def test_a_seed_may_diverge_at_once(getkey):
    net, params, keys = seeds(getkey)
    sizes = jnp.array([1e200, 1.0])
    params = jax.tree.map(lambda p: sizes[:, None, None] * p, params)
    trained = run(net, params, keys, loss="squared")
    np.testing.assert_array_equal(trained.diverged_at, [1, 0])
    assert_trees_equal(
        jax.tree.map(lambda a: a[0], trained.params),
        jax.tree.map(lambda a: a[0], params),
    )
    assert np.isnan(trained.loss[0]).all() and np.isfinite(trained.loss[1]).all()


def test_a_finite_loss_with_parameters_that_overflow_is_divergence(getkey):
    # The loss before the only step is finite; the step is not.
    trained = train(
        lambda p, x: p * x,
        jnp.array([1e150]),
        jnp.array([[1e3]]),
        jnp.array([[0.0]]),
        loss="squared",
        optimizer=optax.sgd(1e155),
        epochs=1,
        batch_size=1,
        keys=jax.random.split(getkey(), 1),
    )
    np.testing.assert_array_equal(trained.diverged_at, [1])
    np.testing.assert_array_equal(trained.params, [1e150])


# Probes


def probe(params, start):
    return {
        "ratio": lazy_ratio(params, start),
        "first": params[0]["weight"],
        "count": jnp.asarray(7),
    }


@pytest.mark.parametrize("epochs", [[3, 0, 1, 3], [2]], ids=str)
def test_probes_are_those_of_shorter_trainings(epochs, getkey):
    net, params, keys = seeds(getkey)
    trained = run(net, params, keys, probe=probe, probe_epochs=epochs)
    stops = sorted(set(epochs))
    for index, epoch in enumerate(stops):
        short = run(net, params, keys, epochs=epoch)
        expected = jax.jit(jax.vmap(probe))(short.params, params)
        at = jax.tree.map(lambda a: a[:, index], trained.probes)  # noqa: B023
        assert_trees_close(at, expected)
    assert trained.probes["first"].shape == (SEEDS, len(stops), D, 5)
    assert trained.probes["count"].dtype == jnp.asarray(7).dtype
    # Looking does not change what is looked at.
    plain = run(net, params, keys)
    assert_trees_close(trained.params, plain.params)
    assert_trees_close(trained.loss, plain.loss)


def test_probes_of_a_diverged_seed_are_nan(getkey):
    net, params, keys, options = exploding(getkey)
    trained = run(
        net, params, keys, epochs=6, probe=probe, probe_epochs=range(7), **options
    )
    epoch = int(trained.diverged_at[1])
    bad = np.isnan(trained.probes["ratio"])
    np.testing.assert_array_equal(bad[1], np.arange(7) >= epoch)
    assert not bad[[0, 2]].any()
    assert np.isnan(trained.probes["first"][1, epoch:]).all()
    np.testing.assert_array_equal(trained.probes["count"], np.full((3, 7), 7))


# Reports


@pytest.mark.parametrize("probe_epochs", [(), (0, 2, 3)], ids=str)
def test_report_hears_of_every_epoch(probe_epochs, getkey):
    net, params, keys = seeds(getkey)
    shares = []
    run(
        net,
        params,
        keys,
        report=shares.append,
        probe=probe if probe_epochs else None,
        probe_epochs=probe_epochs,
    )
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_each_call_has_its_own_report(getkey):
    net, params, keys = seeds(getkey)
    heard = [[], []]
    run(net, params, keys, report=heard[0].append)
    run(net, params, keys)
    run(net, params, keys, report=heard[1].append)
    assert [len(shares) for shares in heard] == [3, 3]


# Compilation


@dataclasses.dataclass(frozen=True)
class AbstractCounter(AbstractActivation):
    """Squares, and counts how often Python runs it."""

    smooth = True

    def __call__(self, z):
        CALLS.append(z.shape)
        return z * z


CALLS = []


def counted(net):
    layers = tuple(
        Activation(AbstractCounter()) if isinstance(layer, Activation) else layer
        for layer in net.layers
    )
    return Sequential(layers)


def traces(*arguments, **options):
    CALLS.clear()
    run(*arguments, **options)
    return len(CALLS)


def test_equal_networks_and_optimizers_share_one_program(getkey):
    def call(width=5, **options):
        net = counted(mlp(depth=1, width=width, outputs=OUT))
        optimizer = step_decay_sgd(0.1, steps_per_epoch=2, epochs=3)
        _, params, keys = seeds(getkey, net)
        return traces(net, params, keys, **{"optimizer": optimizer} | options)

    assert call() > 0
    assert call() == call() == 0
    assert call(report=lambda share: None) == 0
    assert call(width=6) > 0  # the count does see a new program
    assert call(optimizer=optax.sgd(0.1)) > 0


def test_initialisations_share_one_program(getkey):
    counts = []
    for name in ("he", "lecun", "ntk", "non-lazy"):
        net = counted(
            zhu2022_network(depth=2, width=6, outputs=OUT, initialization=name)
        )
        _, params, keys = seeds(getkey, net)
        counts.append(traces(net.without_init((D,)), params, keys))
    assert counts[0] > 0 and counts[1:] == [0, 0, 0]


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[0]}, r"`train` needs `x` as a matrix.*Got `x.shape=\(3,\)`"),
        ({"x": np.ones((ROWS, D), "g")}, r"floating.*64 bits.*Got `x.dtype=float128`"),
        ({"x": X[:0]}, r"Got `x.shape=\(0, 3\)`"),
        (
            {"targets": TARGETS["logistic"]},
            "probabilities of classes.*with sum -1 and least -1",
        ),
        (
            {"targets": jnp.asarray([[0.5, 1.0, -0.5, 0.0]] * ROWS)},
            "none, 0, with sum 1 and least -0.5",
        ),
        (
            {"targets": jnp.ones(ROWS)},
            r"`targets` as a matrix.*\(11,\)`. Take `targets",
        ),
        (
            {"x": np.ma.masked_array(np.asarray(X), np.asarray(X) == X[3, 1])},
            "`train` needs numbers without a mask in `x`. Got 1 masked",
        ),
        (
            {"targets": np.ma.masked_equal(np.asarray(TARGETS["cross-entropy"]), 1)},
            "numbers without a mask in `targets`. Got 11 masked",
        ),
        ({"checkpoint": "x"}, r"`Checkpoint` as `checkpoint`. Got `checkpoint='x'`"),
        ({"scaling": 3}, r"`PixelScaling` as `scaling`. Got `scaling=3`. Write"),
        ({"augmentation": 3}, r"a function as `augmentation`.*Write `CropFlip\(\)`"),
        ({"augmentation": CropFlip}, "a function as `augmentation`. Got .*class"),
        (
            {"optimizer": 3},
            r"an Optax transformation as `optimizer`. Got `optimizer=3`",
        ),
        ({"optimizer": optax.sgd}, "Optax transformation.*Got `optimizer=<function"),
        ({"jacobian_penalty": 3}, r"`JacobianPenalty` as `jacobian_penalty`. Got 3"),
        ({"accumulate": 2.5}, r"a whole number as `accumulate`. Got `accumulate=2.5`"),
        ({"epochs": 1.5}, r"a whole number as `epochs`. Got `epochs=1.5`"),
        ({"batch_size": 2.5}, r"a whole number as `batch_size`"),
        ({"probe": 3, "probe_epochs": [1]}, "a function as `probe`. Got `probe=3`"),
        ({"report": 3}, "a function as `report`"),
        ({"keys": 3}, "an array of random keys, one per seed. Got `keys=3`"),
        ({"epochs": -1}, "`train` needs `epochs >= 0`. Got `epochs=-1`"),
        ({"batch_size": 0}, "`batch_size >= 1`. Got `batch_size=0`"),
        (
            {"batch_size": 12},
            r"batch that fits. Got `x.shape=\(11, 3\)`.*`batch_size=12`",
        ),
        ({"x": X[:7]}, r"one target per row of `x`.*`targets.shape=\(11, 4\)`"),
        (
            {"x": X.at[2, 1].set(np.nan)},
            r"`train` needs finite numbers in `x`. Got nan at index \(2, 1\)",
        ),
        (
            {"targets": TARGETS["squared"].at[3, 0].set(np.inf)},
            r"finite numbers in `targets`. Got inf at index \(3, 0\)",
        ),
        (
            {"targets": jnp.full((ROWS, 2), 0.5)},
            r"as many outputs as targets. Got outputs of shape `\(4,\)` and.* `\(2,\)`",
        ),
        (
            {"keys": jax.random.split(jax.random.key(0), 3)},
            r"Got lengths \[2\] and 3 keys",
        ),
        ({"probe_epochs": [4]}, r"`probe_epochs` from 0 to `epochs=3`. Got \[4\]"),
        ({"probe_epochs": [1, -1]}, r"Got \[-1, 1\]"),
        (
            {"probe": probe},
            r"`probe_epochs` when it is given a probe. Got none. Pass .*\(0, 3\)",
        ),
        (
            {"loss": "logistic", "targets": jnp.ones((ROWS, 1))},
            r"two classes, \+1 and -1.*Got 11 rows that are all \+1, which",
        ),
        ({"loss": "hinge", "targets": TARGETS["squared"]}, "Got `loss='hinge'`"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_named(change, message, getkey):
    net, params, keys = seeds(getkey)
    keys = change.pop("keys", keys)
    with unchecked(), pytest.raises(ValueError, match=message):
        run(net, params, keys, **change)


def test_training_is_given_the_network_itself(getkey):
    net, params, keys = seeds(getkey)
    with unchecked(), pytest.raises(ValueError, match="needs the network itself"):
        run(net.apply_training, params, keys)
    with unchecked(), pytest.raises(ValueError, match="`train` needs .* one array"):
        run(lambda p, x: net.apply_training(p, x), params, keys)
    batched = Sequential((net, BatchNorm()))
    with pytest.raises(ValueError, match="Got its method `apply`.*Pass `network`"):
        run(batched.apply, (params, ()), keys)
    with unchecked(), pytest.raises(ValueError, match="function as `apply`. Got `app"):
        run(3, params, keys)


def test_parameters_without_seeds_are_refused(getkey):
    net, _, keys = seeds(getkey)
    with pytest.raises(
        ValueError, match=r"Got lengths \[3, 5\] and 2 keys. Initialise"
    ):
        run(net, net.init(getkey(), (D,)), keys)
    with pytest.raises(ValueError, match=r"Got lengths \[\] and 2 keys"):
        run(net, ((),), keys)
