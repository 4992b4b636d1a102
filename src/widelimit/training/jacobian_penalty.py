"""The penalty on a network's input Jacobian, exact or by random projections."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count
from widelimit.kernels.inputs import has_kinks
from widelimit.kernels.jacobian.checks import check_regularization


@dataclasses.dataclass(frozen=True)
class JacobianPenalty:
    r"""The penalty $\tfrac\lambda2 \|J(x_i)\|_F^2$ of every row (kim2023, Eq. (1)).

    $J$ is the Jacobian of the outputs by the input. With the squared loss `train` then
    minimises $\frac1{2N} \sum_i \|f(x_i) - y_i\|^2 + \lambda \|J(x_i)\|_F^2$.

    Exactly it takes one backward pass per output, or one forward pass per feature,
    whichever are fewer. With `projections` it is estimated without bias from $k$
    forward passes, in directions $v$ of independent random signs:
    $E\,\|J v\|^2 = \|J\|_F^2$, with the `variance` below. Every step draws anew.

    Args:
        regularization: $\lambda$, 0 to 1.
        projections: $k$, or `None` for the exact penalty.

    Raises:
        ValueError: If a number is out of range.
    """

    regularization: float
    projections: int | None = None

    def __post_init__(self) -> None:
        check_regularization("JacobianPenalty", self.regularization)
        # A number of Python's, so that the description can be hashed.
        object.__setattr__(self, "regularization", float(self.regularization))
        if self.projections is not None:
            check_count("JacobianPenalty", "projections", self.projections, 1)

    def outputs_and_squares(
        self, apply: Any, params: Any, x: Float[Array, "n *s"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "n o"], Float[Array, " n"]]:
        r"""Outputs, and $\|J(x_i)\|_F^2$ or its estimate.

        Args:
            apply: Outputs for a batch of inputs, each from its own row alone.
            params: Its parameters.
            x: Inputs, one per row.
            key: Random key of the projections.

        Returns:
            Both, one entry per row.

        Raises:
            ValueError: If outputs are no matrix.
        """

        def f(z: Array) -> Array:
            return apply(params, z)

        y = jax.eval_shape(f, x)
        if y.ndim != 2:
            raise ValueError(
                "A penalty on the Jacobian needs a function to outputs `(n, o)`. Got "
                f"outputs of shape {y.shape}. Take `y[:, None]` for one output."
            )
        features, outputs = math.prod(x.shape[1:]), y.shape[1]
        if self.projections is not None:
            shape = (self.projections, *x.shape)
            directions = jax.random.rademacher(key, shape, dtype=x.dtype)
            values, moved = _pushed(f, x, directions)
            return values, jnp.sum(jnp.square(moved), axis=(0, 2)) / self.projections
        if features < outputs:
            basis = jnp.eye(features, dtype=x.dtype).reshape(-1, 1, *x.shape[1:])
            values, moved = _pushed(f, x, jnp.broadcast_to(basis, (features, *x.shape)))
            return values, jnp.sum(jnp.square(moved), axis=(0, 2))
        values, pull = jax.vjp(f, x)
        basis = jnp.eye(outputs, dtype=values.dtype)[:, None]
        cotangents = jnp.broadcast_to(basis, (outputs, *values.shape))
        (gradients,) = jax.vmap(pull)(cotangents)
        gradients = gradients.reshape(outputs, len(x), -1)
        return values, jnp.sum(jnp.square(gradients), axis=(0, 2))

    def variance(self, jacobians: Float[Array, "n o d"]) -> Float[Array, " n"]:
        r"""Variance of the estimate of $\|J\|_F^2$ from random signs.

        $$\frac2k \Big( \|J^\top J\|_F^2 - \sum_i (J^\top J)_{ii}^2 \Big)$$

        Args:
            jacobians: $J$ at every row, such as `input_jacobian` gives.

        Returns:
            One variance per row; 0 for the exact penalty.
        """
        if self.projections is None:
            return jnp.zeros(len(jacobians), jacobians.dtype)
        gram = jnp.einsum("nod,npd->nop", jacobians, jacobians)
        diagonal = jnp.sum(jnp.square(jacobians), axis=1)  # of J^T J
        rest = jnp.sum(jnp.square(gram), (1, 2)) - jnp.sum(jnp.square(diagonal), 1)
        return 2 * rest / self.projections


def check_penalty(caller: str, penalty: Any, apply: Any) -> None:
    """Refuse what is no penalty, and to differentiate twice a network with kinks.

    Args:
        caller: Name of the public function, for messages.
        penalty: A `JacobianPenalty`.
        apply: A network or its method, or any function, which is taken to be smooth.

    Raises:
        ValueError: If it is no penalty, or the network has an activation that is not
            smooth.
    """
    if not isinstance(penalty, JacobianPenalty):
        raise ValueError(
            f"`{caller}` needs a `JacobianPenalty` as `jacobian_penalty`. Got "
            f"{penalty!r}. Write `JacobianPenalty(0.1)`."
        )
    if has_kinks(getattr(apply, "__self__", apply)):
        raise ValueError(
            f"`{caller}` needs smooth activations for a penalty on the Jacobian, whose "
            "gradient takes their second derivative. Got a network with kinks. Take "
            "`GELU()` or `Erf()`, and averages in place of maxima."
        )


def _pushed(
    f: Any, x: Float[Array, "n *s"], directions: Float[Array, "k n *s"]
) -> tuple[Array, Float[Array, "k n o"]]:
    """Outputs, and how they move in each of some directions."""
    values, push = jax.linearize(f, x)
    return values, jax.vmap(push)(directions)
