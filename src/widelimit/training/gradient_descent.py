"""Full-batch gradient descent on the squared loss, checked step by step (du2019)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from widelimit._checks import (
    check_count,
    check_finite,
    check_positive,
    finite_inputs,
)
from widelimit.kernels.empirical_checks import (
    check_network,
    check_params,
    params_dtype,
)
from widelimit.layers import AbstractLayer, Params
from widelimit.training.gradient_descent_record import Descent, measured, norms
from widelimit.training.gradient_descent_steps import (
    State,
    chunk_length,
    run_steps,
    trained_layers,
)


def gradient_descent(
    network: AbstractLayer,
    params: Params,
    x: ArrayLike,
    y: ArrayLike,
    *,
    step_size: float,
    steps: int,
    lambda_0: float | None = None,
    population: Float[Array | np.ndarray, "n n"] | None = None,
    report: Callable[[float], None] | None = None,
) -> Descent:
    r"""Full-batch gradient descent with a fixed step, checked at every step.

    $$W^{(h)}(k+1) = W^{(h)}(k) - \eta \frac{\partial L}{\partial W^{(h)}}, \quad
      L = \tfrac12 \sum_i (u_i - y_i)^2, \quad u_i = f(x_i), \quad
      G^{(h)}_{ij} = \Big\langle \frac{\partial u_i}{\partial W^{(h)}},
      \frac{\partial u_j}{\partial W^{(h)}} \Big\rangle.$$

    Parameters that a layer does not train, such as the signs of a `Readout`, stay.
    Condition 6.1 says $L(k) \le (1 - \eta \lambda_0 / 2)^k L(0)$.

    One compiled program holds the descents of all seeds, divided over as many of JAX's
    devices as their number allows, some steps at a time. The Gram matrices are formed
    from the layers' structure, without Jacobians; their eigenvalues are taken on the
    host in float64. Everything else is in the precision of `params`.

    Args:
        network: The network, with one output.
        params: Initial parameters, every array with a leading axis of seeds.
        x: Inputs, one per row.
        y: Targets, one per input.
        step_size: $\eta$; the descent is stable up to about $2 / \lambda_{\max}(G)$.
        steps: Number of steps.
        lambda_0: $\lambda_0$, such as `population_gram` finds, to check Condition 6.1.
        population: $K^{(H)}$, to measure the distance of $G^{(H)}(0)$.
        report: Called now and then with the share done.

    Returns:
        Parameters, where seeds diverged, and all that was recorded at every step.

    Raises:
        ValueError: If shapes disagree, a number is not finite or out of range, the
            network has nothing to train, or a seed is not finite at its start.

    Example:
        >>> from widelimit.networks import mlp
        >>> network = mlp(depth=0, width=1)
        >>> params = jax.vmap(lambda k: network.init(k, (2,)))(
        ...     jax.random.split(jax.random.key(0), 3)
        ... )
        >>> x, y = jnp.eye(2), jnp.array([1.0, -1.0])
        >>> run = gradient_descent(network, params, x, y, step_size=0.5, steps=4)
        >>> run.loss.shape, bool((run.loss[:, -1] < 0.01 * run.loss[:, 0]).all())
        ((3, 5), True)

    References:
        du2019, Sec. 2.2, Sec. 6 and Condition 6.1.
    """
    caller = "gradient_descent"
    check_network(caller, network)
    dtype = np.dtype(params_dtype(caller, params))
    x, y = finite_inputs(caller, "x", x, dtype.name), np.asarray(y)
    seeds = _check(network, params, x, y, step_size, steps, lambda_0, population)
    x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    state = State.start(params, seeds)
    length = chunk_length(seeds, len(x), dtype.itemsize, steps + 1)
    parts: list[dict[str, np.ndarray]] = []
    grams: tuple[np.ndarray, np.ndarray] | None = None
    for first in range(0, steps + 1, length):
        count = min(length, steps + 1 - first)  # beyond the end it stays where it is
        sizes = jnp.where(jnp.arange(length) < count, step_size, 0.0).astype(dtype)
        state, recorded = run_steps(
            network, state, params, x, y, sizes, jnp.asarray(first, jnp.int32)
        )
        recorded = {name: np.asarray(a)[:, :count] for name, a in recorded.items()}
        if grams is None:
            _check_start(recorded["movement"][:, 0, 0])
            grams = recorded["last_gram"][:, 0], recorded["gram"][:, 0]
        parts.append(measured(recorded, np.asarray(y), grams[0]))
        if report is not None:
            report((first + count) / (steps + 1))
    assert grams is not None  # there is the start at least
    values = {
        name: np.concatenate([part[name] for part in parts], axis=1)
        for name in parts[0]
    }
    margin, condition = None, None
    if lambda_0 is not None:
        margin, condition = _condition(values["loss"], step_size, lambda_0)
    return Descent(
        params=state.params,
        step_size=step_size,
        initial_gram=grams[0],
        initial_total=grams[1],
        margin=margin,
        condition=condition,
        initial_error=None if population is None else norms(grams[0] - population),
        diverged_at=np.asarray(state.diverged_at),
        **values,
    )


def _condition(
    loss: Float[np.ndarray, "k t"], step_size: float, lambda_0: float
) -> tuple[Float[np.ndarray, "k t"], Bool[np.ndarray, "k t"]]:
    """The margin of Condition 6.1 in logarithms, and whether it held."""
    bound = np.arange(loss.shape[1]) * math.log1p(-step_size * lambda_0 / 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # losses of exactly zero
        margin = bound - np.log(loss / loss[:, :1])
    return margin, loss <= np.exp(bound) * loss[:, :1]


def _check(
    network: AbstractLayer,
    params: Params,
    x: Array | np.ndarray,
    y: Array | np.ndarray,
    step_size: float,
    steps: int,
    lambda_0: float | None,
    population: Array | np.ndarray | None,
) -> int:
    """Refuse what does not fit together; returns the number of seeds."""
    caller = "gradient_descent"
    check_positive(caller, "step_size", step_size)
    check_count(caller, "steps", steps, 0)
    if y.shape != (len(x),) or y.dtype.kind not in "fiub":
        raise ValueError(
            f"`{caller}` needs one target per row, numbers in a vector. Got "
            f"`x.shape={x.shape}` and `y.shape={y.shape}`, of type {y.dtype}."
        )
    check_finite(caller, "y", y)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(params)}
    if len(lengths) != 1 or lengths in ({()}, {(0,)}):
        raise ValueError(
            f"`{caller}` needs a leading axis of seeds on every parameter. Got shapes "
            f"that begin with {sorted(lengths)}. Initialise the network with "
            "`jax.vmap(lambda k: network.init(k, shape))(keys)`."
        )
    [(seeds,)] = lengths
    shape = network.output_shape(x.shape[1:])
    check_params(caller, network, params, x.shape[1:], (seeds,))
    one = jax.tree.map(lambda leaf: leaf[0], params)
    row = jnp.zeros((1, *x.shape[1:]), jax.tree.leaves(params)[0].dtype)
    if shape != (1,) or not trained_layers(network, one, row):
        raise ValueError(
            f"`{caller}` needs a network with one output and parameters to train. Got "
            f"outputs of shape {shape} from `{network}`."
        )
    if lambda_0 is not None and not 0 <= step_size * lambda_0 < 2:
        raise ValueError(
            f"`{caller}` needs `lambda_0 >= 0` and `step_size * lambda_0 < 2`. Got "
            f"`step_size={step_size}` and `lambda_0={lambda_0}`. Give the smallest "
            "eigenvalue of a Gram matrix, and take a smaller step."
        )
    if population is not None and population.shape != (len(x), len(x)):
        raise ValueError(
            f"`{caller}` needs `population` between the rows of `x`. Got shape "
            f"{population.shape} and {len(x)} rows."
        )
    return seeds


def _check_start(seen: Float[np.ndarray, " k"]) -> None:
    bad = np.flatnonzero(np.isnan(seen))
    if len(bad):
        raise ValueError(
            "`gradient_descent` needs seeds whose outputs and gradients are finite at "
            f"the start. Got seed {bad[0]} ({len(bad)} such seeds). Initialise with "
            "smaller weights."
        )
