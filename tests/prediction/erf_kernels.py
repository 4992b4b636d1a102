"""Kernels of kim2023's network with erf, in closed form, and their derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def erf_kernels(x, z, depth, kappa):
    """NNGP and NTK of two vectors."""
    unit = 2 / jnp.pi * jnp.arcsin(2 / 3)  # mean square of erf under N(0, 1)

    def covariances(a, b, c):
        size = jnp.sqrt((1 + 2 * a) * (1 + 2 * b))
        value = 2 / jnp.pi * jnp.arcsin(2 * c / size) / unit
        return value, 4 / jnp.pi / jnp.sqrt(size**2 - 4 * c * c) / unit

    a, b, c = x @ x, z @ z, x @ z
    ntk = c
    for _ in range(depth):
        value, slope = covariances(a, b, c)
        a, b = covariances(a, a, a)[0], covariances(b, b, b)[0]
        c, ntk = value, value + slope * ntk
    return jnp.stack([kappa**2 * c, kappa**2 * ntk])


@functools.partial(jax.jit, static_argnums=2)
def _blocks(x, z, depth):
    def kernel(u, v):
        return erf_kernels(u, v, depth, 1.0)

    def value_and_gradient(u, v):
        top = kernel(u, v)[:, None]
        return jnp.concatenate([top, jax.jacfwd(kernel, 1)(u, v)], axis=1)

    def both(u, v):
        top = value_and_gradient(u, v)[:, None, :]
        rest = jnp.moveaxis(jax.jacfwd(value_and_gradient, 0)(u, v), -1, 1)
        return jnp.concatenate([top, rest], axis=1)

    return jax.vmap(lambda u: jax.vmap(lambda v: both(u, v))(z))(x)


def jacobian_matrix(x, z, depth, kappa, kind):
    """The matrix of values and derivatives, by nested forward mode."""
    found = np.asarray(_blocks(jnp.asarray(x), jnp.asarray(z), depth))
    found = found[:, :, ("nngp", "ntk").index(kind)]
    n, m, r, _ = found.shape
    return kappa**2 * found.transpose(0, 2, 1, 3).reshape(n * r, m * r)
