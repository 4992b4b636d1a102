r"""A preconditioner made of the structure of a Jacobian kernel.

The block of gradients is $k_c \otimes I_d$ and a form of the plane of two inputs. Where
that form counts most, on the diagonal, it points along the input: so does the
coupling to values. Hence two levels:

- The fine one, $F = \mathrm{diag}(k,\, \lambda k_c \otimes I_d)^{-1}$, takes two
  inverses of `n x n` matrices.
- The coarse one solves exactly in the span $W$ of all values, of the gradients along
  their own inputs, and along the few directions in which the inputs are largest: with
  $m$ directions in all, a matrix $E = W^\top A W$ of $(1 + m) n$ rows.

Together, as in deflated conjugate gradients,
$z = F r + W E^{-1} W^\top (r - A F r)$, started so that $W^\top r = 0$. The product
$W^\top A$ takes one product of `n x d` matrices where $A$ takes three.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float

from widelimit.kernels.aligned import aligned
from widelimit.kernels.jacobian import FrameScalars, JacobianKernel
from widelimit.prediction.approximate_inverse import AbstractApproximateInverse

Columns = Float[np.ndarray, "r k"]
TINY = 1e-13  # of the trace's mean, added where a factorisation fails


def coarse_rows(kernel: JacobianKernel, directions: int) -> int:
    """Rows of the coarse matrix."""
    return (2 + directions) * len(kernel.x1)


class Structured(AbstractApproximateInverse):
    """The preconditioner of `kernel + diag(shift)`.

    Args:
        kernel: The kernel, symmetric, with values and gradients.
        shift: What is added to the diagonal.
        directions: How many directions the coarse level has besides the inputs' own;
            `None` for no coarse level.
    """

    def __init__(
        self,
        kernel: JacobianKernel,
        shift: Float[np.ndarray, " r"],
        directions: int | None,
    ):
        self.scale = kernel.row_regularization**0.5
        self.scalars = s = jax.tree.map(
            lambda a: np.asarray(a, np.float64), kernel.scalars
        )
        self.x = x = np.asarray(kernel.x1, np.float64)
        self.y = _spanning(s, x)
        self.n, self.d = n, d = x.shape
        self.shift = shift.reshape(n, d + 1)
        self.inverse_values = _inverse(np.asarray(s.k) + np.diag(self.shift[:, 0]))
        gradient = self.scale**2 * s.k_c
        self.inverse_gradients = _inverse(
            gradient + np.diag(self.shift[:, 1:].mean(axis=1))
        )
        self.name = "values' kernel and k_c"
        self.coarse = self.arrays = None
        if directions is None:
            return
        self.name += f", exact along inputs and {directions} directions"
        self._choose_directions(directions)
        self.coarse = _factor(self._coarse_matrix())

    def start(self, b: Columns) -> Columns:
        # The exact solution in the coarse space.
        if self.coarse is None:
            return np.zeros_like(b)
        return self._prolonged(self._coarse_solution(self._restricted(b)))

    def apply(self, r: Columns) -> Columns:
        with self._on_the_host():
            if self.arrays is None:
                # Read in place: as JAX's own arrays they would be there twice.
                self.arrays = jax.tree.map(aligned, self._arrays())
            z, images = _first_level(self.arrays, r)
        z = np.array(z)
        if self.coarse is None:
            return z
        rest = self._restricted(r) - np.asarray(images)
        z += self._prolonged(self._coarse_solution(rest))
        return z

    @contextlib.contextmanager
    def _on_the_host(self) -> Iterator[None]:
        (cpu, *_) = jax.local_devices(backend="cpu")
        with jax.enable_x64(True), jax.default_device(cpu):
            yield

    def _arrays(self) -> dict[str, Any]:
        """What the compiled functions need."""
        names = ["scalars", "x", "shift", "inverse_values", "inverse_gradients"]
        if self.coarse is not None:
            names += ["common", "own", "unit", "on_x", "on_y"]
        arrays = {name: getattr(self, name) for name in names}
        return arrays | {"scale": np.array([self.scale])}

    def _choose_directions(self, directions: int) -> None:
        """The fields of directions that span the coarse space's gradients."""
        x, y = self.x, self.y
        self.common = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :directions]
        own = x - (x @ self.common) @ self.common.T
        size = np.linalg.norm(own, axis=1)
        # An input in the span of the common directions has none of its own.
        self.none = size <= 1e-7 * np.linalg.norm(x, axis=1).max()
        self.unit = np.where(self.none, 0.0, 1 / np.where(self.none, 1.0, size))
        self.own = self.unit[:, None] * own
        # Products of a field at `i` (rows) with `x_j` (columns); the common ones are
        # the same in all rows.
        self.on_x = self.on_y = self.own @ x.T, x @ self.common
        if y is not x:
            self.on_y = self.own @ y.T, y @ self.common

    def _coarse_solution(self, c: Columns) -> Columns:
        return scipy.linalg.cho_solve(self.coarse, c, check_finite=False)

    def _restricted(self, r: Columns) -> Float[np.ndarray, "c k"]:
        """`W^T r`: values, then own directions, then common ones."""
        r = r.reshape(self.n, self.d + 1, -1)
        own = np.einsum("nd,ndk->nk", self.own, r[:, 1:])
        common = np.einsum("dm,ndk->mnk", self.common, r[:, 1:], optimize=True)
        return np.concatenate([r[:, 0], own, *common])

    def _prolonged(self, c: Float[np.ndarray, "c k"]) -> Columns:
        """`W c`."""
        c = c.reshape(-1, self.n, c.shape[1])
        z = np.empty((self.n, self.d + 1, c.shape[2]))
        z[:, 0] = c[0]
        z[:, 1:] = self.own[:, :, None] * c[1][:, None]
        z[:, 1:] += np.einsum("dm,mnk->ndk", self.common, c[2:], optimize=True)
        return z.reshape(-1, c.shape[2])

    def _coarse_matrix(self) -> Float[np.ndarray, "c c"]:
        s, n = self.scalars, self.n
        on_x, on_y = (
            [own, *(np.broadcast_to(column, own.shape) for column in common.T)]
            for own, common in (self.on_x, self.on_y)
        )
        fields = len(on_x)
        e = np.empty((1 + fields, n, 1 + fields, n))
        e[0, :, 0] = s.k
        products = {(0, 0): self.own @ self.own.T}
        products |= {(m, m): np.ones((1, 1)) for m in range(1, fields)}
        for g in range(fields):
            wx, wy = on_x[g], on_y[g]
            to_values = s.k_b * (2 * np.diagonal(wx)) + s.k_c * wx.T
            e[0, :, g + 1] = self.scale * to_values
            e[g + 1, :, 0] = e[0, :, g + 1].T
            near, far = _plane(s, wy.T, np.diagonal(wy))
            for f in range(g + 1):
                uy = on_y[f]
                block = np.diagonal(uy)[:, None] * near + uy * far
                if (f, g) in products:
                    block = block + s.k_c * products[f, g]
                e[f + 1, :, g + 1] = self.scale**2 * block
                e[g + 1, :, f + 1] = e[f + 1, :, g + 1].T
        i, basis = np.arange(n), [self.own, *self.common.T[:, None]]
        for f, u in enumerate(basis):
            for g, w in enumerate(basis):
                e[f + 1, i, g + 1, i] += (self.shift[:, 1:] * u * w).sum(axis=1)
        e = e.reshape((1 + fields) * n, -1)
        extra = np.zeros(len(e))
        extra[:n] = self.shift[:, 0]
        extra[n : 2 * n] = self.none  # ones for directions that are not there
        e[np.diag_indices(len(e))] += extra
        return e


