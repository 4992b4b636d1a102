"""Networks are measured as they evaluate, never by the statistics of a batch."""

import contextlib
import contextvars
from collections.abc import Iterator

_CALLER: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "caller", default=None
)


class TrainingModeError(ValueError):
    """A network normalises by the batch at hand where it is to be measured."""


@contextlib.contextmanager
def evaluating(caller: str) -> Iterator[None]:
    """Within it, layers that normalise by the batch refuse to train.

    It holds while a function is called, hence traced. What JAX has traced before, such
    as a function under `jax.jit` that has been called, is not traced again.

    Args:
        caller: Function to name: the one that measures or attacks.
    """
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def check_not_evaluating() -> None:
    """Refuse to train a network that is being measured.

    Raises:
        TrainingModeError: If so.
    """
    caller = _CALLER.get()
    if caller is not None:
        raise TrainingModeError(
            f"`{caller}` needs a network in evaluation mode, in which an output depends"
            " on its own input alone. Got one that normalises by the batch at hand. "
            "Call the network or `network.apply`, not `network.apply_training`."
        )
