"""How perturbation stability is best measured: exactly or by sampling."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from widelimit._checks import check_count, check_positive
from widelimit.measures.input_jacobian import Function, flattened
from widelimit.measures.perturbation import (
    SampledStability,
    perturbation_stability,
    sampled_perturbation_stability,
)

CACHED = 16  # images whose passes are quickest on a CPU: more leave its cache


@dataclass(frozen=True)
class StabilityPlan:
    """Which way to take, what it costs, and how many inputs fit at once.

    It holds no arrays, so that it can be made outside a compiled program and used
    inside, such as in a probe.

    Attributes:
        method: `"exact"` or `"sampled"`, whichever costs less.
        outputs: Outputs of the function, o.
        features: Features of an input, d.
        exact: Cost per input of the exact value, in forward passes.
        sampled: Cost per input of the sampled one, in forward passes.
        draws: Perturbations per input, if sampled.
        batch_size: Inputs to work on at once.
        bytes: Memory that these take.
    """

    method: Literal["exact", "sampled"]
    outputs: int
    features: int
    exact: float
    sampled: float
    draws: int
    batch_size: int
    bytes: int

    @property
    def text(self) -> str:
        """The plan in one line, to be printed before the work starts."""
        return (
            f"Stability of {self.outputs} outputs by {self.features} features: exact "
            f"{self.exact:.3g} forward passes per input, sampled {self.sampled:.3g} "
            f"({self.draws} draws). Takes {self.method}, {self.batch_size} inputs at "
            f"once, {self.bytes / 2**20:.3g} MiB."
        )

    def __str__(self) -> str:
        return self.text

    def measure(
        self,
        f: Function,
        x: Float[Array, "n *s"],
        *,
        radius: float = 1.0,
        key: Key[Array, ""] | None = None,
    ) -> SampledStability:
        """Perturbation stability at every input, as planned.

        Args:
            f: Function of one input, as the plan was made for.
            x: Inputs of the same shape, one per row, any number.
            radius: Radius of the l2 ball, in the units of `x`.
            key: Random key; needed if the plan is to sample.

        Returns:
            Value and standard error per input; exact ones have none, that is zeros.

        Raises:
            ValueError: If the plan samples and there is no key, or arguments are those
                that `perturbation_stability` refuses.
        """
        if self.method == "exact":
            value = perturbation_stability(
                f, x, radius=radius, batch_size=self.batch_size
            )
            return SampledStability(value, jnp.zeros_like(value))
        if key is None:
            raise ValueError(
                "`StabilityPlan.measure` needs a `key` to draw perturbations. Got "
                "`method='sampled'` and `key=None`. Pass `key=jax.random.key(0)`."
            )
        return sampled_perturbation_stability(
            f,
            x,
            key=key,
            radius=radius,
            draws=self.draws,
            batch_size=self.batch_size,
        )


def stability_plan(
    f: Function,
    x: Float[Array, "n *s"],
    *,
    draws: int = 256,
    memory: float | int = 2**31,
) -> StabilityPlan:
    """Whether to measure stability exactly or by sampling, and in which tiles.

    The exact value linearises `f` once and takes one reverse pass per output, or one
    forward derivative per feature if these are fewer; the sampled one linearises and
    takes one forward derivative per draw. What a pass costs is counted by XLA, in
    operations of the program before it is optimised. Nothing is computed or compiled.

    The memory of an input is its Jacobian and what the linearisation keeps, once more
    for the passes taken at once. Images are measured in small tiles on a CPU, which
    are quickest there.

    Args:
        f: Function of one input (close over the parameters).
        x: Inputs, one per row, of which shape and type count.
        draws: Perturbations per input that a sampled value would take.
        memory: Bytes for a tile of inputs.

    Returns:
        The plan.

    Raises:
        ValueError: If `x` has no rows, a number is out of range, `f` returns several
            arrays, or one input alone does not fit into `memory`.

    Example:
        >>> plan = stability_plan(lambda x: x[:3] ** 2, jnp.ones((5, 8)))
        >>> plan.method, plan.outputs, plan.features
        ('exact', 3, 8)
    """
    caller = "stability_plan"
    check_count(caller, "draws", draws, 2)
    check_positive(caller, "memory", memory)
    f, flat = flattened(caller, f, x)
    images, (n, d) = x.ndim > 2, flat.shape

    def vectors(rows: Array) -> Array:
        return jax.vmap(lambda row: jnp.reshape(f(row), (-1,)))(rows)

    one = jax.ShapeDtypeStruct((1, d), x.dtype)
    values = jax.eval_shape(vectors, one)
    outputs = math.prod(values.shape)
    reverse = outputs <= d
    forwards = _operations(vectors, one)
    derivative = _operations(lambda r, v: jax.jvp(vectors, (r,), (v,)), one, one)
    direction = _share(derivative, forwards)
    if reverse:
        pull = _operations(lambda r, y: _pulled(vectors, r, y), one, values)
        exact = 1 + outputs * _share(pull, forwards)
    else:
        exact = 1 + d * direction
    sampled = 1 + draws * direction
    method = "exact" if exact <= sampled else "sampled"

    kept, fixed = _kept(vectors, flat)
    jacobian = outputs * d * x.dtype.itemsize
    # Outputs of images follow one another, those of vectors are pulled back at once.
    passes = (2 if images else 1 + outputs) if reverse else 1 + d
    per_input = {
        "exact": passes * kept + 2 * jacobian,
        "sampled": draws * (kept + (d + outputs) * x.dtype.itemsize),
    }[method]
    batch_size = min(n, int((memory - fixed) // per_input))
    if images and jax.default_backend() == "cpu":
        batch_size = min(batch_size, CACHED)
    if batch_size < 1:
        raise ValueError(
            f"`{caller}` needs memory for one input at least. Got `memory={memory:.0f}`"
            f", of {fixed + per_input} bytes for the method `{method}`. Give more"
            f"{', or take fewer `draws`' if method == 'sampled' else ''}."
        )
    return StabilityPlan(
        method=method,
        outputs=outputs,
        features=d,
        exact=exact,
        sampled=sampled,
        draws=draws,
        batch_size=batch_size,
        bytes=fixed + batch_size * per_input,
    )


def _pulled(vectors: Callable[[Array], Array], rows: Array, y: Array) -> Any:
    values, pull = jax.vjp(vectors, rows)
    return values, pull(y)


def _operations(function: Callable[..., Any], *arguments: jax.ShapeDtypeStruct):
    """Floating-point operations of a function, as XLA counts them; 0 if it does not."""
    counts = jax.jit(function).lower(*arguments).cost_analysis() or {}
    return counts.get("flops", 0.0)


def _share(with_forward: float, forward: float) -> float:
    """Cost of a derivative alone, in forward passes; one where nothing was counted."""
    return max((with_forward - forward) / forward, 0.0) if forward > 0 else 1.0


def _kept(vectors: Callable[[Array], Array], x: Array) -> tuple[int, int]:
    """Bytes that a linearisation keeps for each row, and once."""

    def size(rows: int) -> int:
        shape = jax.ShapeDtypeStruct((rows, x.shape[1]), x.dtype)
        pull = jax.eval_shape(lambda r: jax.vjp(vectors, r)[1], shape)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))

    one, two = size(1), size(2)
    return two - one, max(2 * one - two, 0)
