"""`gp-convergence`: its claims on drawn numbers, its trial network by network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import special, stats

from widelimit.activations import Erf
from widelimit.datasets import sphere_lattice
from widelimit.kernels import jacobian_kernel
from widelimit.networks import kim2023_network
from widelimit.runs import SilentProgress
from widelimit.studies import STUDIES, run_study
from widelimit.studies.gp_convergence_trial import (
    EACH,
    PROJECTIONS,
    projections,
    sample_networks,
)

STUDY = STUDIES["gp-convergence"]
BLOCKS = {"00": (0, 0), "02": (0, 2), "12": (1, 2), "22": (2, 2)}
AGREES = {
    "one": -0.5, "plain": 0.0, "mean": 0.1, "kurtosis": -1.0, "bias": -2.0,
    "bias_size": 0.1, "bias_noise": 1e-3, "p": 0.5,
}  # fmt: skip
drawn_as = dict(AGREES)


def drawn(config, report):
    """Everything as a power of the width."""
    seeds, width = config["seeds"], config["width"]
    rng = np.random.default_rng([config["depth"], width])

    def noisy(size, power=0.0, *, each=4):
        noise = np.exp(0.02 * rng.normal(size=(len(seeds), each)))
        return size * noise * (width / 64) ** power

    per = ("seed", "block")
    bias = noisy(drawn_as["bias_size"], drawn_as["bias"])
    unseen = drawn_as["bias_noise"] * rng.normal(size=bias.shape)
    return xr.Dataset(
        {
            "one": (per, noisy(1.0, drawn_as["one"])),
            "plain": (per, noisy(0.5, drawn_as["plain"])),
            "mean": (per, noisy(drawn_as["mean"], -0.5)),
            "mean_noise": (per, noisy(0.1, -0.5)),
            "plain_noise": (per, noisy(0.4)),
            "mean_error": (per, noisy(0.01, -0.5)),
            "plain_error": (per, noisy(0.1)),
            "bias": (per, bias + unseen * (bias == 0)),
            "square": ("block", np.ones(4)),
            "kurtosis": (
                ("seed", "projection"),
                noisy(0.3, drawn_as["kurtosis"], each=3),
            ),
            "drawn_kurtosis": (("seed", "projection"), noisy(0.3, each=3)),
            "normality": (
                ("projection", "copy"),
                np.full((3, EACH), drawn_as["p"] if width < 512 else 0.9),
            ),
            "covering_radius": 0.4,
            "rows": config["rows"],
            "features": 4,
            "networks": config["networks"],
        },
        {"seed": seeds, "block": list(BLOCKS), "projection": list(PROJECTIONS),
         "copy": np.arange(EACH)},
        {"activation": config["activation"]},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def as_the_paper(monkeypatch):
    for name, value in AGREES.items():
        monkeypatch.setitem(drawn_as, name, value)


def outcome(directory):
    return run_study(
        dataclasses.replace(STUDY, trial=f"{__name__}:drawn", check=None),
        directory,
        changes={"depths": "2"},
        progress=SilentProgress(),
    )


NAMES = ("one-network", "plain-flat", "averaged-nearer", "bias", "gaussian")


def test_claims_find_what_was_drawn(tmp_path):
    found = outcome(tmp_path)
    claims = {claim.name: claim for claim in found.claims()}
    assert {n: c.holds for n, c in claims.items()} == {f"{n}[L=2]": True for n in NAMES}
    # (0.1 / 0.01)^2, and one test for each of 24 projections at 4 widths.
    assert "is worth" in claims["averaged-nearer[L=2]"].detail
    gaussian = claims["gaussian[L=2]"].detail
    assert (
        "1024 draws" in gaussian and "no width" in gaussian and "96 tests" in gaussian
    )
    assert "0.32 at 64, 0.16 at 128" in claims["bias[L=2]"].detail
    by_depth, gauss = found.figures()
    assert len(by_depth.panels) == 4 and len(gauss.panels) == 3


def test_claims_are_refuted_by_the_opposite(tmp_path, monkeypatch):
    opposite = {"one": 0.0, "plain": -0.5, "mean": 5.0, "kurtosis": -0.2, "bias": 0.0}
    for name, value in (opposite | {"p": 1e-9}).items():
        monkeypatch.setitem(drawn_as, name, value)
    claims = {claim.name: claim for claim in outcome(tmp_path).claims()}
    assert {n: c.holds for n, c in claims.items()} == {
        f"{n}[L=2]": False for n in NAMES
    }
    assert "rejects at 64, 128, 256 (5 %" in claims["gaussian[L=2]"].detail


def test_a_bias_that_is_not_seen_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "bias_size", 0.0)
    [bias] = [c for c in outcome(tmp_path).claims() if c.name.startswith("bias")]
    assert bias.holds is True and "nowhere" in bias.detail and bias.statistic > 0


def test_a_bias_that_could_hide_is_not_called_small(tmp_path, monkeypatch):
    monkeypatch.setitem(drawn_as, "bias_size", 0.0)
    monkeypatch.setitem(drawn_as, "bias_noise", 0.5)
    [bias] = [c for c in outcome(tmp_path).claims() if c.name.startswith("bias")]
    assert bias.holds is None and "nowhere" in bias.detail


def network_covariance(params, x, width):
    """The last layer averaged out, and the output with its gradient, in NumPy."""
    w, u, v = (np.asarray(params[i]["weight"]) for i in (0, 2, 4))
    unit = np.sqrt(2 / np.pi * np.arcsin(2 / 3))

    def layer(z, dz):
        slope = 2 / np.sqrt(np.pi) * np.exp(-(z**2))
        return special.erf(z) / unit, slope[..., None] * dz / unit

    h, dh = layer(x @ w, np.broadcast_to(w.T, (len(x), *w.T.shape)))
    z, dz = h @ u / np.sqrt(width), np.einsum("nid,ij->njd", dh, u) / np.sqrt(width)
    h, dh = layer(z, dz)
    jets = np.concatenate([h[..., None], dh], axis=-1)  # n m r
    jets = jets.transpose(0, 2, 1).reshape(-1, width) / np.sqrt(width)
    return jets @ jets.T, jets @ v[:, 0]


def test_the_trial_network_by_network():
    config = {
        "rows": 6, "features": 3, "activation": "erf", "depth": 2, "width": 5,
        "networks": 6, "seeds": [3, 5],
    }  # fmt: skip
    found = sample_networks(config, lambda share: None)
    x, net = sphere_lattice(6, 3), kim2023_network(depth=2, width=5, activation=Erf())
    limit = jacobian_kernel(net, x, kind="nngp").dense()
    c = projections(limit, 3)
    assert c.shape == (24, 24)
    assert [np.flatnonzero(row).tolist() for row in c[[0, 7, 8, 15]]] == [
        [0], [20], [2], [22],
    ]  # fmt: skip
    init, everything = jax.jit(lambda key: net.init(key, (3,))), []
    for seed in (3, 5):
        keys = jax.random.split(jax.random.key(seed), 6)
        each = [network_covariance(init(key), x, 5) for key in keys]
        inner = np.stack([covariance for covariance, _ in each])
        jets = np.stack([jet for _, jet in each])
        outer = np.einsum("ki,kj->kij", jets, jets)
        everything.append(jets @ c.T)
        at = found.sel(seed=seed)
        for name, (a, b) in BLOCKS.items():
            one = at.sel(block=name)
            inner_off, outer_off = (
                (m - limit)[:, a::4, b::4] for m in (inner, outer)
            )  # fmt: skip
            farthest = np.abs(inner_off).max((1, 2)).mean()
            np.testing.assert_allclose(one["one"], farthest, rtol=1e-9)
            for label, off in (("mean", inner_off), ("plain", outer_off)):
                distance = np.abs(off.mean(0)).max()
                np.testing.assert_allclose(one[label], distance, rtol=1e-9)
                noise = np.abs(off[:3].mean(0) - off[3:].mean(0)).max() / 2
                np.testing.assert_allclose(one[f"{label}_noise"], noise, rtol=1e-9)
                error = np.sqrt(np.mean(off.var(0, ddof=1) / 6))
                np.testing.assert_allclose(one[f"{label}_error"], error, rtol=1e-9)
            bias = np.mean(inner_off[:3].mean(0) * inner_off[3:].mean(0))
            np.testing.assert_allclose(one["bias"], bias, rtol=1e-9)
        v = np.einsum("ci,kij,cj->kc", c, inner, c)
        excess = 3 * v.var(0, ddof=1) / v.mean(0) ** 2
        expected = excess.reshape(3, EACH).mean(1)
        np.testing.assert_allclose(at["kurtosis"], expected, rtol=1e-9)
    draws = np.concatenate(everything)[:, 12] / np.sqrt(c[12] @ limit @ c[12])
    p = float(found["normality"].sel(projection="derivative", copy=4))
    np.testing.assert_allclose(p, stats.kstest(draws, "norm").pvalue, rtol=1e-6)


@pytest.mark.slow
def test_the_kurtosis_is_that_of_one_hidden_layer():
    """With one hidden layer v is a mean of m independent squares: exact moments."""
    config = {
        "rows": 5, "features": 2, "activation": "erf", "depth": 1, "width": 4,
        "networks": 2000, "seeds": [0, 1, 2, 3],
    }  # fmt: skip
    found = sample_networks(config, lambda share: None)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    square = special.erf(nodes) ** 2
    mean, second = (weights @ square**k / weights.sum() for k in (1, 2))
    expected = 3 * (second / mean**2 - 1) / 4
    kurtosis = found["kurtosis"].sel(projection="value").values
    error = kurtosis.std(ddof=1) / 2
    assert abs(kurtosis.mean() - expected) < 5 * error + 0.01 * expected
    assert np.all(jnp.isfinite(found["drawn_kurtosis"].values))
