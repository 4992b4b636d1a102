"""The devices over which the rows of a batch are divided while a network trains."""

import jax

BATCH_AXIS = "widelimit_batch"
"""Name of the axis of devices, each with equally many rows."""


def batch_devices() -> int:
    """Devices over which the batch at hand is divided.

    Returns:
        Their number; 1 outside a training that is so divided.
    """
    try:
        return jax.lax.axis_size(BATCH_AXIS)
    except NameError:  # so JAX says that it is not bound here
        return 1
