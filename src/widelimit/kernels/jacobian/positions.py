"""Jacobian kernels of networks with positions: limit kernels, differentiated."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from widelimit._checks import check_memory, check_positive
from widelimit.description import Description
from widelimit.kernels.inputs import pair_bytes
from widelimit.kernels.jacobian.block import Kind
from widelimit.kernels.jacobian.checks import check_pairs, check_regularization
from widelimit.kernels.jacobian.kernel import jacobian_kernel
from widelimit.kernels.limit import limit_block
from widelimit.layers import AbstractLayer

GIB = 2**30
KEPT = 24  # arrays of pairs that one layer leaves for its derivatives


def dense_jacobian_kernel(
    network: AbstractLayer,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    kind: Kind = "ntk",
    regularization: float = 1.0,
    memory: float = 1.0,
    dtype: str = "float64",
) -> Float[np.ndarray, "r c"]:
    r"""The matrix of a Jacobian NNGP kernel or Jacobian NTK, of any network.

    For vectors it is `jacobian_kernel(...).dense()`. Kernels of images depend on more
    than three inner products; they are differentiated, forwards by one input and
    backwards by the other, at a cost of about ten kernels for every feature.

    Args:
        network: Description of the network.
        x1: Inputs, one per row: vectors, or images with channels last.
        x2: Inputs; `x1` again if `None`.
        kind: `"nngp"` or `"ntk"`.
        regularization: $\lambda$ of kim2023: gradients are scaled by its root.
        memory: Budget in GiB for what the computation needs beside its result.
        dtype: `"float64"`, or `"float32"`.

    Returns:
        The matrix, in the order of `JacobianKernel` with an image's partial derivatives
        in the order of its flattened entries; symmetric to the last bit without `x2`.
        With kinks, blocks of nearly equal images lose up to half of their digits
        behind pooling and flattening, which do not keep angles.

    Raises:
        ValueError: As `jacobian_kernel`; and if the network's outputs have positions.
    """
    caller = "dense_jacobian_kernel"
    check_regularization(caller, regularization)
    check_positive(caller, "memory", memory)
    a, b = check_pairs(caller, network, x1, x2, kind=kind, dtype=dtype)
    d = math.prod(a.shape[1:])
    n, m, r, size = len(a), len(b), d + 1, a.dtype.itemsize
    check_memory(
        caller,
        float(n * m * r * r * size + memory * GIB),
        f"a matrix of {n * r} x {m * r}",
        "Use fewer or smaller inputs, or compute some rows of `x1` at a time; for "
        "vectors, `jacobian_kernel` multiplies without the matrix.",
    )
    if a.ndim == 2:
        options = {"kind": kind, "memory": memory, "dtype": dtype}
        kernel = jacobian_kernel(network, a, None if a is b else b, **options)
        return kernel.scaled(regularization).dense()
    output = network.output_shape(a.shape[1:])
    if len(output) > 1:
        raise ValueError(
            f"`{caller}` needs a network whose outputs have no positions. Got outputs "
            f"of shape {output}. Add `Pool` or `Flatten`."
        )
    needed = KEPT * _count(network) * pair_bytes(network, a.shape[1:], size)
    side = math.isqrt(int(memory * GIB / (needed + 4 * r * r * size)))
    if not side:
        raise ValueError(
            f"`{caller}` needs about {needed / GIB:.3g} GiB for one pair of inputs of "
            f"shape {a.shape[1:]}. Got `memory={memory}`. Give more, or reduce the "
            "inputs' positions first."
        )
    side = min(side, max(n, m))
    out = np.empty((n, r, m, r), a.dtype)
    scales = np.full(r, math.sqrt(regularization), a.dtype)
    scales[0] = 1
    with jax.enable_x64(a.dtype == np.float64):
        for i in range(0, n, side):
            for j in range(i if a is b else 0, m, side):
                one, two = a[i : i + side], b[j : j + side]
                tile = np.asarray(_tile(network, one, two, kind))
                tile = tile * scales[:, None, None] * scales
                out[i : i + side, :, j : j + side] = tile
                if a is b:
                    out[j : j + side, :, i : i + side] = tile.transpose(2, 3, 0, 1)
    whole = out.reshape(n * r, m * r)
    if a is b:  # rounding of two tiles on the diagonal: the upper triangle decides
        for i in range(0, n * r, side * r):
            block = whole[i : i + side * r, i : i + side * r]
            block[...] = np.triu(block) + np.triu(block, 1).T
    return whole


@functools.partial(jax.jit, static_argnums=(0, 3))
def _tile(
    network: AbstractLayer,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"],
    kind: Kind,
) -> Float[Array, "n r m r"]:
    def kernel(x, z):
        pair = limit_block(network, x, z, ntk=kind == "ntk")
        return pair.ntk if kind == "ntk" else pair.nngp

    def with_gradient(f):
        """Values of a function of the second inputs, each with its gradient."""
        k, pull = jax.vjp(f, x2)
        (slopes,) = pull(jnp.ones_like(k))
        return jnp.concatenate([k[:, None], slopes.reshape(len(k), -1)], axis=1)

    def value(x):
        return with_gradient(lambda z: kernel(x[None], z)[0])

    def slope(x, direction):
        # Forwards first: backwards through a loop, JAX forgets the duals' own rules.
        def along(z):
            return jax.jvp(lambda x: kernel(x[None], z)[0], (x,), (direction,))[1]

        return with_gradient(along)

    units = jnp.eye(math.prod(x1.shape[1:]), dtype=x1.dtype)
    slopes = jax.lax.map(
        lambda unit: jax.vmap(lambda x: slope(x, unit.reshape(x.shape)))(x1), units
    )
    whole = jnp.concatenate([jax.vmap(value)(x1)[None], slopes])
    return whole.transpose(1, 0, 2, 3)


def _count(value: object) -> int:
    """Number of the layers of a description."""
    if isinstance(value, tuple):
        return sum(map(_count, value))
    if not isinstance(value, Description):
        return 0
    return 1 + sum(map(_count, vars(value).values()))
