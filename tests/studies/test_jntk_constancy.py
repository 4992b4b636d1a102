"""`jntk-constancy`: its claims on drawn numbers, its trial against own training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from arcsine_ntk import jacobian_ntk

from widelimit.activations import Erf
from widelimit.datasets import Table, prepare_table
from widelimit.networks import kim2023_network
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, jntk_constancy_trial, memory, run_study
from widelimit.studies.jntk_constancy_trial import check_constancy, follow_kernel
from widelimit.studies.robust_limit_trial import recorded_steps

STUDY = STUDIES["jntk-constancy"]
BLOCKS = {"00": (0, 0), "02": (0, 2), "12": (1, 2), "22": (2, 2)}
NAMES = ("to-limit", "nearer-when-wide", "to-start", "grows", "settles",
         "settles-per-step")  # fmt: skip
drawn_as = {"power": -0.5, "rise": 0.3, "moved": -0.5}


def drawn(config, report):
    """Distances as powers of the width and the step."""
    steps = np.array(recorded_steps(config["steps"]))
    seeds, rng = config["seeds"], np.random.default_rng(config["width"])
    noise = np.exp(0.0005 * rng.normal(size=(len(seeds), len(steps), 4)))
    grown = np.where(steps > 0, steps, 0.5) ** drawn_as["rise"]
    grown = 2 - grown if drawn_as["rise"] < 0 else grown
    distance = noise * grown[:, None] * config["width"] ** drawn_as["power"]
    per = ("seed", "step", "block")
    moved = np.ones((len(seeds), config["depth"] + 1, 3))  # the ends do not count
    moved[:, 1:-1] = 0.1 * noise[:, :1, :1] * config["width"] ** drawn_as["moved"]
    return xr.Dataset(
        {
            "to_limit": (per, distance),
            "to_start": (per, distance * (steps > 0)[:, None]),
            "size": ("block", np.ones(4)),
            "loss": (("seed", "step"), noise[..., 0] / (1 + steps)),
            "penalty": (("seed", "step"), noise[..., 0]),
            "train_accuracy": ("seed", np.full(len(seeds), 0.97)),
            "accuracy": ("seed", np.full(len(seeds), 0.9)),
            "movement": (("seed", "layer", "norm"), moved),
            "diverged_at": ("seed", np.zeros(len(seeds), int)),
            "rows": config["rows"],
            "kernel_rows": config["kernel_rows"],
            "features": 11,
        },
        {"seed": seeds, "step": steps, "block": list(BLOCKS),
         "layer": np.arange(1, config["depth"] + 2), "norm": ["one", "two", "inf"]},
        {name: config[name] for name in ("table", "activation", "depth")},
    )  # fmt: skip


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "power", 0.1)
        monkeypatch.setitem(drawn_as, "moved", 0.0)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        progress=SilentProgress(),
    )
    # A root of the time grows and settles per step; 2^0.3 - 1 grows with the time.
    over_time = {"grows": True, "settles": False, "settles-per-step": True}
    assert {claim.name: claim.holds for claim in found.claims()} == {
        **{f"{name}[{block}]": over_time.get(name, agrees)
           for block in BLOCKS for name in NAMES},
        "movement": agrees,
    }  # fmt: skip
    [movement] = [c for c in found.claims() if c.name == "movement"]
    assert "97% in training, 90% in test" in movement.detail
    limit, start, training = found.figures()
    assert [len(f.panels) for f in (limit, start, training)] == [4, 4, 3]
    assert {c.series for c in limit.panels[0].curves} == {
        f"t = {t}" for t in (1, 2, 4, 8, 16, 32, 64, 128)
    }


@pytest.mark.parametrize(
    ("rise", "expected"),
    [(-0.5, (True, True, True)), (1.5, (True, False, False))],
)
def test_distances_that_settle_or_grow_ever_faster(
    tmp_path, monkeypatch, rise, expected
):
    monkeypatch.setitem(drawn_as, "rise", rise)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"widths": "64,128"},
        progress=SilentProgress(),
    )
    holds = {claim.name: claim.holds for claim in found.claims()}
    names = ("grows", "settles", "settles-per-step")
    assert tuple(holds[f"{name}[22]"] for name in names) == expected


def little_table(table, activation):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(12, 2))
    labels = (x @ [1.0, -0.5] + 0.5 * rng.normal(size=12) > 0).astype(np.int64)
    return prepare_table(Table(table, x, labels, ("a", "b"), ("no", "yes")))


CONFIG = {
    "table": "sonar", "activation": "erf", "depth": 2, "width": 5, "kappa": 0.4,
    "regularization": 0.3, "learning_rate": 0.5, "rows": 5, "test_rows": 6,
    "kernel_rows": 3, "steps": 4, "seeds": [4, 9],
}  # fmt: skip


@pytest.mark.slow
def test_the_trial_follows_the_network(monkeypatch):
    monkeypatch.setattr(jntk_constancy_trial, "prepared", little_table)
    found = follow_kernel(CONFIG, lambda share: None)
    assert found["step"].values.tolist() == [0, 1, 2, 4]
    table, order = little_table("", ""), np.random.default_rng(0).permutation(12)
    fit, new = order[:5], order[5:11]
    x, y = table.x[fit], table.t[fit, 0]
    net = kim2023_network(depth=2, width=5, activation=Erf(), kappa=0.4)
    limit = jacobian_ntk(x[:3], x[:3], 2)

    def outputs(params, row):
        value, slope = jax.value_and_grad(lambda z: net(params, z[None])[0, 0])(row)
        return jnp.concatenate([value[None], slope])

    def loss(params):
        both = jax.vmap(lambda row: outputs(params, row))(x)
        parts = (
            jnp.mean((both[:, 0] - y) ** 2) / 2,
            0.15 * jnp.sum(both[:, 1:] ** 2) / 5,
        )
        return sum(parts), jnp.stack(parts)

    @jax.jit
    def measured(params):
        jacobian = jax.vmap(lambda row: jax.jacrev(outputs)(params, row))(x[:3])
        flat = [leaf.reshape(9, -1) for leaf in jax.tree.leaves(jacobian)]
        gradient, parts = jax.grad(loss, has_aux=True)(params)
        after = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)
        return sum(leaf @ leaf.T for leaf in flat) / 0.4**2, parts, after

    for seed in (4, 9):
        start = params = net.init(jax.random.key(seed), (2,))
        first = None
        for step in range(5):
            kernel, parts, after = measured(params)
            first = kernel if first is None else first
            if step in (0, 1, 2, 4):
                at = found.sel(seed=seed, step=step)
                np.testing.assert_allclose(at["loss"], parts[0], rtol=1e-8)
                if step < 4:
                    np.testing.assert_allclose(at["penalty"], parts[1], rtol=1e-8)
                for name, (a, b) in BLOCKS.items():
                    for label, origin in (("to_limit", limit), ("to_start", first)):
                        off = np.abs(np.asarray(kernel - origin))[a::3, b::3].max()
                        np.testing.assert_allclose(
                            at[label].sel(block=name), off, rtol=1e-7, atol=1e-13
                        )
            params = after if step < 4 else params
        at = found.sel(seed=seed)
        for rows, name in ((fit, "train_accuracy"), (new, "accuracy")):
            values = net(params, jnp.asarray(table.x[rows]))[:, 0]
            right = np.mean(values * table.t[rows, 0] > 0)
            np.testing.assert_allclose(at[name], right)
        for layer, i in enumerate((0, 2, 4), start=1):
            moved = np.asarray(params[i]["weight"] - start[i]["weight"]).T / 5**0.5
            for name, order in (("one", 1), ("two", 2), ("inf", np.inf)):
                np.testing.assert_allclose(
                    at["movement"].sel(layer=layer, norm=name),
                    np.linalg.norm(moved, order),
                    rtol=1e-7,
                )


@pytest.mark.slow
def test_seeds_one_after_the_other_change_nothing(monkeypatch):
    monkeypatch.setattr(jntk_constancy_trial, "prepared", little_table)
    shares = []
    together = follow_kernel(CONFIG, shares.append)
    monkeypatch.setattr(jntk_constancy_trial, "device_memory", lambda: 1)
    apart = follow_kernel(CONFIG, shares.append)
    xr.testing.assert_allclose(together, apart, rtol=1e-9)
    assert shares[-1] == 1.0


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(jntk_constancy_trial, "prepared", little_table)
    with pytest.raises(ValueError, match="`jntk-constancy` needs .* at most 12"):
        check_constancy(STUDY.configure("quick"))
    few = {"rows": 5, "test_rows": 6}
    with pytest.raises(
        ValueError, match=r"kernel_rows \(16\) must not exceed rows \(5\)"
    ):
        STUDY.configure("quick", few)
    few = STUDY.configure("quick", {**few, "kernel_rows": 5})
    check_constancy(few)
    monkeypatch.setattr(memory, "device_memory", lambda: 2**20)
    with pytest.raises(
        ValueError, match="`jntk-constancy` needs .* width 512 and depth 11"
    ):
        check_constancy(few)


@pytest.mark.parametrize("change", [{"table": "iris"}, {"activation": "relu"}])
def test_settings_name_what_is_known(change):
    with pytest.raises(ValueError, match="known are"):
        STUDY.configure("quick", change)