@jax.jit
def _first_level(a: dict[str, Any], r: Any) -> tuple[Any, Any]:
    """The fine level's answer `z`, and `W^T A z` if there is a coarse one."""
    n, d = a["x"].shape

    def one(column):
        column = column.reshape(n, d + 1)
        value = a["inverse_values"] @ column[:, 0]
        gradient = a["inverse_gradients"] @ column[:, 1:]
        z = jnp.concatenate([value[:, None], gradient], axis=1)
        return z.ravel(), _image(a, z) if "own" in a else None

    z, images = jax.lax.map(one, r.T)
    return z.T, None if images is None else images.T


def _image(a: dict[str, Any], z: Any) -> Any:
    """`W^T A z`: one product of `n x d` matrices, and sums over pairs."""
    s, x, common, (own_x, common_x) = a["scalars"], a["x"], a["common"], a["on_x"]
    own_y, common_y = a["on_y"]
    shifted = a["shift"] * z
    value, gradient = z[:, 0], a["scale"] * z[:, 1:]
    p = x @ gradient.T
    across, outer = p, (x * gradient).sum(axis=1)
    inner = outer
    if isinstance(s, FrameScalars):
        size = _sizes(x, jnp)
        across, outer = p / size[:, None], outer / size
    near, far = _plane(s, across, outer)
    near, along, turned = near.sum(axis=1), 2 * (s.k_a @ value), s.k_c * value
    q = gradient @ common
    ends = a["unit"][:, None] * (p - common_x @ q.T)  # own directions and gradients
    own = jnp.diagonal(own_x) * along + jnp.diagonal(own_y) * near
    own = own + (turned * own_x + far * own_y + s.k_c * ends).sum(axis=1)
    rest = common_x * along[:, None] + common_y * near[:, None]
    rest = rest + turned @ common_x + far @ common_y + s.k_c @ q
    own = a["scale"] * own + (a["own"] * shifted[:, 1:]).sum(axis=1)
    rest = a["scale"] * rest + shifted[:, 1:] @ common
    values = s.k @ value + s.k_b @ (2 * inner) + (s.k_c * p).sum(axis=1)
    return jnp.concatenate([values + shifted[:, 0], own, rest.T.ravel()])


