"""Orthonormal frames of the plane of two inputs, for kernels with kinks."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.activations.moments import ratio
from widelimit.kernels.jacobian.partials import AnyPartials, FramePartials
from widelimit.kernels.jacobian.scalars import FrameScalars
from widelimit.layers import Moments


class Frame:
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
        """Derivatives of the inner product over `d`."""
        c, s, r, t = self.cosine, self.sine, self.r, self.t
        return FramePartials(
            x=(t * c / d, t * s / d),
            y=(r * c / d, r * s / d),
            xy=((c / d, s / d), (s / d, -c / d)),
            across=jnp.full_like(c, 1 / d),
        )

    def scalars(self, k: Float[Array, "n m"], p: AnyPartials) -> FrameScalars:
        """The numbers of pairs from derivatives in the directions of the frames."""
        assert isinstance(p, FramePartials)
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
            k_a=ratio(p.x[0] - across * t * self.cosine, 2 * r),
            k_b=ratio(p.y[0] - across * r * self.cosine, 2 * t),
            k_c=across,
            mm=jnp.where(whole, _over(mm, CC, 2), alone),
            mh=jnp.where(whole, _over(mh, CS, 1), sign),
            hm=jnp.where(whole, _over(hm, CS, 1), sign),
            hh=jnp.where(whole, _over(hh, SS, 2), alone),
        )


def _over(x, y, power):
    """`x / y`, or zero where `y` is no more than that power of a rounding error."""
    proper = y > jnp.finfo(y.dtype).eps ** power
    return jnp.where(proper, x / jnp.where(proper, y, 1.0), 0.0)
