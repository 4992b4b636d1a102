"""widelimit's side of the kernel benchmarks, and what it is measured against in JAX."""

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
from widelimit.networks import mlp

ACTIVATIONS = {"relu": ReLU(), "erf": Erf(), "gelu": GELU()}


def network(activation):
    return mlp(
        depth=DEPTH,
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


if __name__ == "__main__":
    serve({"limit": limit, "floor": floor, "empirical": empirical})
