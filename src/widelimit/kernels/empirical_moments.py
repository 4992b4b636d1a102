"""Moments of finite networks' features."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.empirical_work import precisely
from widelimit.layers import AbstractLayer, Moments, Params, Sequential


def empirical_moments(
    network: AbstractLayer,
    params: Params,
    x1: Float[Array, "n *s"],
    x2: Float[Array, "m *s"] | None = None,
) -> tuple[Moments, ...]:
    r"""Second moments $\frac1m \sum_r x_r x_r'$ and means of every layer's features.

    They tend to those of `limit_moments` as widths grow, where it has `None` for a mean
    to zero. It may be called inside `jit`, `vmap`, `scan` and so on.

    Args:
        network: Description of the network.
        params: Its parameters.
        x1: Inputs, one per row, in the parameters' type.
        x2: Inputs; `x1` again if `None`.

    Returns:
        Moments of the input, and then of what leaves each layer of a `Sequential`; of
        any other layer, the input's and the output's. They have no `ntk`; see
        `empirical_ntk`.
    """
    joint = x1.ndim > 2 and network.needs_joint(False)
    layers = network.layers if isinstance(network, Sequential) else (network,)
    parts = params if isinstance(network, Sequential) else (params,)
    batches = [x1] if x2 is None else [x1, x2]
    found = [feature_moments(batches[0], batches[-1], joint=joint)]
    for layer, p in zip(layers, parts, strict=True):
        with precisely():
            batches = [layer.apply(p, x) for x in batches]
        found.append(feature_moments(batches[0], batches[-1], joint=joint))
    return tuple(found)


def feature_moments(
    x1: Float[Array, "n *s"], x2: Float[Array, "m *s"], *, joint: bool
) -> Moments:
    """Means over channels, the last axis, of products and of values.

    Args:
        x1: Features, one input per row.
        x2: Features of other inputs.
        joint: Whether to pair all positions.

    Returns:
        The moments.
    """
    _, *positions, channels = x1.shape
    here = "uvw"[: len(positions)]
    there = "xyz"[: len(positions)] if joint else here
    out = here + there if joint else here
    within = f"n{here}d,n{there}d->n{out}"
    with precisely():
        cross = jnp.einsum(f"n{here}d,m{there}d->nm{out}", x1, x2) / channels
        first, second = (jnp.einsum(within, x, x) / channels for x in (x1, x2))
    return Moments(
        cross=cross,
        first=first,
        second=second,
        height=None,
        mean_first=jnp.mean(x1, -1),
        mean_second=jnp.mean(x2, -1),
        ntk=None,
        shape=(*positions, channels),
        gaussian=False,
        joint=joint and bool(positions),
    )
