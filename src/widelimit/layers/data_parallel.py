"""The devices over which the rows of a batch are divided while a network trains."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

BATCH_AXIS = "widelimit_batch"
"""Name of the axis of devices, each with equally many rows."""

_whole: ContextVar[bool] = ContextVar("whole", default=False)


def batch_devices() -> int:
    """Devices over which the batch at hand is divided.

    Returns:
        Their number; 1 outside a training that is so divided.
    """
    if _whole.get():
        return 1
    try:
        return jax.lax.axis_size(BATCH_AXIS)
    except NameError:  # so JAX says that it is not bound here
        return 1


@contextlib.contextmanager
def undivided_batches() -> Iterator[None]:
    """Every device has all rows of what is traced here, in a divided training too.

    Yields:
        Nothing.
    """
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)
