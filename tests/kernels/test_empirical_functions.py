"""Tangent kernels of functions that are no descriptions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import jacobian, trace

from oracles import unchecked
from widelimit.kernels import empirical_ntk, empirical_ntk_block
from widelimit.kernels.empirical_work import COLUMNS, work_for

RNG = np.random.default_rng(3)
X = jnp.asarray(RNG.standard_normal((7, 20)))
DENSE = {
    "u": jnp.asarray(RNG.standard_normal((20, 40)) / 4),
    "v": jnp.asarray(RNG.standard_normal((40, 10)) / 6),
    "w": jnp.asarray(RNG.standard_normal((10, 4))),
}
SHARED = (jnp.asarray(RNG.standard_normal((3, 4))),)


def dense(params, x):
    """Few rows of many weights: products take less than the Jacobian."""
    return jnp.tanh(jnp.tanh(x @ params["u"]) @ params["v"]) @ params["w"]


def shared(params, x):
    """Few weights at many places: the Jacobian takes less than products."""
    (w,) = params
    patches = jnp.stack([x, jnp.roll(x, 1, 1), jnp.roll(x, 2, 1)], axis=-1)
    return jnp.sum(jnp.sin(patches @ w), axis=1).reshape(-1, 2, 2)


CASES = {"products": (dense, DENSE), "contraction": (shared, SHARED)}


@pytest.mark.parametrize("output_axes", [False, True])
@pytest.mark.parametrize("way", CASES)
def test_kernels_are_the_contraction_of_dense_jacobians(way, output_axes):
    f, params = CASES[way]
    full = jacobian(f, params, X)
    expected = np.einsum("nap,mbp->nmab", full, full)
    expected = expected if output_axes else trace(expected)
    row = jax.ShapeDtypeStruct((1, 20), X.dtype)
    work = work_for(f, params, row, output_axes=output_axes, per_layer=False, rows=4)
    assert bool(work.fixed) == (way == "products")  # no columns are held otherwise

    options = {"output_axes": output_axes}
    k = empirical_ntk(f, params, X[:3], X[3:], **options)
    np.testing.assert_allclose(k, expected[:3, 3:], rtol=1e-11, atol=1e-12)
    k = jax.jit(lambda p: empirical_ntk_block(f, p, X[:4], **options))(params)
    np.testing.assert_allclose(k, expected[:4, :4], rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(k, k.transpose((1, 0, 3, 2)[: k.ndim]))


def test_tiles_and_columns_keep_to_the_memory():
    row = jax.ShapeDtypeStruct((1, 20), X.dtype)
    options = {"output_axes": True, "per_layer": False, "rows": 4}
    work = work_for(dense, DENSE, row, budget=2.0**17, **options)
    everything = work_for(dense, DENSE, row, **options)
    assert work.fixed < everything.fixed and everything.fixed > COLUMNS * 8 * 1240
    little = 2.0**16  # too little for one gradient of every output
    assert work_for(dense, DENSE, row, budget=little, **options).least <= little
    full = jacobian(dense, DENSE, X)
    expected = np.einsum("nap,mbp->nmab", full, full)
    k = empirical_ntk(dense, DENSE, X, output_axes=True, memory=2.0**-13)
    np.testing.assert_allclose(k, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(k, k.transpose(1, 0, 3, 2))


def test_a_second_call_compiles_nothing():
    calls = []

    def counted(params, x):
        calls.append(x.shape)
        return dense(params, x)

    empirical_ntk(counted, DENSE, X)
    first = len(calls)
    empirical_ntk(counted, DENSE, X + 1)
    assert first > 0 and len(calls) == first


def test_layers_of_a_function_are_refused():
    with unchecked(), pytest.raises(ValueError, match="description of the network for"):
        empirical_ntk(dense, DENSE, X, per_layer=True)


def test_one_output_needs_no_axis():
    (w,) = params = (jnp.asarray(RNG.standard_normal(20)),)
    k = empirical_ntk(lambda p, x: jnp.sin(x @ p[0]), params, X[:3])
    slope = np.cos(X[:3] @ w)
    np.testing.assert_allclose(k, np.outer(slope, slope) * (X[:3] @ X[:3].T), 1e-12)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (
            lambda p, x: jnp.sum(x @ p),
            r"each. Got an output of shape \(\) for inputs of",
        ),
        (
            lambda p, x: (x @ p)[:1, None],
            r"Got an output of shape \(1, 1\) for inputs of",
        ),
        (lambda p, x: (x @ p)[:, None][:, :0], r"Got an output of shape \(2, 0\)"),
        (lambda p, x: p @ x, r"fails for inputs of shape \(2, 20\): .* `jax.vmap`"),
        (lambda p, x: (x @ p, x), "one array as its value. Got a `tuple` of 2"),
        (lambda p, x: jnp.argmax(x * p, 1), "real numbers. Got int64. Return"),
    ],
    ids=["scalar", "rows", "none", "single", "several", "integer"],
)
def test_functions_that_are_not_of_rows_are_refused(f, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        empirical_ntk(f, jnp.ones(20), X)
