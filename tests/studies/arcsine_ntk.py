"""NTK and Jacobian NTK of kim2023's network with erf, by automatic differentiation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def ntk(u, v, depth):
    """The paper's recursion, with the arcsine kernel of erf."""
    unit = 2 / jnp.pi * jnp.arcsin(2 / 3)  # mean square of erf under N(0, 1)

    def mean(c, a, b):
        return 2 / jnp.pi * jnp.arcsin(2 * c / jnp.sqrt((1 + 2 * a) * (1 + 2 * b)))

    a, b, c = u @ u, v @ v, u @ v
    found = c
    for _ in range(depth):
        slope = jax.grad(mean)(c, a, b) / unit
        a, b, c = mean(a, a, a) / unit, mean(b, b, b) / unit, mean(c, a, b) / unit
        found = c + slope * found
    return found


@functools.partial(jax.jit, static_argnums=2)
def blocks(x, z, depth):
    def block(u, v):
        k = functools.partial(ntk, depth=depth)
        top = jnp.concatenate([k(u, v)[None], jax.jacfwd(k, 1)(u, v)])
        both = jax.jacfwd(jax.jacfwd(k, 1), 0)(u, v).T
        rest = jnp.concatenate([jax.jacfwd(k, 0)(u, v)[:, None], both], axis=1)
        return jnp.concatenate([top[None], rest])

    return jax.vmap(jax.vmap(block, (None, 0)), (0, None))(x, z)


def jacobian_ntk(x, z, depth):
    """The dense matrix between the rows of `x` and of `z`."""
    found = np.asarray(blocks(jnp.asarray(x), jnp.asarray(z), depth))
    n, m, r, _ = found.shape
    return found.transpose(0, 2, 1, 3).reshape(n * r, m * r)
