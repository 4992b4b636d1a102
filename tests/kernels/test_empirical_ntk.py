"""Tangent kernels of finite networks, layer by layer, against dense Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import NETWORKS, blocks, drawn, jacobian, sizes, trace

from oracles import unchecked
from widelimit.activations import Sine
from widelimit.kernels import empirical_ntk, empirical_ntk_block
from widelimit.layers import Activation, Dense, Parameterization, Readout, Sequential
from widelimit.networks import mlp

SMALL = Sequential((Dense(6, 1.2, 0.3), Activation(Sine()), Dense(2, 0.9)))


def assert_close(kernel, expected):
    np.testing.assert_allclose(kernel, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_the_contraction_of_dense_jacobians(name):
    network = NETWORKS[name]
    params, x = drawn(network, rows=6)
    full = jacobian(network.apply, params, x)
    expected = blocks(full[:3], full[3:], params)
    x1, x2 = x[:3], x[3:]
    paired = empirical_ntk(network, params, x1, x2, output_axes=True, per_layer=True)
    assert_close(paired, expected)
    kernel = empirical_ntk(network, params, x1, x2)
    assert_close(kernel, trace(expected.sum(0)))


def test_a_linear_model_has_the_kernel_of_its_inputs():
    network = mlp(
        depth=0,
        width=1,
        outputs=2,
        weight_std=1.5,
        bias_std=0.3,
        parameterization=Parameterization.NTK,
    )
    params, x = drawn(network, rows=4)
    expected = 1.5**2 * np.asarray(x @ x.T) / 5 + 0.3**2
    assert_close(empirical_ntk(network, params, x), expected)
    paired = empirical_ntk(network, params, x, output_axes=True)
    assert_close(paired, expected[:, :, None, None] * np.eye(2))


@pytest.mark.parametrize("output_axes", [False, True])
def test_tiles_make_the_same_kernel(output_axes):
    params, x = drawn(SMALL, rows=5)
    full = jacobian(SMALL.apply, params, x)
    expected = blocks(full, full, params)
    expected = expected if output_axes else trace(expected)
    options = {"output_axes": output_axes, "per_layer": True}
    for memory in (1.0, 2.2e-6):  # one tile, and tiles of two rows
        k = empirical_ntk(SMALL, params, x, memory=memory, **options)
        np.testing.assert_array_equal(k, k.transpose((0, 2, 1, 4, 3)[: k.ndim]))
        assert_close(k, expected)
    k = empirical_ntk(SMALL, params, x[:3], x, memory=2.2e-6, **options)
    assert_close(k, expected[:, :3])


def test_it_is_computed_in_the_type_of_the_parameters():
    params, x = drawn(SMALL, rows=4)
    double = empirical_ntk(SMALL, params, x)
    single = empirical_ntk(SMALL, jax.tree.map(jnp.float32, params), x)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single, double, rtol=1e-5)


def test_the_block_is_traceable_and_its_rows_may_lie_on_several_devices():
    params, x = drawn(SMALL, rows=4)
    many = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p]), params)
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("rows",))
    rows, everywhere = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in (("rows",), ())
    )

    @jax.jit
    def kernels(many, x1, x2):
        return jax.vmap(lambda p: empirical_ntk_block(SMALL, p, x1, x2))(many)

    found = kernels(*jax.device_put((many, x, x), (everywhere, rows, everywhere)))
    assert len(mesh.devices) == len(found.addressable_shards) == 2
    for kernel, factor in zip(found, (1.0, 0.5), strict=True):
        scaled = jax.tree.map(lambda p, factor=factor: factor * p, params)
        assert_close(kernel, empirical_ntk(SMALL, scaled, x))


def test_no_array_has_a_column_for_every_weight():
    network = mlp(depth=2, width=40)
    params, x = drawn(network, rows=3)
    program = jax.make_jaxpr(lambda p: empirical_ntk_block(network, p, x))(params)
    found = list(sizes(program.jaxpr))
    assert len(found) > 20 and max(found) <= 40 * 40  # a weight matrix, transposed


def test_a_second_call_compiles_nothing(monkeypatch):
    params, x = drawn(SMALL, rows=4)
    empirical_ntk(SMALL, params, x)
    monkeypatch.setattr(Dense, "apply", None)
    again = Sequential(SMALL.layers)
    empirical_ntk(again, params, x + 1)


# Bad input


def refused(message, *args, **options):
    with unchecked(), pytest.raises(ValueError, match=message):
        empirical_ntk(*args, **options)


def test_inputs_that_do_not_fit_are_refused():
    params, x = drawn(SMALL, rows=4)
    refused(r"`x2.shape=\(4, 4\)`", SMALL, params, x, x[:, 1:])
    refused(r"NaN|nan at index \(1, 2\)", SMALL, params, x.at[1, 2].set(jnp.nan))
    refused(r"at least one row and one feature", SMALL, params, x[:0])
    refused(r"vectors. Got `input_shape=\(5, 1\)", SMALL, params, x[..., None])


def test_parameters_that_do_not_fit_are_refused():
    params, x = drawn(SMALL, rows=4)
    refused(
        r"`params\[0\]\['weight'\].shape=\(4, 6\)`.*Got .*\(5, 6\)",
        SMALL,
        params,
        x[:, 1:],
    )
    refused("another structure", SMALL, params[:2], x)
    mixed = (jax.tree.map(jnp.float32, params[0]), *params[1:])
    refused("Got float32, float64", SMALL, mixed, x)
    refused("Got none", SMALL, (), x)
    broken = jax.tree.map(lambda p: p.at[..., 0].set(jnp.nan), params)
    refused("kernel. Check the parameters for NaN", SMALL, broken, x)
    fixed = Sequential((Readout(2),))
    refused("parameters that are trained", fixed, drawn(fixed, 1)[0], x)


def test_kernels_beyond_the_memory_are_refused():
    params, x = drawn(SMALL, rows=64)
    refused("for one pair of inputs. Got `memory=1e-09`", SMALL, params, x, memory=1e-9)
    message = (
        r"3.05e-05 GiB for a kernel of shape \(1, 64, 64\). .*fewer rows at a time\.$"
    )
    refused(message, SMALL, params, x, memory=1e-5)
    message = r"\(1, 64, 64, 2, 2\).*or leave out `output_axes`"
    refused(message, SMALL, params, x, output_axes=True, memory=1e-5)
    refused("`memory > 0`", SMALL, params, x, memory=0.0)
