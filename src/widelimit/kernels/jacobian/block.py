"""The numbers of all pairs of two batches, in one traceable piece."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.inputs import has_kinks, input_moments
from widelimit.kernels.jacobian.checks import check_kinks, check_smooth
from widelimit.kernels.jacobian.forward import State, through
from widelimit.kernels.jacobian.frame import Frame
from widelimit.kernels.jacobian.partials import Partials
from widelimit.kernels.jacobian.plan import ANY, steps_of
from widelimit.kernels.jacobian.scalars import AbstractScalars, JacobianScalars
from widelimit.layers import AbstractLayer, Moments

Kind = Literal["nngp", "ntk"]


def jacobian_block(
    network: AbstractLayer,
    x1: Float[Array, "n d"],
    x2: Float[Array, "m d"],
    *,
    kind: Kind = "ntk",
) -> AbstractScalars:
    """`jacobian_scalars` in one piece and in the inputs' own precision.

    It may be called inside `jit` and `vmap`.

    Args:
        network: Description of a fully-connected network.
        x1: Inputs, one per row.
        x2: Inputs, one per row.
        kind: `"nngp"` or `"ntk"`.

    Returns:
        `JacobianScalars` of a smooth network, `FrameScalars` of one with kinks.

    Raises:
        ValueError: If the network has no limit, or no such kernel.
    """
    if kind == "ntk":
        check_smooth("jacobian_block", network)
    check_kinks("jacobian_block", network)
    m = input_moments(network, x1, x2, ntk=kind == "ntk")
    network.output_shape(m.shape)  # says what does not fit
    d = x1.shape[1]
    steps = steps_of(network, m.shape)
    m = m.replace(shape=ANY)
    if has_kinks(network):
        frame = Frame(m, d)
        s = through(steps, _start(m, frame.seeds(d), d, frame.lengths))
        return frame.scalars(s.value.cross, s.cross)
    s = through(steps, _start(m, _formal_seeds(m.cross, d), d))
    if kind == "nngp":
        return _formal_scalars(s.value.cross, s.cross)
    if not s.value.ntk:  # no layer has parameters
        still = jnp.zeros_like(m.cross)
        return JacobianScalars(*[still] * 8)
    return _formal_scalars(s.value.ntk[0], s.ntk)


def _start(m: Moments, cross, d: int, lengths=None) -> State:
    """The state of the inputs, whose moments are inner products over `d`."""
    first, second = (jnp.full_like(v, 1 / d) for v in (m.first, m.second))
    if lengths is not None:  # direction 1 is of unit length, and a = r^2
        first, second = (2 / d * r for r in lengths)
    return State(m, cross, None, first, second)


def _formal_seeds(c: Float[Array, "n m"], d: int) -> Partials:
    still, moved = jnp.zeros_like(c), jnp.full_like(c, 1 / d)
    return Partials(still, still, moved, still, still, still, still)


def _formal_scalars(k, partials) -> JacobianScalars:
    p = partials
    return JacobianScalars(k, p.a, p.b, p.c, p.ab, p.ac, p.bc, p.cc)


def block_arrays(
    network: AbstractLayer, x1: Array, x2: Array, kind: Kind
) -> Float[Array, "8 n m"]:
    """The eight arrays of `jacobian_block` as one."""
    return jnp.stack(jax.tree.leaves(jacobian_block(network, x1, x2, kind=kind)))
