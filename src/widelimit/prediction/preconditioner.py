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

from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

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
        self.coarse = None
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
        z = self._fine(r)
        if self.coarse is None:
            return z
        images = [self._restricted_product(column) for column in z.T]
        rest = self._restricted(r) - np.stack(images, axis=1)
        return z + self._prolonged(self._coarse_solution(rest))

    def _fine(self, r: Columns) -> Columns:
        n, d, k = self.n, self.d, r.shape[1]
        r = r.reshape(n, d + 1, k)
        z = np.empty_like(r)
        z[:, 0] = self.inverse_values @ r[:, 0]
        inner = r[:, 1:].reshape(n, d * k)
        z[:, 1:] = (self.inverse_gradients @ inner).reshape(n, d, k)
        return z.reshape(n * (d + 1), k)

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
        ends = [(z @ self.own.T, z @ self.common) for z in ((x,) if y is x else (x, y))]
        self.on_x, self.on_y = (self._fields(*ends[i]) for i in (0, -1))

    def _fields(self, own, common) -> list[Float[np.ndarray, "n n"]]:
        """Products with `x_j` (columns) of every field at `i` (rows)."""
        return [own.T, *(np.broadcast_to(z, own.shape) for z in common.T)]

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

    def _restricted_product(
        self, z: Float[np.ndarray, " r"]
    ) -> Float[np.ndarray, " c"]:
        """`W^T A z`."""
        s, x, y = self.scalars, self.x, self.y
        z = z.reshape(self.n, -1)
        shifted = self._restricted((self.shift * z).reshape(-1, 1))[:, 0]
        value, gradient = z[:, 0], self.scale * z[:, 1:]
        p = x @ gradient.T
        inner = np.einsum("nd,nd->n", x, gradient)
        across, outer = p, inner
        if y is not x:
            across, outer = y @ gradient.T, np.einsum("nd,nd->n", y, gradient)
        near, far = _plane(s, across, outer)
        near, along, turned = near.sum(axis=1), 2 * (s.k_a @ value), s.k_c * value
        parts = [s.k @ value + s.k_b @ (2 * inner) + _row_sums(s.k_c, p)]
        common = gradient @ self.common
        own = self.unit * _row_sums(s.k_c, p - (x @ self.common) @ common.T)
        for ux, uy, last in zip(
            self.on_x, self.on_y, (own, *(s.k_c @ common).T), strict=True
        ):
            total = np.diagonal(ux) * along + np.diagonal(uy) * near + last
            total = total + _row_sums(turned, ux) + _row_sums(far, uy)
            parts.append(self.scale * total)
        return np.concatenate(parts) + shifted

    def _coarse_matrix(self) -> Float[np.ndarray, "c c"]:
        s, n, fields = self.scalars, self.n, len(self.on_x)
        e = np.empty((1 + fields, n, 1 + fields, n))
        e[0, :, 0] = s.k
        products = {(0, 0): self.own @ self.own.T}
        products |= {(m, m): np.ones((1, 1)) for m in range(1, fields)}
        for g in range(fields):
            wx, wy = self.on_x[g], self.on_y[g]
            to_values = s.k_b * (2 * np.diagonal(wx)) + s.k_c * wx.T
            e[0, :, g + 1] = self.scale * to_values
            e[g + 1, :, 0] = e[0, :, g + 1].T
            near, far = _plane(s, wy.T, np.diagonal(wy))
            for f in range(g + 1):
                uy = self.on_y[f]
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


def _spanning(s: Any, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The vectors in which the form of the plane is written."""
    if not isinstance(s, FrameScalars):
        return x
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(size > 0, size, 1.0)


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


def _row_sums(a, b) -> Float[np.ndarray, " n"]:
    return np.einsum("nm,nm->n", a, b)


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
            upper = np.triu_indices(len(a), 1)  # of a.T; a's lower triangle is intact
            a.T[upper[::-1]] = a.T[upper]
            a[np.diag_indices(len(a))] = diagonal + shift


def _inverse(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The inverse of a positive definite matrix, for products that are quick."""
    found = scipy.linalg.cho_solve(_factor(a), np.eye(len(a)), check_finite=False)
    return (found + found.T) / 2
