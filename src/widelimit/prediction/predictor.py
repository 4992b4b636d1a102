"""A function made of a Jacobian kernel, with its gradient and its norm."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from widelimit._checks import check_rows, finite_inputs
from widelimit.kernels import jacobian_kernel, limit_kernels
from widelimit.kernels.jacobian.block import Kind
from widelimit.layers import AbstractLayer

PAIRS = 2**22  # pairs of inputs whose eight numbers are held at once


class Prediction(eqx.Module):
    """Values of a function and its input gradients.

    Attributes:
        values: One value, or several outputs, per input; times or draws in front.
        gradients: The same with an axis for the features of the input behind.
    """

    values: np.ndarray
    gradients: np.ndarray


class KernelPredictor(eqx.Module):
    r"""A sum of kernels and of their derivatives, one for every output.

    $$f(x) = \sum_i w_{i0}\,k(x, x_i) + \langle w_i, \partial_{x_i} k(x, x_i) \rangle.$$

    Attributes:
        network: The network whose kernel it is.
        x: The inputs $x_i$.
        weights: $w$, of values first, then of derivatives (if there are any).
        gram: Inner products of the outputs in the kernel's space of functions.
        kind: `"nngp"` or `"ntk"`.
        single: Whether values have no axis of outputs.
    """

    network: AbstractLayer = eqx.field(static=True)
    x: Float[np.ndarray, "n d"]
    weights: Float[np.ndarray, "n r o"]
    gram: Float[np.ndarray, "o o"]
    kind: Kind = eqx.field(static=True, default="ntk")
    single: bool = eqx.field(static=True, default=True)

    @property
    def norm(self) -> Any:
        r"""Norm $\|f\|_H = \sqrt{w^\top K w}$ in the kernel's space of functions.

        A number for a single output, else one for each.
        """
        norms = np.sqrt(np.diagonal(self.gram))
        return float(norms[0]) if self.single else norms

    def at(self, x: ArrayLike) -> Prediction:
        """Values and gradients.

        Args:
            x: Inputs, one per row.

        Returns:
            Those of every input.

        Raises:
            ValueError: If the inputs are not what the kernel was fitted to.
        """
        x = new_inputs("at", x, self.x.shape[1])
        both = kernel_sums(self.network, x, self.x, self.weights, self.kind)
        return split(both, self.single)

    def __call__(self, x: ArrayLike) -> Float[np.ndarray, "n *o"]:
        """Values alone.

        Args:
            x: Inputs, one per row.

        Returns:
            One value per input, or one row of outputs.

        Raises:
            ValueError: As `at`.
        """
        x = new_inputs("KernelPredictor", x, self.x.shape[1])
        found = kernel_sums(
            self.network, x, self.x, self.weights, self.kind, gradients=False
        )
        return found[:, 0, 0] if self.single else found[:, 0]


def kernel_sums(
    network: AbstractLayer,
    x: Float[np.ndarray, "m d"],
    centres: Float[np.ndarray, "n d"],
    weights: Float[np.ndarray, "n r k"],
    kind: Kind = "ntk",
    *,
    gradients: bool = True,
) -> Float[np.ndarray, "m s k"]:
    """Sums of kernels with the weights of their values, or values and derivatives.

    Args:
        network: The network whose kernel it is.
        x: Where the sums are wanted.
        centres: Inputs that the weights belong to.
        weights: One weight (of the value) or `d + 1` for every input, in columns.
        kind: `"nngp"` or `"ntk"`.
        gradients: Whether gradients are wanted.

    Returns:
        The values, then the gradients, of every input and column.
    """
    n, r, k = weights.shape
    columns = weights.reshape(n * r, k)
    side = max(1, PAIRS // n)
    parts = []
    for start in range(0, len(x), side):
        rows = x[start : start + side]
        if gradients or r > 1:
            kernel = jacobian_kernel(network, rows, centres, kind=kind)
            kernel = kernel.part(
                "both" if gradients else "value", "both" if r > 1 else "value"
            )
        else:  # of values alone, which networks with kinks have too
            pair = limit_kernels(network, rows, centres, ntk=kind == "ntk")
            kernel = pair.nngp if kind == "nngp" else pair.ntk
        parts.append((kernel @ columns).reshape(len(rows), -1, k))
    return np.concatenate(parts)


def split(both: Float[np.ndarray, "*t m r o"], single: bool) -> Prediction:
    """Values and gradients from where they are stacked.

    Args:
        both: The value, then the gradient, of every input and output.
        single: Whether the axis of outputs shall go.

    Returns:
        Them.
    """
    values, gradients = both[..., 0, :], np.swapaxes(both[..., 1:, :], -1, -2)
    if single:
        return Prediction(values[..., 0], gradients[..., 0, :])
    return Prediction(values, gradients)


def new_inputs(
    caller: str, x: ArrayLike, features: int, name: str = "x"
) -> Float[np.ndarray, "m d"]:
    """The inputs as float64, if they are rows of that many finite numbers.

    Args:
        caller: Name of the public function, for messages.
        x: Inputs, one per row.
        features: How many there must be.
        name: What to call them.

    Returns:
        The array.

    Raises:
        ValueError: If they are not.
    """
    rows = finite_inputs(caller, name, x, "float64")
    check_rows(caller, name, rows)
    if rows.shape[1] != features:
        raise ValueError(
            f"`{caller}` needs inputs with {features} features, as those before. Got "
            f"`{name}.shape={rows.shape}`."
        )
    return rows
