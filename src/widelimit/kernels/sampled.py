"""Kernels of finite networks, averaged over random initialisations."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, ArrayLike, Float, Key

from widelimit._checks import check_count, check_one_of, check_positive
from widelimit.kernels.empirical import empirical_ntk_block
from widelimit.kernels.empirical_checks import check_key, check_network, input_pair
from widelimit.kernels.empirical_nngp import (
    bytes_of_row,
    empirical_nngp_block,
    ends_at_random,
)
from widelimit.kernels.empirical_tiles import GIB
from widelimit.kernels.empirical_work import mirrored, precisely, work_for
from widelimit.layers import AbstractLayer, Shape

CHUNK = 64  # most draws in one vectorised program
CHUNKS = 16  # least number of chunks, so that devices have something to share
CHUNK_BYTES = 2**26  # size beyond which a chunk gains nothing


class SampledKernels(eqx.Module):
    """Means over random initialisations, with their standard errors.

    Attributes:
        nngp: Mean covariance of an output.
        nngp_error: Its standard error.
        ntk: Mean tangent kernel; `None` if it was not wanted.
        ntk_error: Its standard error.
        draws: Number of initialisations.
    """

    nngp: Float[np.ndarray, "n m"]
    nngp_error: Float[np.ndarray, "n m"]
    ntk: Float[np.ndarray, "n m"] | None
    ntk_error: Float[np.ndarray, "n m"] | None
    draws: int


def sampled_kernels(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    draws: int,
    key: Key[Array, ""],
    ntk: bool = True,
    memory: float = 1.0,
    dtype: str = "float64",
) -> SampledKernels:
    r"""Kernels of a finite network, averaged over its random initialisation.

    $$\bar K = \frac1k \sum_{i=1}^k \hat K_i, \quad
      s^2 = \frac1{k (k - 1)} \sum_{i=1}^k (\hat K_i - \bar K)^2,$$

    with $\hat K_i$ the `empirical_nngp` of draw $i$ where the network ends with `Dense`
    or `Readout`, and elsewhere the mean of $f_a(x) f_a(x')$ over its outputs; likewise
    the mean of `empirical_ntk`. They tend to `limit_kernels` with a bias that falls as
    1 / width. Errors fall as `draws**-0.5`; entries share draws and are not
    independent.

    Draw $i$ depends on `key` and $i$ alone. The devices of JAX share the draws, and the
    result does not depend on how many there are.

    Args:
        network: Description of the network.
        x1: Inputs, one per row.
        x2: Inputs; `x1` again if `None`, and the results are then symmetric to the last
            bit.
        draws: Number of initialisations, at least 2.
        key: Random key.
        ntk: Whether to compute the NTK too.
        memory: Budget in GiB on each device for what the computation needs beside its
            result.
        dtype: `"float64"`, or `"float32"`, whose rounding the standard errors exceed by
            far and which is quicker.

    Returns:
        Means and standard errors as NumPy arrays in float64.

    Raises:
        ValueError: If the inputs do not fit the network or are not finite, the key is
            not a single one, there are fewer than two draws, one does not fit into the
            memory, or a kernel is not finite.

    Example:
        >>> import jax, numpy as np
        >>> from widelimit.kernels import limit_kernels
        >>> from widelimit.layers import Parameterization
        >>> from widelimit.networks import mlp
        >>> net = mlp(depth=1, width=64, parameterization=Parameterization.NTK)
        >>> found = sampled_kernels(net, np.eye(3), draws=100, key=jax.random.key(0))
        >>> limit = limit_kernels(net, np.eye(3))
        >>> bool((abs(found.ntk - limit.ntk) < 5 * found.ntk_error).all())
        True
    """
    caller = "sampled_kernels"
    check_count(caller, "draws", draws, 2)
    check_one_of(caller, "dtype", dtype, ("float64", "float32"))
    check_positive(caller, "memory", memory)
    check_network(caller, network)
    check_key(caller, key)
    a, b = input_pair(caller, x1, x2, dtype)
    network.output_shape(a.shape[1:])
    with jax.enable_x64(dtype == "float64"):
        mean, spread = _moments(
            network,
            jnp.asarray(a),
            None if b is None else jnp.asarray(b),
            draws,
            key,
            ntk,
            memory * GIB,
            len(jax.devices()),
        )
    errors = np.sqrt(spread / (draws * (draws - 1)))
    if ntk:
        return SampledKernels(mean[0], errors[0], mean[1], errors[1], draws)
    return SampledKernels(mean[0], errors[0], None, None, draws)


def _moments(
    network: AbstractLayer,
    x1: Array,
    x2: Array | None,
    draws: int,
    key: Array,
    ntk: bool,
    budget: float,
    devices: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the draws, and sum of squared distances from it."""
    shape = (1 + ntk, len(x1), len(x1 if x2 is None else x2))
    kept = 2 * math.prod(shape) * x1.dtype.itemsize  # of a chunk
    one = _bytes_of_draw(network, x1.shape[1:], x1.dtype.name, *shape[1:], ntk)
    if one + kept > budget:
        raise ValueError(
            f"`sampled_kernels` needs {(one + kept) / GIB:.3g} GiB for one draw. Got "
            f"`memory={budget / GIB:g}`. Give more, or pass fewer rows."
        )
    # These depend on no number of devices, so that neither does the rounding.
    size = int(min(CHUNK, -(-draws // CHUNKS), max(CHUNK_BYTES // one, 1)))
    size = max(min(size, int((budget - kept) // one)), 1)
    chunks = -(-draws // size)
    share = int(max((budget - size * one) // kept, 1))
    share = min(share, -(-chunks // devices))

    count, mean, spread = 0, np.zeros(shape), np.zeros(shape)
    for first in range(0, chunks, share * devices):
        starts = size * np.arange(first, first + share * devices)
        found = _chunks(network, size, ntk, devices, starts, draws, key, x1, x2)
        for start, *values in zip(starts, *map(np.asarray, found), strict=True):
            more = min(size, draws - start)
            if more <= 0:
                break
            if not np.isfinite(values).all():
                raise ValueError(
                    "`sampled_kernels` needs networks with finite outputs and "
                    "gradients. Got NaN or infinite entries in a kernel. Use smaller "
                    "weights or inputs, or float64."
                )
            near, around = (v.astype(np.float64) for v in values)
            step = near - mean
            mean = mean + step * (more / (count + more))
            spread = spread + around + step**2 * (count * more / (count + more))
            count += more
    return mean, spread


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _chunks(network, size, ntk, devices, starts, draws, key, x1, x2):
    """Mean and sum of squared distances of each chunk of draws, shared by devices."""

    def share(starts, draws, key, x1, x2):
        def kernels(number) -> Float[Array, "k n m"]:
            params = network.init(jax.random.fold_in(key, number), x1.shape[1:])
            found = [_nngp(network, params, x1, x2)]
            if ntk:
                found.append(empirical_ntk_block(network, params, x1, x2))
            return jnp.stack(found)

        def moments(start):
            numbers = start + jnp.arange(size, dtype=starts.dtype)
            values = jax.vmap(kernels)(numbers)
            own = (numbers < draws).astype(values.dtype)[:, None, None, None]
            mean = jnp.sum(own * values, 0) / jnp.sum(own)
            return mean, jnp.sum(own * jnp.square(values - mean), 0)

        def nothing(start):
            return jax.tree.map(jnp.zeros_like, jax.eval_shape(moments, start))

        def chunk(start):
            return jax.lax.cond(start < draws, moments, nothing, start)

        return jax.lax.map(chunk, starts)

    if devices > 1:
        mesh = Mesh(np.asarray(jax.devices()[:devices]), ("chunks",))
        chunks, everywhere = PartitionSpec("chunks"), PartitionSpec()
        share = jax.shard_map(
            share,
            mesh=mesh,
            in_specs=(chunks, everywhere, everywhere, everywhere, everywhere),
            out_specs=chunks,
            check_vma=False,
        )
    return share(starts, draws, key, x1, x2)


def _nngp(network, params, x1, x2) -> Float[Array, "n m"]:
    if ends_at_random(network):
        return empirical_nngp_block(network, params, x1, x2)
    with precisely():
        y1 = network.apply(params, x1).reshape(len(x1), -1)
        y2 = y1 if x2 is None else network.apply(params, x2).reshape(len(x2), -1)
        k = y1 @ y2.T / y1.shape[1]
    return mirrored(k[None], 1)[0] if x2 is None else k


@functools.lru_cache(maxsize=256)
def _bytes_of_draw(
    network: AbstractLayer, shape: Shape, dtype: str, n: int, m: int, ntk: bool
) -> int:
    """Bytes of one draw: its parameters, what rows make, and pairs."""
    params = jax.eval_shape(lambda key: network.init(key, shape), jax.random.key(0))
    size = np.dtype(dtype).itemsize
    weights = size * sum(math.prod(p.shape) for p in jax.tree.leaves(params))
    if ntk:
        row = jax.ShapeDtypeStruct((1, *shape), dtype)
        work = work_for(
            network, params, row, output_axes=False, per_layer=False, rows=max(n, m)
        )
        of_row, of_pair = work.row, work.pair
    else:
        of_row, of_pair = bytes_of_row(network, shape, dtype), 3 * size
    return math.ceil(3 * weights + (n + m) * of_row + n * m * of_pair)
