"""Inputs that the tests of kernels share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def x(getkey):
    scales = jnp.array([0.3, 1.0, 2.0, 0.7, 1.4, 0.9, 1.1])
    return np.asarray(scales[:, None] * jax.random.normal(getkey(), (7, 5)))
