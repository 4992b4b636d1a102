"""The door that attacks share: checked arguments, and rows in blocks of one shape."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from widelimit._checks import check_count, check_one_of
from widelimit.attacks.arguments import (
    Apply,
    check_attack,
    check_model,
    check_outputs,
    labels_or_numbers,
    of_rows,
    radius_per_row,
    rows_of,
)
from widelimit.attacks.base import AbstractAttack
from widelimit.kernels.empirical_checks import check_key
from widelimit.losses import LOSSES


class Call(NamedTuple):
    """An attack on a model at every input, its arguments checked.

    Attributes:
        method: The attack, with one radius per input.
        rows: The inputs.
        goals: Their targets, in the same type.
        key: Random key.
        size: Inputs of a block.
    """

    method: AbstractAttack
    rows: Float[np.ndarray, "n *s"]
    goals: Float[np.ndarray, "n o"]
    key: Key[Array, ""]
    size: int

    def in_blocks(self, run: Callable[..., PyTree[Array]]) -> PyTree[np.ndarray]:
        """What a compiled function returns for blocks of rows, put together.

        Args:
            run: Function of the attack, inputs, targets and numbers of a block's rows.

        Returns:
            Its arrays, of all rows.
        """
        n, parts = len(self.rows), []
        for first in range(0, n, self.size):
            block = np.arange(first, first + self.size) % n  # the last one wraps round
            found = run(
                of_rows(self.method, block),
                jnp.asarray(self.rows[block]),
                jnp.asarray(self.goals[block]),
                jnp.asarray(block),
            )
            parts.append(
                jax.tree.map(lambda a, end=n - first: np.asarray(a)[:end], found)
            )
        return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def checked_call(
    caller: str,
    method: AbstractAttack,
    apply: Apply,
    params: Any,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    loss: str,
    key: Key[Array, ""] | None,
    batch_size: int,
    tolerance: float | None = None,
) -> Call:
    """The arguments as arrays of one floating type, if they fit.

    Args:
        caller: Function to name.
        method: The attack.
        apply: The model.
        params: Its parameters.
        x: Inputs, one per row.
        targets: Labels, or with a `tolerance` any numbers.
        loss: Name of the loss.
        key: Random key; always the same one if `None`.
        batch_size: Inputs of a block at most.
        tolerance: From where on a regression's output is wrong.

    Returns:
        The call.

    Raises:
        ValueError: If inputs, targets or settings do not fit, an input is outside the
            attack's box, or a batch does not fit into memory.
    """
    rows = rows_of(caller, x)
    check_attack(caller, method, rows)
    check_model(caller, apply, params, rows)
    goals = labels_or_numbers(caller, targets, len(rows), tolerance)
    goals = goals.astype(rows.dtype)
    check_one_of(caller, "loss", loss, tuple(LOSSES))
    check_count(caller, "batch_size", batch_size, 1)
    size = min(batch_size, len(rows))
    check_outputs(caller, apply, params, rows[:size], goals)
    key = jax.random.key(0) if key is None else key
    check_key(caller, key)
    return Call(radius_per_row(method, len(rows), rows.dtype), rows, goals, key, size)
