"""The dense layer: its distribution at initialisation, and its arithmetic."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
import oracles
from oracles import assert_mean_matches, unchecked
from widelimit.layers import Dense, Parameterization

every_dense = pytest.mark.parametrize("dense", cases.DENSE, ids=cases.label)
D, N = 5, 3  # input features, rows


def factors(dense, fan_in):
    """From the table of parameterizations: initial stds, and forward factors."""
    w, b, s = dense.weight_std, dense.bias_std or 0.0, dense.scale
    return {
        "standard": ((w / math.sqrt(fan_in), b), (s, s)),
        "ntk": ((1.0, 1.0), (s * w / math.sqrt(fan_in), s * b)),
        "direct": ((w, b), (s, s)),
    }[dense.parameterization.value]


@every_dense
def test_parameters_are_centred_gaussians_of_the_stated_size(dense, getkey):
    keys = jax.random.split(getkey(), 4000)
    params = jax.vmap(lambda k: dense.init(k, (D,)))(keys)
    (weight_std, bias_std), _ = factors(dense, D)
    assert set(params) == {"weight"} | (
        {"bias"} if dense.bias_std is not None else set()
    )
    for name, std in (("weight", weight_std), ("bias", bias_std)):
        if name not in params:
            continue
        values = np.asarray(params[name])
        assert values.shape == ((4000, D, 4) if name == "weight" else (4000, 4))
        for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
            assert_mean_matches(
                values**power, np.full(values.shape[1:], moment) * std**power
            )


@every_dense
def test_parameters_are_independent(dense, getkey):
    keys = jax.random.split(getkey(), 4000)
    params = jax.vmap(lambda k: dense.init(k, (2,)))(keys)
    flat = np.concatenate([np.reshape(p, (4000, -1)) for p in params.values()], axis=1)
    products = flat[:, :, None] * flat[:, None, :]
    above = np.triu_indices(flat.shape[1], 1)
    assert_mean_matches(products[:, *above], np.zeros(len(above[0])), bias=1e-12)


@every_dense
def test_apply_is_the_written_sum(dense, getkey):
    params = dense.init(getkey(), (D,))
    params = jax.tree.map(lambda p: p + 0.3, params)
    x = jax.random.normal(getkey(), (N, D))
    _, (factor, bias_factor) = factors(dense, D)
    shift = bias_factor * np.asarray(params.get("bias", jnp.zeros(4)))
    expected = oracles.dense(params["weight"], x, factor=factor, shift=shift)
    np.testing.assert_allclose(dense.apply(params, x), expected, rtol=1e-12)
    assert dense.apply(params, x).shape == (N, *dense.output_shape((D,)))


@every_dense
def test_jets_are_the_derivatives_of_either_pass(dense, getkey):
    params = dense.init(getkey(), (D,))
    jets = jax.random.normal(getkey(), (4, N, D))
    cotangents = jax.random.normal(getkey(), (4, N, 2, 4))
    x, *tangents = jets
    y = dense.apply(params, x)
    slopes = [
        jax.jvp(lambda x: dense.apply(params, x), (x,), (t,))[1] for t in tangents
    ]
    found = dense.apply_jets(params, jets)
    np.testing.assert_allclose(found, jnp.stack([y, *slopes]), rtol=1e-12, atol=1e-12)
    jacobians = jax.vmap(jax.jacrev(lambda row: dense.apply(params, row[None])[0]))(x)
    pulled = np.einsum("rnao,nod->rnad", cotangents, jacobians)
    found = dense.pull_jets(params, cotangents)
    np.testing.assert_allclose(found, pulled, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parameterization", cases.PARAMETERIZATIONS)
@pytest.mark.parametrize("bias_std", [None, 0.7])
def test_output_variance_at_initialisation(parameterization, bias_std, getkey):
    dense = Dense(2, 1.3, bias_std, -0.6, parameterization)
    x = jnp.array([[0.3, -1.2, 2.0], [1.1, 0.4, -0.2]])
    keys = jax.random.split(getkey(), 20000)
    y = jax.vmap(lambda k: dense.apply(dense.init(k, (3,)), x))(keys)
    fan_in = 1 if parameterization is Parameterization.DIRECT else 3
    gram = np.asarray(x) @ np.asarray(x).T
    covariance = 0.36 * (1.69 * gram / fan_in + (bias_std or 0) ** 2)
    assert_mean_matches(y, np.zeros((2, 2)))
    assert_mean_matches(np.einsum("kno,kmo->konm", y, y), np.stack([covariance] * 2))
    assert_mean_matches(y[:, :, 0] * y[:, :, 1], np.zeros(2))


@pytest.mark.parametrize("bias_std", [None, 0.7])
def test_ntk_and_standard_are_one_function_from_one_key(bias_std, getkey):
    key, x = getkey(), jax.random.normal(getkey(), (N, D))
    standard, ntk = (
        Dense(4, 1.3, bias_std, -0.6, p)
        for p in (Parameterization.STANDARD, Parameterization.NTK)
    )
    outputs = [layer.apply(layer.init(key, (D,)), x) for layer in (standard, ntk)]
    np.testing.assert_allclose(*outputs, rtol=1e-12)
    # They differ in how training moves them: the NTK form holds weights of size one.
    assert jnp.std(ntk.init(key, (D,))["weight"]) > 1.5 * jnp.std(
        standard.init(key, (D,))["weight"]
    )


@every_dense
def test_without_init_is_the_same_function_of_the_parameters(dense, getkey):
    params = jax.tree.map(lambda p: p + 0.3, dense.init(getkey(), (D,)))
    x = jax.random.normal(getkey(), (N, D))
    bare = dense.without_init((D,))
    np.testing.assert_allclose(
        bare.apply(params, x), dense.apply(params, x), rtol=1e-14
    )
    assert bare.without_init((D,)) == bare


@pytest.mark.parametrize("bias_std", [None, 0.7])
def test_without_init_forgets_the_initial_sizes(bias_std):
    def bare(std, shift, parameterization):
        return Dense(4, std, shift, 0.6, parameterization).without_init((D,))

    other = None if bias_std is None else 0.2
    expected = bare(1.3, bias_std, Parameterization.STANDARD)
    assert bare(2.1, other, Parameterization.STANDARD) == expected
    assert bare(0.1, other, Parameterization.DIRECT) == expected
    assert Dense(4, 1.3, bias_std, 0.7).without_init((D,)) != expected


def test_calling_a_layer_applies_it(getkey):
    dense, x = cases.DENSE[1], jax.random.normal(getkey(), (N, D))
    params = dense.init(getkey(), (D,))
    np.testing.assert_array_equal(dense(params, x), dense.apply(params, x))


def test_float32_inputs_and_parameters_stay_float32(getkey):
    for dense in cases.DENSE:
        params = dense.init(getkey(), (D,))
        single = jax.tree.map(lambda p: p.astype(jnp.float32), params)
        assert dense.apply(single, jnp.ones((N, D), jnp.float32)).dtype == jnp.float32


def test_parameterization_may_be_given_by_name():
    with unchecked():
        dense = Dense(4, parameterization="ntk")  # pyright: ignore[reportArgumentType]
    assert dense == Dense(4, parameterization=Parameterization.NTK)
    assert dense.parameterization is Parameterization.NTK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 0}, "`Dense` needs `features >= 1`. Got `features=0`"),
        ({"weight_std": 0.0}, "finite `weight_std > 0`. Got `weight_std=0.0`"),
        ({"weight_std": math.nan}, "Got `weight_std=nan`"),
        ({"scale": 0.0}, r"finite `abs\(scale\) > 0`. Got `abs\(scale\)=0.0`"),
        ({"scale": -math.inf}, r"Got `abs\(scale\)=inf`"),
        ({"bias_std": -0.2}, "`bias_std.*Got `bias_std=-0.2`"),
        ({"bias_std": math.inf}, "Got `bias_std=inf`"),
        ({"bias_std": math.nan}, "Got `bias_std=nan`"),
    ],
    ids=repr,
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Dense(4), **change)


@pytest.mark.parametrize("method", ["output_shape", "without_init", "init"])
def test_images_must_be_flattened(method, getkey):
    dense = Dense(4, parameterization=Parameterization.NTK)
    arguments = (getkey(),) if method == "init" else ()
    with pytest.raises(
        ValueError, match=r"vectors. Got `input_shape=\(28, 28\)`. Flat"
    ):
        getattr(dense, method)(*arguments, (28, 28))


def test_inputs_must_fit_the_weights(getkey):
    params = Dense(4).init(getkey(), (D,))
    message = r"inputs with 5 features, .* Got `x.shape=\(3, 6\)`"
    with pytest.raises(ValueError, match=message):
        Dense(4).apply(params, jnp.ones((3, 6)))
