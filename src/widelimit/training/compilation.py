"""What XLA is told when it compiles a training."""

import functools

import jax
import jax.numpy as jnp

from widelimit._cores import cpu_count

# Products and sums by YNNPACK, as ever, but convolutions by Eigen.
KINDS = ("INDIVIDUAL_DOT", "REDUCE")
EIGEN = {
    "xla_cpu_experimental_ynn_fusion_type": ",".join(
        f"LIBRARY_FUSION_TYPE_{kind}" for kind in KINDS
    )
}


def compiler_options(images: bool) -> dict[str, str]:
    """Options of `jax.jit` for a training.

    On a CPU, XLA's compiler leaves convolutions with many channels to YNNPACK, which
    is quicker on one core but takes no more than that one. Where a program has several
    cores to itself, they are left to Eigen; not where each core is a device.

    Args:
        images: Whether the network convolves.

    Returns:
        The options; none where they would not help, or are not known to this XLA.
    """
    alone = jax.default_backend() == "cpu" and jax.local_device_count() == 1
    return EIGEN if images and alone and cpu_count() > 1 and _known() else {}


@functools.cache
def _known() -> bool:
    compiled = jax.jit(lambda x: x + 1, compiler_options=EIGEN)
    try:
        compiled(jnp.zeros(()))
    except jax.errors.JaxRuntimeError:  # another version of XLA
        return False
    return True
