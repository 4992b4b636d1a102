"""How many units of a two-layer network change sign, or could."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from widelimit._checks import check_at_least, check_count, check_positive
from widelimit.layers import Params
from widelimit.measures.two_layer import check_inputs, two_layer_weight


def sign_changes(
    params: Params,
    initial: Params,
    x: Float[Array | np.ndarray, "n d"],
    *,
    initial_x: Float[Array | np.ndarray, "n d"] | None = None,
    batch_size: int = 64,
) -> Int[Array, " n"]:
    r"""Number of units whose sign at an input differs from that at initialisation.

    $$\#\{s : 1[w_s^\top x > 0] \ne 1[w_{s,0}^\top x_0 > 0]\}.$$

    With $x_0$ (`initial_x`) the same weights may be asked at two inputs: at
    initialisation the share of units that differ is then, in the mean, the angle
    between $x$ and $x_0$ over $\pi$ (wang2022, Lemma B.6, Eq. (3)).

    Args:
        params: Parameters of a two-layer network now.
        initial: The same at initialisation.
        x: Inputs, one per row.
        initial_x: Inputs $x_0$ for the initial parameters; `x` if `None`.
        batch_size: Inputs to work on at once; each takes a few arrays of one number
            per unit.

    Returns:
        One count per input; without `initial_x` no larger than `possible_sign_changes`
        with the distance of the weights as its radius.

    Raises:
        ValueError: If the parameters are not those of one two-layer network, or `x`
            does not match them.
    """
    caller = "sign_changes"
    now = two_layer_weight(caller, "params", params)
    start = two_layer_weight(caller, "initial", initial)
    check_inputs(caller, x, now)
    check_count(caller, "batch_size", batch_size, 1)
    if now.shape != start.shape:
        raise ValueError(
            f"`{caller}` needs `params` and `initial` of one network. Got weights of "
            f"shapes {now.shape} and {start.shape}."
        )
    if initial_x is not None:
        check_inputs(caller, initial_x, start)
        if initial_x.shape != x.shape:
            raise ValueError(
                f"`{caller}` needs one row of `initial_x` for each of `x`. Got shapes "
                f"{initial_x.shape} and {x.shape}."
            )
    rows = [
        jnp.asarray(a, now.dtype) for a in (x, x if initial_x is None else initial_x)
    ]
    return _changes(now, start, *rows, batch_size)


@functools.partial(jax.jit, static_argnums=4)
def _changes(now: Array, start: Array, x: Array, x_0: Array, batch_size: int) -> Array:
    def at(rows: tuple[Array, Array]) -> Int[Array, ""]:
        return jnp.sum((rows[0] @ now > 0) != (rows[1] @ start > 0))

    return jax.lax.map(at, (x, x_0), batch_size=min(batch_size, len(x)))


def possible_sign_changes(
    initial: Params,
    x: Float[Array | np.ndarray, "n d"],
    radius: float,
    delta: float = 0.0,
    *,
    batch_size: int = 64,
) -> Int[Array, " n"]:
    r"""Number of units that can change sign in the lazy ball, exactly.

    For `delta = 0` this is $|S_v|$ of wang2022, Lemma B.4, over *all* weights within
    $V$ (`radius`) of the initial ones; else $|S'_v|$, over all perturbations of norm up
    to $R$ (`delta`) too:

    $$S'_v = \{s : \exists\, \delta, w:\ \|\delta\| \le R,\ \|w - w_{s,0}\| \le V,\
      1[w^\top (x + \delta) > 0] \ne 1[w_{s,0}^\top (x + \delta) > 0]\}.$$

    A sign at $u = x + \delta$ can change iff $|w_0^\top u| \le V \|u\|$. The directions
    of such $u$ are those within $\alpha = \arcsin(R / \|x\|)$ of $x$; along them the
    least $|w_0^\top u| / \|u\|$ is the positive part of $g = |p| \cos\alpha - q
    \sin\alpha$, with $p = w_0^\top x / \|x\|$ and $q$ the norm of $w_0 - p\, x /
    \|x\|$. So $s$ is counted iff $g \le V$, and $g < V$ if $p \le 0$: there the
    indicator is 0 and $w^\top u$ has to become positive. With one feature no input can
    turn, and $\alpha = 0$.

    Unchanged if $x$ and $R$ are scaled together, or the weights and $V$.

    Args:
        initial: Parameters of a two-layer network at initialisation.
        x: Inputs, one per row; none of them zero.
        radius: $V$, in the units of the weights.
        delta: $R$, below the norm of every input.
        batch_size: Inputs to work on at once; each takes a few arrays of one number
            per unit.

    Returns:
        One count per input. Units that lie on the boundary to rounding may be missed.

    Raises:
        ValueError: If the parameters are not those of one two-layer network, `x` does
            not match them, `radius` is not positive, or `delta` is negative or not
            below the norm of an input.

    References:
        wang2022, Lemma B.4, whose bound on $|S'_v|$ does not hold
        (`bounds.wang2022.lemma_b4`).
    """
    caller = "possible_sign_changes"
    weight = two_layer_weight(caller, "initial", initial)
    check_inputs(caller, x, weight)
    check_positive(caller, "radius", radius)
    check_at_least(caller, "delta", delta, 0)
    check_count(caller, "batch_size", batch_size, 1)
    least = float(np.linalg.norm(np.asarray(x), axis=1).min())
    if not least > delta:
        raise ValueError(
            f"`{caller}` needs inputs longer than `delta`. Got `delta={delta}` and an "
            f"input of norm {least}. At zero every unit is undecided."
        )
    x, V, R = (jnp.asarray(a, weight.dtype) for a in (x, radius, delta))
    return _possible(weight, x, V, R, batch_size)


@functools.partial(jax.jit, static_argnums=4)
def _possible(weight: Array, x: Array, V: Array, R: Array, batch_size: int) -> Array:
    squares = jnp.sum(weight**2, axis=0)

    def at(row: Float[Array, " d"]) -> Int[Array, ""]:
        norm = jnp.linalg.norm(row)
        sine = R / norm if len(row) > 1 else 0 * norm
        p = row @ weight / norm
        q = jnp.sqrt(jnp.maximum(squares - p**2, 0))
        g = jnp.abs(p) * jnp.sqrt((1 - sine) * (1 + sine)) - q * sine
        return jnp.sum(jnp.where(p > 0, g <= V, g < V))

    return jax.lax.map(at, x, batch_size=min(batch_size, len(x)))
