"""Options of the compiler: given where they help, and only if it knows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.training import compilation


@pytest.fixture
def alone(monkeypatch):
    """One CPU device with two cores, whatever this machine has."""
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(compilation, "cpu_count", lambda: 2)
    compilation._known.cache_clear()
    yield monkeypatch
    compilation._known.cache_clear()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="options of the CPU")
def test_convolutions_are_left_to_eigen_and_give_the_same(alone):
    options = compilation.compiler_options(images=True)
    assert options == compilation.EIGEN

    def convolve(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    x = jax.random.normal(jax.random.key(0), (4, 7, 9, 40), jnp.float32)
    w = jax.random.normal(jax.random.key(1), (3, 3, 40, 48), jnp.float32)
    text = jax.jit(convolve, compiler_options=options).lower(x, w).compile().as_text()
    assert "ynn" not in str(text)
    one = jax.jit(convolve)(x, w)
    two = jax.jit(convolve, compiler_options=options)(x, w)
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def test_no_options_where_they_do_not_help(alone):
    assert compilation.compiler_options(images=False) == {}
    alone.setattr(compilation, "cpu_count", lambda: 1)
    assert compilation.compiler_options(images=True) == {}
    alone.setattr(compilation, "cpu_count", lambda: 2)
    alone.setattr(jax, "local_device_count", lambda: 2)
    assert compilation.compiler_options(images=True) == {}


def test_no_options_that_the_compiler_does_not_know(alone):
    alone.setattr(compilation, "EIGEN", {"xla_cpu_convolve_by_magic": "true"})
    assert compilation.compiler_options(images=True) == {}
