"""The numbers of all pairs of two batches, in one traceable piece."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.kernels.inputs import has_kinks, input_moments
from widelimit.kernels.jacobian.checks import check_smooth
from widelimit.kernels.jacobian.forward import State, through
from widelimit.kernels.jacobian.partials import FramePartials, Partials
from widelimit.kernels.jacobian.plan import ANY, steps_of
from widelimit.kernels.jacobian.scalars import (
    AbstractScalars,
    FrameScalars,
    JacobianScalars,
)
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
        ValueError: If the network has no limit, or no Jacobian NTK.
    """
    if kind == "ntk":
        check_smooth("jacobian_block", network)
    m = input_moments(network, x1, x2, ntk=kind == "ntk")
    jax.eval_shape(network.moments, m)  # says what does not fit
    d = x1.shape[1]
    steps = steps_of(network, m.shape)
    m = m.replace(shape=ANY)
    if has_kinks(network):
        frame = _Frame(m, d)
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


class _Frame:
    r"""The frames of the plane of every pair.

    $u$ and $v$ are the directions of the inputs, at an angle $\theta$; $n_u$ is
    orthogonal to $u$ towards $v$, $n_v$ to $v$ towards $u$. A zero input takes the
    direction of the other.
    """

    def __init__(self, m: Moments, d: int):
        self.lengths = r, t = jnp.sqrt(d * m.first), jnp.sqrt(d * m.second)
        self.r, self.t = r[:, None], t[None, :]
        size = self.r * self.t
        proper = size > 0
        one = jnp.where(proper, size, 1.0)
        assert m.height is not None
        cosine = jnp.where(proper, d * m.cross / one, 1.0)
        sine = jnp.where(proper, d * m.height / one, 0.0)
        norm = jnp.hypot(cosine, sine)
        self.cosine, self.sine = cosine / norm, sine / norm

    def seeds(self, d: int) -> FramePartials:
        """Derivatives of the inner products over `d`."""
        c, s, r, t = self.cosine, self.sine, self.r, self.t
        return FramePartials(
            x=(t * c / d, t * s / d),
            y=(r * c / d, r * s / d),
            xy=((c / d, s / d), (s / d, -c / d)),
            across=jnp.full_like(c, 1 / d),
        )

    def scalars(self, k, p: FramePartials) -> FrameScalars:
        """The numbers of pairs from derivatives in the directions of the frames."""
        r, t, across = self.r, self.t, p.across
        # Where one input is zero, all directions orthogonal to the other are alike.
        whole = (r > 0) & (t > 0)
        alone = p.xy[0][0] - across
        rr, rn, nr, nn = p.xy[0][0], p.xy[0][1], p.xy[1][0], p.xy[1][1]
        # Half the angle: m = C m^ and h = S h^ with orthogonal unit vectors m^, h^.
        less = self.sine * self.sine / (2 * (1 + jnp.abs(self.cosine)))
        acute = self.cosine > 0
        CC, SS = jnp.where(acute, 1 - less, less), jnp.where(acute, less, 1 - less)
        CS = self.sine / 2
        mm = rr * CC + (rn + nr) * CS + nn * SS - across
        mh = (nn - rr) * CS + rn * CC - nr * SS
        hm = (rr - nn) * CS + rn * SS - nr * CC
        hh = (rn + nr) * CS - rr * SS - nn * CC - across
        sign = jnp.where(r > 0, alone, -alone)  # then m = h, else m = -h
        return FrameScalars(
            k=k,
            k_a=_ratio(p.x[0] - across * t * self.cosine, 2 * r),
            k_b=_ratio(p.y[0] - across * r * self.cosine, 2 * t),
            k_c=across,
            mm=jnp.where(whole, _over(mm, CC, 2), alone),
            mh=jnp.where(whole, _over(mh, CS, 1), sign),
            hm=jnp.where(whole, _over(hm, CS, 1), sign),
            hh=jnp.where(whole, _over(hh, SS, 2), alone),
        )


def _ratio(x, y):
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1.0), 0.0)


def _over(x, y, power):
    """`x / y`, or zero where `y` is no more than that power of a rounding error."""
    proper = y > jnp.finfo(y.dtype).eps ** power
    return jnp.where(proper, x / jnp.where(proper, y, 1.0), 0.0)


def block_arrays(
    network: AbstractLayer, x1: Array, x2: Array, kind: Kind
) -> Float[Array, "8 n m"]:
    """The eight arrays of `jacobian_block` as one."""
    return jnp.stack(jax.tree.leaves(jacobian_block(network, x1, x2, kind=kind)))
