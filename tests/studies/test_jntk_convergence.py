"""`jntk-convergence`: its claims on drawn numbers, its trial by differentiation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from arcsine_ntk import jacobian_ntk

from widelimit.activations import Erf
from widelimit.datasets import covering_radius, sphere_lattice
from widelimit.networks import kim2023_network
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, kim2023_lattice, memory, run_study
from widelimit.studies.jntk_convergence_trial import start_kernels

STUDY = STUDIES["jntk-convergence"]
BLOCKS = {"00": (0, 0), "02": (0, 2), "12": (1, 2), "22": (2, 2)}
drawn_as = {"power": -0.5, "gradients": 3.0}


def drawn(config, report):
    """Distances as a power of the width, larger where gradients are."""
    seeds = config["seeds"]
    rng = np.random.default_rng([config["depth"], config["width"]])
    scale = np.array([1.0, 1.0, 1.0, drawn_as["gradients"]])
    noise = np.exp(0.02 * rng.normal(size=(len(seeds), 4)))
    return xr.Dataset(
        {
            "distance": (
                ("seed", "block"),
                scale * noise * config["width"] ** drawn_as["power"],
            ),
            "size": ("block", 2 * np.ones(4)),
            "covering_radius": 0.4,
            "rows": config["rows"],
            "features": 4,
        },
        {"seed": seeds, "block": list(BLOCKS)},
        {"activation": config["activation"]},
    )


@pytest.mark.parametrize("agrees", [True, False])
def test_claims_find_what_was_drawn(tmp_path, monkeypatch, agrees):
    if not agrees:
        monkeypatch.setitem(drawn_as, "power", 0.1)
        monkeypatch.setitem(drawn_as, "gradients", 0.5)
    found = run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        tmp_path,
        changes={"depths": "1,3"},
        progress=SilentProgress(),
    )
    assert {claim.name: claim.holds for claim in found.claims()} == {
        f"{name}[L={depth}]": agrees
        for name in ("rate", "gradients-farther")
        for depth in (1, 3)
    }
    [figure] = found.figures()
    assert len(figure.panels) == 4 and "0.40" in figure.caption
    assert {c.series for c in figure.panels[0].curves} == {"L = 1", "L = 3"}


@pytest.mark.slow
def test_the_trial_against_all_weights_gradients():
    config = {
        "rows": 7, "features": 3, "activation": "erf", "kappa": 0.3, "depth": 1,
        "width": 5, "seeds": [2, 8],
    }  # fmt: skip
    found = start_kernels(config, lambda share: None)
    x = sphere_lattice(7, 3)
    limit = jacobian_ntk(x, x, 1)
    net = kim2023_network(depth=1, width=5, activation=Erf(), kappa=0.3)
    assert float(found["covering_radius"]) == covering_radius(x)

    def outputs(params, row):
        value, slope = jax.value_and_grad(lambda z: net(params, z[None])[0, 0])(row)
        return jnp.concatenate([value[None], slope])

    @jax.jit
    def kernel(params):
        jacobian = jax.vmap(lambda row: jax.jacrev(outputs)(params, row))(x)
        flat = [leaf.reshape(28, -1) for leaf in jax.tree.leaves(jacobian)]
        return sum(leaf @ leaf.T for leaf in flat) / 0.3**2

    for seed in (2, 8):
        dense = kernel(net.init(jax.random.key(seed), (3,))) - limit
        for name, (a, b) in BLOCKS.items():
            expected = np.abs(np.asarray(dense)[a::4, b::4]).max()
            at = found.sel(seed=seed, block=name)
            np.testing.assert_allclose(at["distance"], expected, rtol=1e-9)
            size = np.abs(limit[a::4, b::4]).max()
            np.testing.assert_allclose(at["size"], size, rtol=1e-9)


def test_networks_that_do_not_fit_are_refused(monkeypatch):
    check = STUDY.check
    assert check is not None
    monkeypatch.setattr(memory, "device_memory", lambda: 2**20)
    with pytest.raises(ValueError, match="`jntk-convergence` needs .* at 64 points"):
        check(STUDY.configure("quick"))
    small = STUDY.configure("quick", {"widths": "8", "rows": "6"})
    check(small)


def test_settings_name_what_is_known():
    with pytest.raises(ValueError, match="known are"):
        STUDY.configure("quick", {"activation": "relu"})
    assert np.isnan(kim2023_lattice.lattice(3, 3)[1])
