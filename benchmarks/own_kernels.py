"""widelimit's side of the kernel benchmarks, and what it is measured against in JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.kernel_worker import (
    BIAS_STD,
    DEPTH,
    FEATURES,
    WEIGHT_STD,
    WIDTH,
    inputs,
    serve,
)
from widelimit.activations import GELU, Erf, ReLU
from widelimit.layers import Parameterization
from widelimit.networks import kim2023_network, mlp

ACTIVATIONS = {"relu": ReLU(), "erf": Erf(), "gelu": GELU()}


def network(activation, depth=DEPTH):
    return mlp(
        depth=depth,
        width=WIDTH,
        activation=ACTIVATIONS[activation],
        weight_std=WEIGHT_STD,
        bias_std=BIAS_STD,
        parameterization=Parameterization.NTK,
    )


def limit(activation, x1, x2):
    from widelimit.kernels import limit_kernels

    net = network(activation)
    a = jnp.asarray(inputs(x1))
    b = None if x2 is None else jnp.asarray(inputs(x2))

    def run():
        pair = limit_kernels(net, a, b)
        return {"nngp": pair.nngp, "ntk": pair.ntk}

    return run


def floor(library, x1, x2):
    """One arcsine and one square root per pair and hidden layer.

    By JAX, in one program, as a kernel would; or by NumPy's functions, from one array
    into another, on one core.
    """
    c = inputs(x1) @ inputs(x2).T / FEATURES / 2
    if library == "numpy":
        square, out = np.abs(c), np.empty_like(c)

        def bare():
            for _ in range(DEPTH):
                np.arcsin(c, out=out)
                np.sqrt(square, out=out)
            return {"c": out}

        return bare

    @jax.jit
    def chain(c):
        for _ in range(DEPTH):  # the values stay within [-pi / 4, pi / 4]
            c = 0.5 * (jnp.sqrt(1 - c * c) + jnp.arcsin(c))
        return {"c": c}

    on_device = jnp.asarray(c)
    return lambda: chain(on_device)


def empirical(implementation, x1, x2):
    net = network("relu")
    params = net.init(jax.random.key(0), (FEATURES,))
    a = jnp.asarray(inputs(x1), jnp.float32)
    b = None if x2 is None else jnp.asarray(inputs(x2), jnp.float32)
    if implementation == "empirical_ntk":
        from widelimit.kernels import empirical_ntk

        return lambda: {"ntk": empirical_ntk(net, params, a, b)}
    kernel = {"dense": dense_jacobians, "products": products}[implementation]
    compiled = jax.jit(lambda p, a, b: {"ntk": kernel(net, p, a, b)})
    return lambda: compiled(params, a, b)


def dense_jacobians(net, params, x1, x2):
    """The Jacobian of each batch, once if there is one, and their contraction."""

    def jacobian(rows):
        def output(p, row):
            return net.apply(p, row[None])[0, 0]

        return jax.vmap(jax.grad(output), (None, 0))(params, rows)

    def contract(j1, j2):
        return j1.reshape(len(j1), -1) @ j2.reshape(len(j2), -1).T

    one = jacobian(x1)
    two = one if x2 is None else jacobian(x2)
    return sum(jax.tree.leaves(jax.tree.map(contract, one, two)))


def products(net, params, x1, x2):
    """The matrix products of the structured NTK and nothing between them.

    For each batch, one for each layer forward, and one for each but the first backward,
    as the inputs need no cotangent; then two Gram matrices for each layer, of what it
    takes and of the cotangents of what it gives.
    """
    weights = [p["weight"] for p in params if p]

    def factors(x):
        features = [x]
        for weight in weights:
            features.append(features[-1] @ weight)
        cotangents = [features.pop()]
        for weight in weights[:0:-1]:
            cotangents.append(cotangents[-1] @ weight.T)
        return list(zip(features, cotangents[::-1], strict=True))

    one = factors(x1)
    two = one if x2 is None else factors(x2)
    pairs = zip(one, two, strict=True)
    return sum((h1 @ h2.T) * (g1 @ g2.T) for (h1, g1), (h2, g2) in pairs)


def jacobian_numbers(activation, depth, x1, x2):
    from widelimit.kernels import jacobian_scalars

    net, a, b = network(activation, depth), inputs(x1), inputs(x2)
    return lambda: {"k": jacobian_scalars(net, a, b).k}


def jacobian_gram(implementation, activation, depth, x1):
    """The dense Jacobian NTK, of the eight numbers or by nested differentiation."""
    from widelimit.kernels import jacobian_kernel

    x = inputs(x1)
    if implementation == "widelimit":
        net = network(activation, depth)
        return lambda: {"gram": jacobian_kernel(net, x).dense()}
    n, d = x.shape

    @jax.jit
    def gram(x):
        blocks = nested(functools.partial(scanned_ntk, activation, depth))
        every = jax.vmap(jax.vmap(blocks, (None, 0)), (0, None))(x, x)
        return {"gram": every.transpose(0, 2, 1, 3).reshape(n * (d + 1), n * (d + 1))}

    on_device = jnp.asarray(x)
    return lambda: gram(on_device)


def scanned_ntk(activation, depth, x1, x2):
    """The NTK of two inputs as one would write it down, its layers in one loop."""
    dual, slope = {"erf": erf_duals, "gelu": gelu_duals}[activation]
    w2, b2, d = WEIGHT_STD**2, BIAS_STD**2, len(x1)
    c, p, q = (w2 * u @ v / d + b2 for u, v in ((x1, x2), (x1, x1), (x2, x2)))

    def layer(state, _):
        c, p, q, t = state
        rise = slope(c, p, q)
        c, p, q = (w2 * dual(*m) + b2 for m in ((c, p, q), (p, p, p), (q, q, q)))
        return (c, p, q, c + w2 * rise * t), None

    (*_, t), _ = jax.lax.scan(layer, (c, p, q, c), length=depth)
    return t


def nested(k):
    """The block of two inputs: backwards by the second, then forwards by the first."""

    def row(x1, x2):
        value, slope = jax.value_and_grad(k, 1)(x1, x2)
        return jnp.concatenate([value[None], slope])

    def block(x1, x2):
        slopes = jax.jacfwd(row)(x1, x2)
        return jnp.concatenate([row(x1, x2)[None], slopes.T])

    return block


def _erf(c, p, q):
    return 2 / jnp.pi * jnp.arcsin(2 * c / jnp.sqrt((1 + 2 * p) * (1 + 2 * q)))


def _erf_slope(c, p, q):
    return 4 / jnp.pi / jnp.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c * c)


def _gelu(c, p, q):
    P, Q = 1 + p, 1 + q
    both = 0.25 + jnp.arcsin(c / jnp.sqrt(P * Q)) / (2 * jnp.pi)
    density = 1 / (2 * jnp.pi * jnp.sqrt(P * Q - c * c))
    return c * both + density * (p * q + c * c * (1 - p / P - q / Q))


def _gelu_slope(c, p, q):
    P, Q = 1 + p, 1 + q
    both = 0.25 + jnp.arcsin(c / jnp.sqrt(P * Q)) / (2 * jnp.pi)
    H2 = P * Q - c * c
    density = 1 / (2 * jnp.pi * jnp.sqrt(H2))
    return both + c * density * (1 / P + 1 / Q + 1 / H2)


erf_duals, gelu_duals = (_erf, _erf_slope), (_gelu, _gelu_slope)


def jacobian_product(implementation, x1):
    """One product with the operator, or the three matrix products in it."""
    from widelimit.kernels import jacobian_kernel

    x = inputs(x1)
    kernel = jacobian_kernel(network("erf"), x)
    u = np.random.default_rng(1).standard_normal(kernel.shape[1])
    if implementation == "widelimit":
        return lambda: {"product": kernel @ u}
    gradient = u.reshape(len(x), -1)[:, 1:]

    def bare(k, x, gradient):
        return {"a": k @ gradient, "b": x @ gradient.T, "c": k @ x}

    if implementation == "numpy":
        return lambda: bare(kernel.scalars.k_c, x, gradient)
    compiled = jax.jit(bare)
    arguments = [jnp.asarray(z) for z in (kernel.scalars.k_c, x, gradient)]
    return lambda: compiled(*arguments)


def empirical_jacobian(implementation, width, depth, x1, memory=1.0):
    """The Jacobian NTK of one network, or the Jacobian of all its entries, dense."""
    from widelimit.kernels import empirical_jacobian_ntk

    net = kim2023_network(depth=depth, width=width)
    x = np.asarray(inputs(x1), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    params = jax.block_until_ready(net.init(jax.random.key(0), x.shape[1:]))
    if implementation == "widelimit":
        return lambda: {"ntk": empirical_jacobian_ntk(net, params, x, memory=memory)}
    compiled = jax.jit(lambda p, x: {"ntk": dense_entries(net, p, x)})
    on_device = jnp.asarray(x)
    return lambda: compiled(params, on_device)


def dense_entries(net, params, x):
    """Gradients of the output and of its input derivatives, and their contraction."""

    def entries(p, row):
        def output(z):
            return net.apply(p, z[None])[0, 0]

        value, slope = jax.value_and_grad(output)(row)
        return jnp.concatenate([value[None], slope])

    rows = jax.vmap(jax.jacrev(entries), (None, 0))(params, x)
    leaves = [j.reshape(j.shape[0] * j.shape[1], -1) for j in jax.tree.leaves(rows)]
    return sum(j @ j.T for j in leaves)


TASKS = {
    "limit": limit,
    "floor": floor,
    "empirical": empirical,
    "empirical_jacobian": empirical_jacobian,
    "jacobian_numbers": jacobian_numbers,
    "jacobian_gram": jacobian_gram,
    "jacobian_product": jacobian_product,
}

if __name__ == "__main__":
    serve(TASKS)
