"""The trial of `gp-convergence`: covariances of outputs and gradients, two ways."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from widelimit.kernels import empirical_jacobian_nngp_block
from widelimit.layers import AbstractLayer
from widelimit.layers.jets import carried, input_jets
from widelimit.studies.jacobian_blocks import (
    BLOCKS,
    blocks_of,
    limit_matrix,
    max_norm,
)
from widelimit.studies.kim2023_lattice import lattice, network_bytes, network_of
from widelimit.studies.memory import device_memory

if TYPE_CHECKING:
    import xarray as xr

GP_CONVERGENCE_TRIAL = "widelimit.studies.gp_convergence_trial:sample_networks"

PROJECTIONS = ("value", "derivative", "mixed")
"""What is tested for being Gaussian: outputs, derivatives, and mixtures of all."""

EACH = 8
"""Projections of each kind."""


class Summary(NamedTuple):
    """What is kept of K networks: of two halves of them, and of each.

    Attributes:
        sums: Per half, of deviations from the limit: conditional, plain.
        squares: Of both halves, of their squares.
        farthest: Per network the largest deviation of its conditional covariance.
        variances: Per network, of each projection given the hidden layers.
        draws: Per network, the projections themselves.
    """

    sums: Float[Array | np.ndarray, "half 2 b n n"]
    squares: Float[Array | np.ndarray, "2 b n n"]
    farthest: Float[Array | np.ndarray, "k b"]
    variances: Float[Array | np.ndarray, "k c"]
    draws: Float[Array | np.ndarray, "k c"]


def sample_networks(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Covariances of K networks of one width and depth, beside the limit.

    Of every network two estimates of the covariance of outputs and input derivatives
    are taken: their products (plain sampling), and those products' mean over the last
    layer's weights, $\hat\Sigma$ (conditional). With the difference of the means of two
    halves of the networks, halved, there is a draw of the Monte-Carlo error itself: it
    has the same covariance as the error of the mean over all.

    Given the hidden layers a projection $c \cdot (f, \partial f)$ is Gaussian with the
    variance $v = c^\top \hat\Sigma c$. So its excess kurtosis is
    $3\,\mathrm{Var}(v) / (E\,v)^2$.

    Args:
        config: One point of the study's grid, with `rows`, `features`, `activation` and
            `networks` K.
        report: Called with the share done.

    Returns:
        Per seed and block the largest deviations from the limit over pairs of points:
        `one`, of a single network's conditional estimate, the mean over networks;
        `mean`, of the mean over all, and `plain`, of plain sampling; of these two the
        Monte-Carlo error's, `mean_noise` and `plain_noise`, and the root mean square
        over pairs of the standard error, `mean_error` and `plain_error`; `bias`, an
        estimate without bias of the mean square over pairs of the mean's bias. Per
        block the limit's mean square, `square`. Per seed and kind of projection
        `kurtosis`, and the estimate of the same from draws, `drawn_kurtosis`. Per
        projection `normality`, the p-value of a Kolmogorov-Smirnov test of the draws of
        all seeds against the limit's variance. `covering_radius` of the points.
    """
    import xarray as xr

    points, radius = lattice(config["rows"], config["features"])
    network, k = network_of(config), config["networks"]
    matrix = limit_matrix(network, points, "nngp")
    c = projections(matrix, points.shape[1])
    x = jnp.asarray(points, dtype=float)
    limit = blocks_of(jnp.asarray(matrix, dtype=x.dtype), x.shape[1])
    at_once = _at_once(
        k // 2, network_bytes(config["depth"], config["width"], *x.shape)
    )
    c_device, found = jnp.asarray(c, dtype=x.dtype), []
    for done, seed in enumerate(config["seeds"]):
        key = jax.random.key(seed)
        summary = _sample(network, x, limit, c_device, key, k, at_once)
        found.append(jax.tree.map(np.asarray, summary))
        report((done + 1) / len(config["seeds"]))
    every = Summary(
        *(np.stack(part).astype(float) for part in zip(*found, strict=True))
    )
    halves = every.sums / (k // 2)
    mean = halves.mean(axis=1)
    noise = max_norm(halves[:, 0] - halves[:, 1]) / 2
    variance = (every.squares / k - mean**2) * k / (k - 1)
    error = np.sqrt(np.maximum(variance, 0).mean((-2, -1)) / k)
    deviation = max_norm(mean)
    first, second = (halves[:, half, 0] for half in (0, 1))
    v, draws = every.variances, every.draws
    kurtosis = 3 * v.var(axis=1, ddof=1) / v.mean(axis=1) ** 2
    drawn = stats.kurtosis(draws, axis=1, bias=False)
    scale = np.sqrt(np.einsum("ci,ij,cj->c", c, matrix, c))
    pooled = draws.reshape(-1, len(c)) / scale
    kinds = (len(config["seeds"]), len(PROJECTIONS), EACH)
    per, kind = ("seed", "block"), ("seed", "projection")
    return xr.Dataset(
        {
            "one": (per, every.farthest.mean(axis=1)),
            "mean": (per, deviation[:, 0]),
            "plain": (per, deviation[:, 1]),
            "mean_noise": (per, noise[:, 0]),
            "plain_noise": (per, noise[:, 1]),
            "mean_error": (per, error[:, 0]),
            "plain_error": (per, error[:, 1]),
            "bias": (per, (first * second).mean((-2, -1))),
            "square": ("block", np.mean(np.asarray(limit, float) ** 2, axis=(1, 2))),
            "kurtosis": (kind, kurtosis.reshape(kinds).mean(-1)),
            "drawn_kurtosis": (kind, drawn.reshape(kinds).mean(-1)),
            "normality": (
                ("projection", "copy"),
                np.reshape([_normality(p) for p in pooled.T], kinds[1:]),
            ),
            "covering_radius": radius,
            "rows": len(x),
            "features": x.shape[1],
            "networks": k,
        },
        coords={
            "seed": list(config["seeds"]),
            "block": list(BLOCKS),
            "projection": list(PROJECTIONS),
            "copy": np.arange(EACH),
        },
        attrs={"activation": config["activation"]},
    )


def projections(
    matrix: Float[np.ndarray, "r r"], features: int
) -> Float[np.ndarray, "c r"]:
    """Directions in which values and derivatives of all points are tested.

    Args:
        matrix: The limit's covariance, with rows input by input.
        features: Number of features.

    Returns:
        `EACH` for each of `PROJECTIONS`: the value at some points, the second
        derivative at the same, and random mixtures of all, scaled alike.
    """
    size, r = len(matrix), features + 1
    points = np.linspace(0, size // r - 1, EACH).round().astype(int)
    unit = np.eye(size)
    mixed = np.random.default_rng(0).normal(size=(EACH, size))
    mixed /= np.sqrt(size * np.diag(matrix))
    return np.concatenate([unit[points * r], unit[points * r + 2], mixed])


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _sample(
    network: AbstractLayer,
    x: Float[Array, "n d"],
    limit: Float[Array, "b n n"],
    c: Float[Array, "c r"],
    key: Array,
    k: int,
    at_once: int,
) -> Summary:
    """K networks, some at once, of which only sums are kept."""

    def one(key):
        params = network.init(key, x.shape[1:])
        covariance = empirical_jacobian_nngp_block(network, params, x)
        jets = carried(lambda z: network(params, z)[:, 0], input_jets(x))
        drawn = jnp.stack([jnp.outer(jets[a], jets[b]) for a, b in BLOCKS.values()])
        deviations = jnp.stack([blocks_of(covariance, x.shape[1]), drawn]) - limit
        variances = jnp.einsum("ci,ij,cj->c", c, covariance, c)
        return (
            deviations,
            max_norm(deviations[0]),
            variances,
            c @ jets.T.reshape(-1),
        )

    def add(sums, keys):
        deviations, *kept = jax.vmap(one)(keys)
        total, squares = sums
        new = total + deviations.sum(0), squares + jnp.square(deviations).sum(0)
        return new, kept

    def half(keys):
        nothing = jnp.zeros((2, *limit.shape), x.dtype)
        return jax.lax.scan(add, (nothing, nothing), keys.reshape(-1, at_once))

    keys = jax.random.split(key, k).reshape(2, k // 2)
    (sums, squares), kept = jax.lax.map(half, keys)
    flat = [part.reshape(k, -1) for part in kept]
    return Summary(sums, squares.sum(0), *flat)


def _normality(draws: np.ndarray) -> float:
    found: Any = stats.kstest(draws, "norm")
    return float(found.pvalue)


def _at_once(half: int, one: int) -> int:
    """A divisor of half the networks, so that as many fit into part of the memory."""
    most = max(1, min(16, int((device_memory() or one) / (16 * one))))
    return max(j for j in range(1, most + 1) if half % j == 0)
