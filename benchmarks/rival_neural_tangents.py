r"""The rival of the kernel benchmarks: neural-tangents, in a process of its own.

Its last release does not import on a current JAX, so it runs in an environment of its
own, whose interpreter `WIDELIMIT_RIVAL_PYTHON` names:

    python3.11 -m venv RIVAL
    RIVAL/bin/pip install jax==0.4.25 jaxlib==0.4.25 'numpy<2' 'scipy<1.14'
    RIVAL/bin/pip install frozendict typing_extensions
    RIVAL/bin/pip install --no-deps neural-tangents==0.6.5
    export WIDELIMIT_RIVAL_PYTHON=$PWD/RIVAL/bin/python

`--no-deps` and the stub below leave out TensorFlow, which its module `experimental`
alone needs. By hand, from the repository's root (see `kernel_worker` for the form):

    echo '{"task": "empirical", "want": "seconds", "settings": {"x2": null,' \
        '"x1": {"rows": 64, "seed": 0}, "implementation": "STRUCTURED_DERIVATIVES"}}' |
        $WIDELIMIT_RIVAL_PYTHON -m benchmarks.rival_neural_tangents
"""

import sys
import types

import jax
import jax.numpy as jnp

from benchmarks.kernel_worker import (
    BIAS_STD,
    DEPTH,
    FEATURES,
    WEIGHT_STD,
    WIDTH,
    inputs,
    serve,
)

sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")

import neural_tangents as nt  # noqa: E402
from neural_tangents import stax  # noqa: E402

ACTIVATIONS = {"relu": stax.Relu, "erf": stax.Erf, "gelu": stax.Gelu}


def network(activation):
    def dense(units):
        return stax.Dense(units, W_std=WEIGHT_STD, b_std=BIAS_STD)

    hidden = [dense(WIDTH), ACTIVATIONS[activation]()]
    return stax.serial(*hidden * DEPTH, dense(1))


def limit(activation, x1, x2, get=("nngp", "ntk")):
    """Analytic kernels; needs `JAX_ENABLE_X64`, as widelimit's side has it."""
    _, _, kernel_fn = network(activation)
    names = tuple(get)
    kernels = jax.jit(lambda a, b: kernel_fn(a, b, names)._asdict())
    a = jnp.asarray(inputs(x1))
    b = None if x2 is None else jnp.asarray(inputs(x2))
    return lambda: kernels(a, b)


def empirical(implementation, x1, x2):
    """The NTK of one finite network in float32; needs 64-bit types disabled."""
    init, apply, _ = network("relu")
    _, params = init(jax.random.PRNGKey(0), (1, FEATURES))
    ntk = nt.empirical_ntk_fn(
        apply, vmap_axes=0, implementation=nt.NtkImplementation[implementation]
    )
    kernel = jax.jit(lambda params, a, b: {"ntk": ntk(a, b, params)})
    a = jnp.asarray(inputs(x1), jnp.float32)
    b = None if x2 is None else jnp.asarray(inputs(x2), jnp.float32)
    return lambda: kernel(params, a, b)


if __name__ == "__main__":
    serve({"limit": limit, "empirical": empirical})