def _sizes(x: Any, xp: Any) -> Any:
    """Norms of rows, ones for rows of zeros."""
    size = xp.sqrt((x * x).sum(axis=1))
    return xp.where(size > 0, size, 1.0)


def _spanning(s: Any, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The vectors in which the form of the plane is written."""
    if not isinstance(s, FrameScalars):
        return x
    return x / _sizes(x, np)[:, None]


def _plane(s: Any, p, q):
    """The form of the plane: what stands before the two vectors that span it.

    Args:
        s: The numbers of all pairs.
        p: Products of the row's vector with another one.
        q: Those of the column's vector.

    Returns:
        Two matrices.
    """
    if not isinstance(s, FrameScalars):
        return s.k_ac * (2 * p) + s.k_ab * (4 * q), s.k_cc * p + s.k_bc * (2 * q)
    m, h = (p + q) / 2, (p - q) / 2
    along, apart = s.mm * m + s.mh * h, s.hm * m + s.hh * h
    return (along + apart) / 2, (along - apart) / 2


def _factor(a: Float[np.ndarray, "n n"]) -> tuple[Float[np.ndarray, "n n"], bool]:
    """The Cholesky factor, in place; of a matrix shifted a little if it must be."""
    diagonal, shift = a.diagonal().copy(), 0.0
    while True:
        try:
            # The transpose is in the order of LAPACK, and as good as the matrix.
            return scipy.linalg.cho_factor(
                a.T, lower=True, overwrite_a=True, check_finite=False
            )
        except np.linalg.LinAlgError:
            shift = max(10 * shift, TINY * diagonal.mean())
            lower = np.tril(a, -1)  # which is intact
            a[:] = lower + lower.T
            a[np.diag_indices(len(a))] = diagonal + shift


def _inverse(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The inverse of a positive definite matrix, for products that are quick."""
    found = scipy.linalg.cho_solve(_factor(a), np.eye(len(a)), check_finite=False)
    return (found + found.T) / 2
