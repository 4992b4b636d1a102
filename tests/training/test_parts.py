"""A training in parts of about a second, between which Ctrl-C is obeyed."""

import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from widelimit.measures import lazy_ratio
from widelimit.networks import mlp
from widelimit.training import program, train

D, OUT, ROWS, BATCH, SEEDS = 3, 4, 11, 4, 2  # two batches; three rows wait
RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.normal(size=(ROWS, D)))
TARGETS = jnp.asarray(np.eye(OUT)[RNG.integers(OUT, size=ROWS)])


def seeds(getkey):
    """A network, its initial parameters and the keys of its training."""
    net, keys = mlp(depth=2, width=5, outputs=OUT), jax.random.split(getkey(), SEEDS)
    params = jax.vmap(lambda key: net.init(key, (D,)))(keys)
    return net, params, jax.random.split(getkey(), SEEDS)


def run(net, params, keys, **options):
    training = {"optimizer": optax.sgd(0.3), "batch_size": BATCH, "keys": keys}
    options = {"loss": "cross-entropy", **training, **options}
    return train(net, params, X, TARGETS, **options)


def probe(params, start):
    return {
        "ratio": lazy_ratio(params, start),
        "first": params[0]["weight"],
        "count": jnp.asarray(7),
    }


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(10.0, [1, 2, 3, 4, 5, 6, 7]), (0.0, [1, 5, 7]), (0.4, [1, 3, 5, 7])],
)
def test_parts_of_about_a_second_are_the_whole(seconds, expected, getkey, monkeypatch):
    net, params, keys = seeds(getkey)
    options = {"probe": probe, "probe_epochs": (0, 2, 7), "epochs": 7}
    whole = run(net, params, keys, **options)
    ends, now, go = [], [0.0], program.run_seeds

    def part(state, initial, begin, end, inputs, plan):
        now[0] += seconds * (end - begin)
        ends.append(end)
        return go(state, initial, begin, end, inputs, plan)

    monkeypatch.setattr(program, "FIRST_PART", 0)
    monkeypatch.setattr(program, "run_seeds", part)
    monkeypatch.setattr(
        program, "time", types.SimpleNamespace(monotonic=lambda: now[0])
    )
    found = run(net, params, keys, **options)
    assert ends == expected
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_short_training_is_one_part(getkey, monkeypatch):
    go, ends = program.run_seeds, []

    def part(state, initial, begin, end, inputs, plan):
        ends.append(end)
        return go(state, initial, begin, end, inputs, plan)

    monkeypatch.setattr(program, "run_seeds", part)
    net, params, keys = seeds(getkey)
    run(net, params, keys, epochs=7)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    monkeypatch.setattr(program, "FIRST_PART", 2.5 * size * ROWS)
    monkeypatch.setattr(program, "PART_SECONDS", 1e9)
    run(net, params, keys, epochs=7)
    assert ends == [7, 2, 7]


def test_ctrl_c_is_obeyed_between_parts(getkey, monkeypatch):
    go, ends = program.run_seeds, []

    def part(state, initial, begin, end, inputs, plan):
        ends.append(end)
        signal.raise_signal(signal.SIGINT)
        return go(state, initial, begin, end, inputs, plan)

    monkeypatch.setattr(program, "FIRST_PART", 0)
    monkeypatch.setattr(program, "run_seeds", part)
    # Shells start what runs in the background with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(*seeds(getkey), epochs=20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ends == [1]
