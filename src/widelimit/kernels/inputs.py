r"""Moments of two batches of inputs, with the angles of nearly parallel ones.

A layer of kinked activations turns the angle $\theta$ between two inputs into an
error of the size of $\theta$'s own, and $\theta$ follows from inner products only to
rounding / $\theta$. Where it is small, the height
$\sqrt{|x|^2 |x'|^2 - \langle x, x' \rangle^2}$ is therefore formed as $|x|$ times the
norm of the part of $x'$ that is orthogonal to $x$.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from widelimit.activations import AbstractActivation
from widelimit.activations.moments import height as height_of
from widelimit.description import Description
from widelimit.layers import AbstractLayer, Moments

NEAR = 1e-2  # sine below which the height of rounded products is not enough
CHUNK = 512  # pairs that are formed at a time
UNROLLED = 4  # channels that are summed in one pass over all pairs


def input_moments(
    network: AbstractLayer,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"],
    *,
    ntk: bool = True,
    per_layer: bool = False,
) -> Moments:
    r"""Moments of the inputs themselves, $K = \langle x, x' \rangle / d$.

    The mean over features (channels, at every position) stands for the inner product,
    as layers count their fan-in.

    Args:
        network: What the inputs are for: it says which positions must be paired, and
            whether angles matter.
        x1: Inputs, one per row; vectors, or images with channels last.
        x2: Inputs of the same shape.
        ntk: Whether tangent kernels are wanted.
        per_layer: Whether they are wanted layer by layer.

    Returns:
        The moments. The input is not Gaussian and has no mean to speak of.
    """
    _, *positions, features = x1.shape
    shape = (*positions, features)
    joint = bool(positions) and network.needs_joint(False)
    cross, within = _subscripts(len(positions), joint)
    c = jnp.einsum(cross, x1, x2) / features
    p, q = (jnp.einsum(within, x, x) / features for x in (x1, x2))
    m = Moments(
        cross=c,
        first=p,
        second=q,
        height=None,
        mean_first=None,
        mean_second=None,
        ntk=() if ntk else None,
        shape=shape,
        gaussian=False,
        joint=joint,
        per_layer=per_layer,
    )
    if not has_kinks(network):
        return m
    fixed = jax.tree.map(jax.lax.stop_gradient, (x1, x2, m))
    return m.replace(height=(_height_of_positions if positions else _height)(*fixed))


def has_kinks(value: object) -> bool:
    """Whether a description holds an activation or a layer that is not smooth."""
    if isinstance(value, AbstractActivation | AbstractLayer) and not value.smooth:
        return True
    if isinstance(value, tuple):
        return any(map(has_kinks, value))
    if not isinstance(value, Description):
        return False
    fields = dataclasses.fields(value)  # pyright: ignore[reportArgumentType]
    return any(has_kinks(getattr(value, f.name)) for f in fields)


def _subscripts(rank: int, joint: bool) -> tuple[str, str]:
    here = "uvw"[:rank]
    there = "xyz"[:rank] if joint else here
    out = here + there if joint else here
    return f"n{here}d,m{there}d->nm{out}", f"n{here}d,n{there}d->n{out}"


def _height_of_positions(x1, x2, m: Moments) -> Float[Array, "n m *S"]:
    """The height at every pair of positions, which have few channels."""
    ones = (1,) * len(m.positions) * m.joint
    a = jnp.moveaxis(x1, -1, 0).reshape(-1, len(x1), 1, *m.positions, *ones)
    b = jnp.moveaxis(x2, -1, 0).reshape(-1, 1, len(x2), *ones, *m.positions)
    p, q = m.variances()
    slope = m.cross / jnp.where(p > 0, p, 1.0)
    root = jnp.sqrt(q)  # the unit, so that squares stay in range
    one = 1 / jnp.where(q > 0, root, 1.0)

    def step(total, channel):
        u, v = channel
        return total + jnp.square((v - slope * u) * one), None

    total, _ = jax.lax.scan(step, jnp.zeros_like(m.cross), (a, b), unroll=UNROLLED)
    return jnp.sqrt(p) * root * jnp.sqrt(total / len(a))


def _height(x1, x2, m: Moments) -> Float[Array, "n m"]:
    p, q = m.variances()
    height = height_of(m.cross, p, q)
    near = height <= NEAR * (jnp.sqrt(p) * jnp.sqrt(q))
    arguments = x1, x2, m.cross, near, height
    return jax.lax.cond(jnp.any(near), _refined, lambda *_: height, *arguments)


def _refined(
    x1: Float[Array, "n d"],
    x2: Float[Array, "m d"],
    c: Float[Array, "n m"],
    near: Bool[Array, "n m"],
    height: Float[Array, "n m"],
) -> Float[Array, "n m"]:
    """The height with the near pairs formed anew, a chunk of them at a time."""
    columns = near.shape[1]
    counts = jnp.cumsum(jnp.ravel(near).astype(jnp.int32))

    def step(state):
        done, height = state
        wanted = done + 1 + jnp.arange(CHUNK, dtype=counts.dtype)
        at = jnp.searchsorted(counts, wanted)
        i, j = at // columns, at % columns  # out of bounds behind the last pair
        a, b = x1[i], x2[j]
        p = jnp.mean(a * a, axis=1)
        slope = c[i, j] / jnp.where(p > 0, p, 1.0)
        rest = b - slope[:, None] * a
        unit = jnp.max(jnp.abs(b), axis=1)  # so that squares stay in range
        rest = rest / jnp.where(unit > 0, unit, 1.0)[:, None]
        fresh = jnp.sqrt(p) * unit * jnp.sqrt(jnp.mean(rest * rest, axis=1))
        return done + CHUNK, height.at[i, j].set(fresh, mode="drop")

    start = (jnp.zeros((), counts.dtype), height)
    return jax.lax.while_loop(lambda state: state[0] < counts[-1], step, start)[1]


def pair_bytes(network: AbstractLayer, shape: tuple[int, ...], size: int) -> int:
    """Bytes of one covariance of one pair of inputs.

    Args:
        network: The network.
        shape: Shape of one input.
        size: Bytes of a number.

    Returns:
        The bytes, positions included.
    """
    positions = math.prod(shape[:-1])
    joint = len(shape) > 1 and network.needs_joint(False)
    return size * positions * (positions if joint else 1)
