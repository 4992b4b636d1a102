"""The block of a Jacobian kernel at one input, which depends on its norm only."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.kernels import jacobian_block, limit_block
from widelimit.kernels.jacobian.block import Kind
from widelimit.kernels.jacobian.checks import check_pairs
from widelimit.layers import AbstractLayer

CHUNK = 256  # norms in one run of the compiled program


class OwnBlock(eqx.Module):
    r"""A kernel at $x = x'$, and the eigenvalues of $\partial_x \partial_{x'} k$ there.

    Attributes:
        value: $k(x, x)$.
        along: The eigenvalue with the eigenvector $x$.
        across: The other eigenvalue, $d - 1$ times.
    """

    value: Float[np.ndarray, " n"]
    along: Float[np.ndarray, " n"]
    across: Float[np.ndarray, " n"]

    @property
    def largest(self) -> Float[np.ndarray, " n"]:
        """The largest eigenvalue (that along, if the inputs have one feature)."""
        return np.maximum(self.along, self.across)


def own_blocks(
    caller: str,
    network: AbstractLayer,
    norms: Float[np.ndarray, " n"],
    features: int,
    kind: Kind = "nngp",
) -> OwnBlock:
    """Blocks at inputs of some norms.

    Args:
        caller: Name of the public function, for messages.
        network: Description of a fully-connected network.
        norms: Norms of the inputs.
        features: Number $d$ of features.
        kind: `"nngp"` or `"ntk"`.

    Returns:
        One block for every norm.

    Raises:
        ValueError: If the network has no such kernel, or its duals do not converge.
    """
    ends = np.zeros((2, features))
    ends[:, 0] = norms.min(), norms.max()
    check_pairs(caller, network, ends, None, kind=kind, dtype="float64")
    padded = np.concatenate([norms, np.full(-len(norms) % CHUNK, norms[-1])])
    with jax.enable_x64(True):
        found = [
            np.asarray(_blocks(network, jnp.asarray(part), features, kind))
            for part in padded.reshape(-1, CHUNK)
        ]
    value, along, across = np.concatenate(found, axis=1)[:, : len(norms)]
    return OwnBlock(value, along, along if features == 1 else across)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _blocks(
    network: AbstractLayer, norms: Float[Array, " n"], features: int, kind: Kind
) -> Float[Array, "3 n"]:
    def at(norm):
        row = jnp.zeros((1, features), norm.dtype).at[0, 0].set(norm)
        s = jacobian_block(network, row, row, kind=kind)
        inner = s.scale(row) * norm  # of the plane's vectors and the unit vector
        near, far = s.plane(inner, inner)
        across = s.k_c[0, 0]
        return jnp.stack([s.k[0, 0], across + (inner * (near + far))[0, 0], across])

    return jnp.moveaxis(jax.lax.map(at, norms, batch_size=64), -1, 0)


def own_bends(
    network: AbstractLayer,
    norms: Float[np.ndarray, " n"],
    features: int,
    kind: Kind = "ntk",
) -> Float[np.ndarray, " n"]:
    r"""The largest $\partial_v^2 \partial_{v'}^2 k$ at $x = x'$ over unit $v = v'$.

    Its root bounds how fast the derivatives of features change along a line. With $t$
    the square of the cosine between $v$ and $x$ it is a quadratic polynomial in $t$,
    since reflections about $x$ leave $k$ as it is.

    Args:
        network: Description of a fully-connected network of smooth activations.
        norms: Norms of the inputs.
        features: Number $d$ of features.
        kind: `"nngp"` or `"ntk"`.

    Returns:
        One number for every norm.
    """
    padded = np.concatenate([norms, np.full(-len(norms) % CHUNK, norms[-1])])
    with jax.enable_x64(True):
        found = [
            np.asarray(_bends(network, jnp.asarray(part), features, kind))
            for part in padded.reshape(-1, CHUNK)
        ]
    across, half, along = np.concatenate(found, axis=1)[:, : len(norms)]
    if features == 1:
        return along
    bend = 2 * across - 4 * half + 2 * along  # across + rise t + bend t^2
    rise = along - across - bend
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(bend < 0, np.clip(-rise / (2 * bend), 0, 1), 0.0)
    inside = across + (rise + bend * t) * t
    return np.maximum(np.maximum(across, along), inside)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _bends(
    network: AbstractLayer, norms: Float[Array, " n"], features: int, kind: Kind
) -> Float[Array, "3 n"]:
    def second(f):
        def first(s):
            return jax.jvp(f, (s,), (jnp.ones_like(s),))[1]

        return lambda s: jax.jvp(first, (s,), (jnp.ones_like(s),))[1]

    def at(norm, along):
        row = jnp.zeros(features, norm.dtype).at[0].set(norm)
        v = jnp.zeros(features, norm.dtype).at[0].set(jnp.sqrt(along))
        if features > 1:
            v = v.at[1].set(jnp.sqrt(1 - along))

        def k(s, t):
            x, z = (row + s * v)[None], (row + t * v)[None]
            pair = limit_block(network, x, z, ntk=kind == "ntk")
            return (pair.ntk if kind == "ntk" else pair.nngp)[0, 0]

        zero = jnp.zeros_like(norm)
        return second(lambda s: second(lambda t: k(s, t))(zero))(zero)

    squares = jnp.array([0.0, 0.5, 1.0], norms.dtype)
    return jax.vmap(lambda t: jax.vmap(lambda r: at(r, t))(norms))(squares)
