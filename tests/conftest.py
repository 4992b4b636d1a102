"""Settings and fixtures of every test: float64, strict promotion, checked shapes."""

import os

import jax
import jaxtyping
import pytest

# Two ways of XLA's to compile in less time. It ends a process that gives it flags which
# it does not know, so only a version that does gets them.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__[:2] == (0, 10):
    os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Compiling takes most of the time of these tests, and nothing here measures speed.
jax.config.update("jax_num_cpu_devices", 2)  # so that seeds are divided
jax.config.update("jax_disable_most_optimizations", True)
jaxtyping.install_import_hook("widelimit", "beartype.beartype")


@pytest.fixture
def getkey():
    """Call it for a fresh random key; the sequence is the same in every run."""
    key = jax.random.key(20260101)

    def draw():
        nonlocal key
        key, fresh = jax.random.split(key)
        return fresh

    return draw
