"""Trainings that are broken off and go on, bit for bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oracles import unchecked
from widelimit.activations import ReLU
from widelimit.attacks import PGD
from widelimit.layers import Activation, BatchNorm, Dense, Sequential
from widelimit.measures import lazy_ratio
from widelimit.networks import mlp
from widelimit.training import (
    Checkpoint,
    CropFlip,
    JacobianPenalty,
    checkpoint,
    lazy_projection,
    momentum_sgd,
    optimizers,
    train,
)
from widelimit.training.fingerprint import fingerprint

D, OUT, SEEDS, EPOCHS = 3, 2, 2, 5
RNG = np.random.default_rng(8)
X = jnp.asarray(RNG.normal(size=(9, D)))
TARGETS = jnp.asarray(RNG.dirichlet(np.ones(OUT), 9))
NETWORK = Sequential((Dense(4), BatchNorm(), Activation(ReLU()), Dense(OUT)))
KEYS = jax.random.split(jax.random.key(5), SEEDS)
SGD = momentum_sgd(
    0.1, steps_per_epoch=2, epochs=EPOCHS, schedule="cosine", weight_decay=0.01
)


def probe(params, start):
    return {"ratio": lazy_ratio(params, start), "last": params[3]["weight"]}


@functools.cache
def start(network=NETWORK):
    init = jax.vmap(lambda key: network.init(key, (D,)))
    return init(jax.random.split(jax.random.key(6), SEEDS))


def run(network=NETWORK, params=None, x=X, targets=TARGETS, **options):
    defaults = {
        "loss": "squared", "optimizer": SGD, "epochs": EPOCHS, "batch_size": 4,
        "keys": KEYS, "probe": probe, "probe_epochs": (0, 2, 3),
    }  # fmt: skip
    params = start(network) if params is None else params
    return train(network, params, x, targets, **(defaults | options))


@functools.cache
def uninterrupted():
    return run()


def assert_same_bits(one, other):
    def same(a, b):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    jax.tree.map(same, one, other)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def killed_after(monkeypatch):
    """Breaks trainings off after so many writings."""
    write = checkpoint._write

    def arm(writings):
        left = [writings]

        def counted(*arguments):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            write(*arguments)

        monkeypatch.setattr(checkpoint, "_write", counted)

    yield arm
    monkeypatch.setattr(checkpoint, "_write", write)


# Going on


def test_a_checkpoint_changes_no_bit_and_compiles_nothing_else(
    tmp_path, killed_after, caplog
):
    shares, again = [], Checkpoint(tmp_path / "again")
    with jax.log_compiles():
        assert_same_bits(
            run(checkpoint=Checkpoint(tmp_path), report=shares.append), uninterrupted()
        )
        killed_after(2)
        with pytest.raises(Killed):
            run(checkpoint=again)
        killed_after(100)
        run(checkpoint=again)
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert {path.name for path in tmp_path.iterdir()} == {"state.npz", "again"}
    compiled = [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]
    assert sum("_advance" in message for message in compiled) == 1


@pytest.mark.parametrize(
    ("every", "writings"), [(1, 1), (1, 3), (2, 0), (2, 2), (9, 0)]
)
def test_a_training_that_is_broken_off_goes_on(every, writings, tmp_path, killed_after):
    place = Checkpoint(tmp_path / "deep" / "own.npz", every)
    killed_after(writings)
    with pytest.raises(Killed):
        run(checkpoint=place)
    assert place.file.exists() == (writings > 0)
    killed_after(100)
    shares = []
    assert_same_bits(run(checkpoint=place, report=shares.append), uninterrupted())
    done = every * writings
    assert shares == pytest.approx([e / 5 for e in range(done + 1, 6)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adversary", "ball"])
def test_attacks_patience_and_balls_go_on_too(kind, tmp_path, killed_after):
    options = {
        "network": mlp(depth=1, width=4, outputs=1),
        "targets": jnp.sign(TARGETS[:, :1]),
        "loss": "logistic",
        "probe": None,
        "probe_epochs": (),
    }
    if kind == "ball":
        options |= {"lazy_radius": 0.2, "optimizer": optax.adam(0.01)}
    else:
        sgd = optax.chain(optax.sgd(0.1), lazy_projection(0.3, every=2))
        options |= {"adversary": PGD(0.1, steps=2), "patience": 3, "optimizer": sgd}
    whole = run(**options, epochs=12)
    killed_after(2)
    place = Checkpoint(tmp_path)
    with pytest.raises(Killed):
        run(**options, epochs=12, checkpoint=place)
    killed_after(100)
    assert_same_bits(run(**options, epochs=12, checkpoint=place), whole)
    stopped = whole.left_at if kind == "ball" else whole.stopped_at
    assert (stopped > 0).any()


def test_a_finished_one_is_not_trained_again(tmp_path, monkeypatch):
    place = Checkpoint(tmp_path, every=9)
    run(checkpoint=place)
    monkeypatch.setattr(checkpoint, "run_seeds", None)
    assert_same_bits(run(checkpoint=place), uninterrupted())


def test_seeds_that_have_diverged_end_it_early(tmp_path, monkeypatch):
    ends, go = [], checkpoint.run_seeds

    def counted(state, params, begin, end, *rest):
        ends.append(end)
        return go(state, params, begin, end, *rest)

    monkeypatch.setattr(checkpoint, "run_seeds", counted)
    params = jax.tree.map(lambda a: a * 1e200, start())
    kept = run(params=params, checkpoint=Checkpoint(tmp_path))
    assert_same_bits(kept, run(params=params))
    assert (kept.diverged_at == 1).all() and ends == [1, 5]
    ratios = jax.tree.leaves(kept.probes)[-1]
    np.testing.assert_array_equal(np.isnan(ratios), [[False, True, True]] * SEEDS)


@pytest.mark.slow
def test_no_epochs(tmp_path):
    options = {"epochs": 0, "probe_epochs": (0,), "checkpoint": Checkpoint(tmp_path)}
    for _ in range(2):
        none = run(**options)
        assert_same_bits(none.params, start())
        ratios = jax.tree.leaves(none.probes)[-1]
        assert none.loss.shape == (SEEDS, 0) and (ratios == 0).all()


# What a file belongs to


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = Checkpoint(tmp_path_factory.mktemp("finished"), every=9)
    run(checkpoint=place)
    return place


OTHER = Sequential((Dense(4), BatchNorm(0.2), Activation(ReLU()), Dense(OUT)))
WIDE = Sequential((Dense(5), BatchNorm(), Activation(ReLU()), Dense(OUT)))
RATE = momentum_sgd(
    0.2, steps_per_epoch=2, epochs=EPOCHS, schedule="cosine", weight_decay=0.01
)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"network": OTHER}, {"network"}),
        ({"network": WIDE}, {"network", "params"}),
        ({"params": jax.tree.map(lambda a: a * (1 + 1e-12), start())}, {"params"}),
        ({"x": X.at[8, 2].add(1e-12)}, {"x"}),
        ({"targets": TARGETS[::-1]}, {"targets"}),
        ({"optimizer": RATE}, {"optimizer"}),
        ({"epochs": 6, "batch_size": 3}, {"epochs", "batch_size"}),
        ({"loss": "cross-entropy"}, {"loss"}),
        ({"keys": KEYS[::-1]}, {"keys"}),
        ({"probe_epochs": (0, 2, 4)}, {"probe_epochs"}),
        ({"probe": lambda params, start: params[3]["weight"]}, {"probe"}),
        ({"augmentation": lambda x, key: x}, {"augmentation"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_another_training_is_refused_by_name(change, names, finished):
    before = finished.file.read_bytes()
    with pytest.raises(ValueError, match="`train` needs the checkpoint of this") as e:
        run(checkpoint=finished, **change)
    text = str(e.value)
    lines = text.split("now:\n")[1].split("\nDelete")[0].splitlines()
    assert {line.split(":")[0].strip() for line in lines} == names
    assert all(" -> " in line and len(line) < 160 for line in lines)
    assert "Delete the file" in text and str(finished.file) in text
    assert finished.file.read_bytes() == before


def test_another_version_is_refused(finished, monkeypatch):
    monkeypatch.setattr(checkpoint, "version", lambda name: "9.9.9")
    with pytest.raises(ValueError, match=r"widelimit: 0.1.0 -> '?9.9.9|'0.1.0' ->"):
        run(checkpoint=finished)


# Files


def damage(how, text):
    match how:
        case "empty":
            return b""
        case "text":
            return b"no archive"
        case "half":
            return text[: len(text) // 2]
        case "end":
            return text[:-1]
        case "bits":
            at = text.index(b"weight") + 200  # in the numbers of an array
            return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]


@pytest.mark.parametrize("how", ["empty", "text", "half", "end", "bits"])
def test_a_damaged_file_is_refused(how, finished, tmp_path):
    file = tmp_path / "state.npz"
    file.write_bytes(damage(how, finished.file.read_bytes()))
    message = "needs a checkpoint that can be read.*Delete it to train from the start"
    with pytest.raises(ValueError, match=message):
        run(checkpoint=Checkpoint(file))


def test_other_archives_and_pickles_are_refused(tmp_path):
    file = tmp_path / "state.npz"
    np.savez(file, x=np.zeros(3))
    with pytest.raises(ValueError, match="header"):
        run(checkpoint=Checkpoint(file))
    np.savez(file, header=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        run(checkpoint=Checkpoint(file))


def test_numpy_reads_the_file(finished):
    with np.load(finished.file, allow_pickle=False) as archive:
        weights = archive[".seeds.params[0]['weight']"]
    np.testing.assert_array_equal(weights, uninterrupted().params[0]["weight"])


def test_types_that_numpy_does_not_know_keep_their_bits():
    for leaf in (jnp.asarray([1.5, jnp.nan], jnp.bfloat16), KEYS, jnp.asarray([True])):
        back = checkpoint._as_in(leaf, checkpoint._plain(leaf))
        assert back.dtype == leaf.dtype
        assert_same_bits(checkpoint._plain(back), checkpoint._plain(leaf))


def test_a_place_that_cannot_be_written_is_refused_before_training(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(checkpoint, "run_seeds", None)
    with pytest.raises(ValueError, match="a folder that can be written to. Got .*file"):
        run(checkpoint=Checkpoint(tmp_path / "file"))


def test_bad_arguments_are_named():
    with unchecked(), pytest.raises(ValueError, match="`every >= 1`. Got `every=0`"):
        Checkpoint("here", 0)
    with unchecked(), pytest.raises(ValueError, match="path of a file.*Got None"):
        Checkpoint(None)


# Fingerprints


def enclosing(number):
    return lambda x: number * x


def test_equal_values_have_equal_fingerprints():
    for make in (
        lambda: optax.sgd(0.1, momentum=0.9),
        lambda: mlp(depth=2, width=3),
        lambda: enclosing(2.0),
        lambda: {"b": np.arange(3), "a": {1, 2}},
        lambda: JacobianPenalty(0.1),
    ):
        assert fingerprint(make()) == fingerprint(make())
        assert " at 0x" not in fingerprint(make())


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_use_does_not_change_an_optimizer(schedule):
    optimizers._momentum_sgd.cache_clear()  # one that has not been used yet
    sgd = momentum_sgd(0.1, steps_per_epoch=2, epochs=3, schedule=schedule)
    before, one = fingerprint(sgd), jnp.asarray(1.0)
    with jax.numpy_dtype_promotion("standard"):
        sgd.update(one, sgd.init(one), one)
    assert fingerprint(sgd) == before


def test_other_values_have_others():
    values = [
        optax.sgd(0.1), optax.sgd(0.2), optax.adam(0.1), SGD, RATE,
        optax.sgd(optax.cosine_decay_schedule(0.1, 10)),
        optax.sgd(optax.cosine_decay_schedule(0.1, 11)),
        enclosing(2.0), enclosing(3.0), lambda x: x * x, lambda x: x + x,
        mlp(depth=2, width=3), mlp(depth=2, width=4),
        np.arange(3), np.arange(3.0), np.arange(4), KEYS, KEYS[:1],
        CropFlip(2), CropFlip(3), functools.partial(enclosing, 2.0), enclosing,
        jax.jit(enclosing(2.0)), jax.nn.relu, jnp.tanh, None, 1, "1",
        [np.zeros(2)], [np.ones(2)], NETWORK, OTHER, NETWORK.apply,
    ]  # fmt: skip
    texts = [fingerprint(value) for value in values]
    same = {fingerprint(enclosing(2.0))}  # compiled or not
    assert len(set(texts)) == len(texts) - len(same)


def test_what_encloses_itself_has_one():
    def again(x):
        return again(x)

    assert "..." in fingerprint(again)
