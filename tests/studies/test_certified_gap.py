"""`certified-gap`: its claims on drawn numbers, its trial on a tiny problem."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from widelimit.activations import Erf
from widelimit.networks import kim2023_network
from widelimit.report.chart import panel_spec
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, memory, run_study
from widelimit.studies.certified_gap_trial import (
    Centred,
    _descend,
    certify_and_attack,
    check_certified_gap,
    known_median,
)

STUDY = STUDIES["certified-gap"]
drawn_as = {"power": 0.3, "raise": 1.5, "bad": 0, "finite": 1.02, "hidden": ()}
PER_MODEL = ("flip", "pgd", "slack", "flip_censored", "pgd_censored", "beaten",
             "accuracy", "loss")  # fmt: skip


def drawn(config, report):
    """A gap that grows with the dimension, radii that grow with the penalty."""
    seeds, weights = config["seeds"], config["regularizations"]
    rng = np.random.default_rng(config["side"])
    one = np.exp(1e-3 * rng.normal(size=(len(seeds), len(weights))))
    factor = np.where(np.array(weights) > 0, drawn_as["raise"], 1.0)
    pgd = one * factor * config["side"] ** -1.0
    gap = one * config["side"] ** (2 * drawn_as["power"])
    radius = pgd / gap
    if config["side"] in drawn_as["hidden"]:  # half of the attacks do not flip
        pgd, gap = pgd * np.nan, gap * np.nan
    models = pgd[..., None] * [1.0, 1.01, drawn_as["finite"]]
    values = dict.fromkeys(PER_MODEL, np.zeros_like(models))
    values |= {"pgd": models, "flip": 1.1 * models, "slack": models * 0 + 1.1}
    per = ("seed", "regularization")
    return xr.Dataset(
        {
            **{name: ((*per, "model"), value) for name, value in values.items()},
            "certified": (per, radius),
            "truncated": (per, 0 * radius + 0.25),
            "gap": (per, gap),
            "unsound": (per, 0 * radius + drawn_as["bad"]),
            "features": config["side"] ** 2,
            "rows": config["attack_rows"],
        },
        {"seed": seeds, "regularization": list(weights),
         "model": ["infinite", "linearised", "finite"]},
        {n: config[n] for n in ("data", "activation", "width", "steps", "max_radius",
                                "tolerance")},
    )  # fmt: skip


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        for name, value in (("power", -0.2), ("raise", 0.7), ("bad", 1)):
            monkeypatch.setitem(drawn_as, name, value)
        monkeypatch.setitem(drawn_as, "finite", 1.4)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"regularizations": "0,0.1"},
        progress=SilentProgress(),
    )
    claims = {claim.name: claim for claim in found.claims()}
    expected = {
        "raises-certified[lambda=0.1]": agrees,
        "raises-pgd[lambda=0.1]": agrees,
    }
    for label in ("[lambda=0]", "[lambda=0.1]"):
        expected |= {
            f"sound{label}": agrees,
            f"pgd-below-flip{label}": True,
            f"gap-grows{label}": agrees,
            f"linearised-alike{label}": True,
            f"finite-alike{label}": agrees,
        }
    assert {name: claim.holds for name, claim in claims.items()} == expected
    sound = claims["sound[lambda=0]"]
    assert "25.0% of radii end at `max_radius`" in sound.detail
    assert "of 400 inputs" in sound.detail  # 2 sides, 5 seeds, 40 rows
    assert sound.statistic == (0 if agrees else -10)
    first, second = found.figures()
    assert [len(p.curves) for p in (*first.panels, *second.panels)] == [3, 3, 2, 3, 6]
    assert first.panels[0].curves[0].x == [16, 64]


@pytest.mark.parametrize("hidden", [(8,), (4, 8)])
def test_attacks_that_do_not_flip_leave_claims_open(tmp_path, monkeypatch, hidden):
    monkeypatch.setitem(drawn_as, "hidden", hidden)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"regularizations": "0,0.1"},
        progress=SilentProgress(),
    )
    known = {"sound", "pgd-below-flip", "raises-certified"}
    for claim in found.claims():
        expected = True if claim.name.partition("[")[0] in known else None
        assert claim.holds is expected and "nan" not in claim.detail, claim
    first, second = found.figures()
    seen = [d for d in (16,) if len(hidden) == 1]
    assert [row["x"] for row in first.panels[0].curves[1].rows()] == seen
    assert second.panels[1].y_domain == (0.0, 1.0)
    for panel in (*first.panels, *second.panels):
        panel_spec(panel, name="drawn")


def test_a_median_of_known_values():
    values = np.array([5.0, 1, 2, 9])
    assert known_median(values, np.array([True, True, True, True])) == 3.5
    assert known_median(values, np.array([True, True, True, False])) == 2
    assert np.isnan(known_median(values, np.array([True, True, False, False])))
    assert np.isnan(known_median(values, np.zeros(4, bool)))


def test_descent_from_zero_is_that_of_the_objective():
    network = kim2023_network(depth=1, width=6, activation=Erf())
    start = network.init(jax.random.key(1), (3,))
    x = jax.random.normal(jax.random.key(2), (5, 3))
    t, weight, rate = jnp.sign(x[:, :1]), jnp.asarray(0.3), jnp.asarray(0.2)

    def f(params, row):
        now, then = (network(p, row[None])[0, 0] for p in (params, start))
        return now - then

    def loss(params):
        values, slopes = jax.vmap(jax.value_and_grad(lambda z: f(params, z)))(x)
        return jnp.mean((values - t[:, 0]) ** 2 + 0.3 * jnp.sum(slopes**2, 1)) / 2

    moved, slope = start, jax.jit(jax.grad(loss))
    for _ in range(2):
        moved = jax.tree.map(lambda p, g: p - 0.2 * g, moved, slope(moved))
    model = Centred(network)
    steps = jnp.asarray(2)
    end, last = _descend(model, model.start(start), x, t, weight, rate, steps)
    np.testing.assert_allclose(last, jax.jit(loss)(moved), rtol=1e-10)
    found = model(end, x)[:, 0]
    np.testing.assert_allclose(found, [f(moved, row) for row in x], rtol=1e-9)
    # The tangent differs from the function by the square of the way.
    line = Centred(network, linear=True)
    small = {"start": start, "moved": jax.tree.map(lambda p: 1e-4 * p, start)}
    np.testing.assert_allclose(line(small, x), model(small, x), rtol=1e-3)


@pytest.mark.slow
def test_the_trial_certifies_less_than_attacks_reach():
    config = {
        "data": "digits", "classes": (0, 1), "activation": "erf", "side": 3,
        "width": 512, "regularizations": (0.0, 0.1), "train_rows": 8,
        "attack_rows": 6, "steps": 64, "step_share": 0.3, "attack_steps": 10,
        "restarts": 1, "max_radius": 0.2, "tolerance": 0.01, "seeds": [2],
    }  # fmt: skip
    found = certify_and_attack(config, lambda share: None)
    assert (found["unsound"] == 0).all() and (found["beaten"] == 0).all()
    # Without a penalty half or more do not flip, with it fewer.
    gap, pgd = (found[n].sel(seed=2).transpose("regularization", ...)
                for n in ("gap", "pgd"))  # fmt: skip
    censored = found["pgd_censored"].sel(seed=2).transpose("regularization", ...)
    assert (found["certified"] > 0).all() and np.isnan(gap[0]) and gap[1] >= 1
    np.testing.assert_array_equal(np.isnan(pgd), censored >= 0.5)
    # At so small a radius some certificates and attacks end at it, and count.
    assert (found["truncated"] > 0).any() and (found["pgd_censored"] > 0).any()
    infinite = found["loss"].sel(model="infinite")
    for model in ("linearised", "finite"):
        np.testing.assert_allclose(found["loss"].sel(model=model), infinite, rtol=0.3)


def test_what_does_not_fit_is_refused(monkeypatch):
    settings = STUDY.configure("quick")
    check_certified_gap(settings)
    monkeypatch.setattr(memory, "device_memory", lambda: 2**20)
    with pytest.raises(ValueError, match="Gram matrix of 1300 rows"):
        check_certified_gap(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "known are gelu, erf"),
        ({"regularizations": "0.1,0"}, "regularizations must rise"),
        ({"regularizations": "2"}, "less than or equal to 1"),
        ({"classes": "1,1"}, "classes must be two"),
        ({"max_radius": "0"}, "greater than 0"),
        ({"attack_rows": "1"}, "greater than or equal to 2"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        STUDY.configure("quick", change)
