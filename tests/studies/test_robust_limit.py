"""`robust-limit`: its claims on drawn numbers, its trial against the network itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from widelimit.activations import Erf
from widelimit.datasets import Table, prepare_table
from widelimit.networks import kim2023_network
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, memory, robust_limit_trial, run_study
from widelimit.studies.robust_limit_trial import (
    check_robust_limit,
    recorded_steps,
    train_beside_the_limit,
)

STUDY = STUDIES["robust-limit"]
drawn_as = {"power": -0.5, "fall": 0.3, "gain": 4.0, "rate": 0.1, "shape": 1.0}


def drawn(config, report):
    """Distances as a power of the width, and losses that fall exponentially."""
    steps = np.array(recorded_steps(config["steps"]))
    rng = np.random.default_rng(config["width"])
    noise = np.exp(0.02 * rng.normal(size=(len(config["seeds"]), len(steps))))
    distance = noise * config["width"] ** drawn_as["power"]
    loss = noise * np.exp(-drawn_as["fall"] * steps ** drawn_as["shape"])
    per = ("seed", "step")
    far = drawn_as["gain"] ** np.log10(config["kappa"])
    return xr.Dataset(
        {
            "loss": (per, 0.8 * loss),
            "penalty": (per, 0.2 * loss),
            "limit_loss": (per, loss),
            "to_limit": (per, distance),
            "to_linear": (per, distance),
            "linear_to_limit": (per, distance),
            "to_zero": (per, far * noise),
            "to_ntk": (per, far * noise),
            "limit_to_ntk": ("step", np.ones(len(steps))),
            "accuracy": ("seed", np.full(len(config["seeds"]), 0.9)),
            "min": 1e-3,
            "min_error": 1e-9,
            "step_size": 1.0,
            "rate": drawn_as["rate"],
            "rows": 40,
            "features": 11,
        },
        {"seed": config["seeds"], "step": steps},
        {"table": config["table"], "activation": config["activation"]},
    )


def outcome(directory):
    return run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        directory,
        progress=SilentProgress(),
    )


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "power", 0.1)
        monkeypatch.setitem(drawn_as, "fall", 0.02)
        monkeypatch.setitem(drawn_as, "gain", 0.5)
    found = outcome(tmp_path)
    kinds = ("to-limit", "to-linear", "exponential", "decay", "log-linear")
    names = [f"{n}[kappa={k}]" for k in ("0.1", "1") for n in kinds]
    holds = {claim.name: claim.holds for claim in found.claims()}
    still = {n: True for n in names if n.startswith(("decay", "log-linear"))}
    assert (
        holds
        == {name: agrees for name in [*names, "small-kappa", "small-kappa-ntk"]} | still
    )  # a slow exponential is one
    rate = f"{drawn_as['fall']:.2g} ± "
    decays = [c for c in found.claims() if c.name.startswith("decay")]
    assert all(rate in c.detail and "Theorem 11 has 0.1" in c.detail for c in decays)
    (figure,) = found.figures()
    assert len(figure.panels) == 3 and "forest fires, GELU" in figure.title
    left = figure.panels[0].curves
    assert {c.series for c in left} == {
        f"{what}, κ = {k}" for what in ("infinite", "linearised") for k in ("0.1", "1")
    }
    assert all("90%" in c.detail for c in found.claims() if c.scope)


def test_a_bound_that_does_not_move_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "rate", 1e-9)
    found = {c.name: c.holds for c in outcome(tmp_path).claims()}
    assert found["exponential[kappa=1]"] is None


def test_a_decay_that_slows_down_is_no_exponential(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "shape", 0.2)
    found = {c.name: c for c in outcome(tmp_path).claims()}
    assert found["decay[kappa=1]"].holds
    assert found["log-linear[kappa=1]"].holds is False


def little_table(table, activation):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(12, 2))
    labels = (x @ [1.0, -0.5] + 0.5 * rng.normal(size=12) > 0).astype(np.int64)
    return prepare_table(Table(table, x, labels, ("a", "b"), ("no", "yes")))


@pytest.mark.slow
def test_the_trial_follows_the_network(monkeypatch):
    monkeypatch.setattr(robust_limit_trial, "prepared", little_table)
    config = {
        "table": "sonar", "activation": "erf", "depth": 2, "width": 7, "kappa": 0.5,
        "rows": 5, "test_rows": 6, "regularization": 0.3, "step_share": 0.3,
        "steps": 3, "seeds": [4, 9],
    }  # fmt: skip
    found = train_beside_the_limit(config, lambda share: None)
    assert found["step"].values.tolist() == [0, 1, 2, 3]
    for name in ("to_limit", "to_linear", "linear_to_limit"):
        assert np.all(found[name].isel(step=0) < 1e-12)
        assert np.all(found[name].isel(step=-1) > 1e-6)
    table, order = little_table("", ""), np.random.default_rng(0).permutation(12)
    x, y = table.x[order[:5]], table.t[order[:5], 0]
    net = kim2023_network(depth=2, width=7, activation=Erf(), kappa=0.5)
    rate = float(found["step_size"])

    def loss(params, parts=False):
        def f(row):
            return net(params, row[None])[0, 0]

        values, slopes = jax.vmap(jax.value_and_grad(f))(jnp.asarray(x))
        first = jnp.sum((values - y) ** 2) / 10
        second = 0.3 * jnp.sum(slopes**2) / 10
        return jnp.stack([first, second]) if parts else first + second

    for seed in (4, 9):
        params = net.init(jax.random.key(seed), (2,))
        for step in range(4):
            expected = loss(params, parts=True)
            at = found.sel(seed=seed, step=step)
            np.testing.assert_allclose(at["loss"], expected[0], rtol=1e-9)
            np.testing.assert_allclose(at["penalty"], expected[1], rtol=1e-9)
            if step == 0:
                np.testing.assert_allclose(at["limit_loss"], sum(expected), rtol=1e-9)
            gradient = jax.grad(loss)(params)
            params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)


def test_tables_too_small_are_refused(monkeypatch):
    monkeypatch.setattr(robust_limit_trial, "prepared", little_table)
    with pytest.raises(ValueError, match="`robust-limit` needs .* at most 12"):
        check_robust_limit(STUDY.configure("quick"))
    few = STUDY.configure("quick", {"rows": 5, "test_rows": 6})
    check_robust_limit(few)
    monkeypatch.setattr(memory, "device_memory", lambda: 2**22)
    with pytest.raises(
        ValueError, match="`robust-limit` needs .* 6 networks of width 512 and depth 2"
    ):
        check_robust_limit(few)
    monkeypatch.setattr(memory, "device_memory", lambda: 2**12)
    with pytest.raises(ValueError, match="Gram matrix of 15 rows"):
        check_robust_limit(few)


@pytest.mark.parametrize("change", [{"table": "iris"}, {"activation": "relu"}])
def test_settings_name_what_is_known(change):
    with pytest.raises(ValueError, match="known are"):
        STUDY.configure("quick", change)
