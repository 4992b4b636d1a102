"""The trial of `jntk-convergence`: distances of finite Jacobian NTKs from the limit."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.kernels import empirical_jacobian_ntk_block
from widelimit.studies.jacobian_blocks import (
    BLOCKS,
    blocks_of,
    limit_blocks,
    max_norm,
)
from widelimit.studies.kim2023_lattice import lattice, network_bytes, network_of
from widelimit.studies.memory import device_memory

if TYPE_CHECKING:
    import xarray as xr

JNTK_CONVERGENCE_TRIAL = "widelimit.studies.jntk_convergence_trial:start_kernels"


def start_kernels(
    config: Mapping[str, Any], report: Callable[[float], None]
) -> "xr.Dataset":
    r"""Jacobian NTKs at initialisation of one width and depth, beside their limit.

    Args:
        config: One point of the study's grid, with `rows`, `features`, `activation` and
            `kappa`.
        report: Called with the share done.

    Returns:
        Per seed and block the `distance`
        $\max_{i,j} |\hat\Theta_{\alpha\beta} / \kappa^2 - \Theta_{\alpha\beta}|$; per
        block the limit's largest entry `size`; the `covering_radius` of the points.
    """
    import xarray as xr

    points, radius = lattice(config["rows"], config["features"])
    network = network_of(config, kappa=config["kappa"])
    limit = limit_blocks(network_of(config), points, "ntk")
    x = jnp.asarray(points, dtype=float)
    start = jnp.asarray(limit, dtype=x.dtype)
    seeds, kappa = list(config["seeds"]), config["kappa"]

    def distance(seed):
        params = network.init(jax.random.key(seed), x.shape[1:])
        kernel = empirical_jacobian_ntk_block(network, params, x) / kappa**2
        return max_norm(blocks_of(kernel, x.shape[1]) - start)

    one = network_bytes(config["depth"], config["width"], *x.shape)
    at_once = max(1, min(len(seeds), int((device_memory() or one) / (8 * one))))
    every = jax.jit(lambda seeds: jax.lax.map(distance, seeds, batch_size=at_once))
    found = every(jnp.asarray(seeds, dtype=jnp.uint32))
    return xr.Dataset(
        {
            "distance": (("seed", "block"), np.asarray(found, float)),
            "size": ("block", max_norm(limit)),
            "covering_radius": radius,
            "rows": len(x),
            "features": x.shape[1],
        },
        coords={"seed": seeds, "block": list(BLOCKS)},
        attrs={"activation": config["activation"]},
    )
