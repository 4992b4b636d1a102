"""The finite Jacobian NTK, against dense Jacobians of values and input derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import DENSE, NETWORKS, NTK, blocks, drawn, jacobian, sizes, trace

from oracles import assert_mean_matches, unchecked
from widelimit.activations import GELU, ReLU, Scaled, Sine, Tanh
from widelimit.kernels import (
    empirical_jacobian_ntk,
    empirical_jacobian_ntk_block,
    empirical_jacobian_operator,
    empirical_jacobian_plan,
    empirical_ntk,
    jacobian_kernel,
)
from widelimit.kernels.empirical_jacobian_work import jacobian_work
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Pool,
    Readout,
    Residual,
    Sequential,
)
from widelimit.networks import kim2023_network
from widelimit.training import Linearised

SMALL = Sequential((Dense(6, 1.2, 0.3), Activation(Sine()), Dense(2, 0.9)))


def both(network):
    """Values and input derivatives, outputs last: backwards by the input."""

    def apply(params, x):
        def at(row):
            def f(z):
                return jnp.ravel(network(params, z[None]))

            slopes = jax.jacrev(f)(row)
            slopes = slopes.reshape(len(slopes), -1).T
            return jnp.concatenate([f(row)[None], slopes])

        return jax.vmap(at)(x)

    return apply


def naive(network, params, x1, x2):
    """The kernel of every layer, `h n*r m*r o o`."""
    full = []
    for x in (x1, x2):
        jac = jacobian(both(network), params, x)
        full.append(jac.reshape(len(x) * (1 + x[0].size), -1, jac.shape[-1]))
    return blocks(*full, params)


def assert_close(kernel, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(kernel, expected, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_the_contraction_of_dense_jacobians(name):
    network = NETWORKS[name]
    params, x = drawn(network, rows=5)
    x1, x2 = x[:3], x[3:]
    expected = naive(network, params, x1, x2)
    paired = empirical_jacobian_ntk(
        network, params, x1, x2, output_axes=True, per_layer=True
    )
    assert_close(paired, expected)


@pytest.mark.parametrize("output_axes", [False, True])
def test_tiles_make_the_same_kernel(output_axes):
    params, x = drawn(SMALL, rows=5)
    expected = naive(SMALL, params, x, x).sum(0)
    expected = expected if output_axes else trace(expected)
    for memory in (1.0, 3.5e-5):
        options = {"output_axes": output_axes, "memory": memory}
        plan = empirical_jacobian_plan(SMALL, params, x, **options)
        assert (plan.tiles == 1) == (memory == 1.0) and plan.working <= memory * 2**30
        k = empirical_jacobian_ntk(SMALL, params, x, **options)
        assert plan.shape[1:] == k.shape and plan.result == k.nbytes
        np.testing.assert_array_equal(k, k.transpose((1, 0, 3, 2)[: k.ndim]))
        assert_close(k, expected)


@pytest.mark.parametrize("stages", [0, 8])
def test_parts_of_many_rows_make_the_same_kernel(stages, monkeypatch):
    # Of 67 rows with 8 entries each, four parts; by a program a stage, or by one.
    monkeypatch.setattr("widelimit.kernels.empirical_jacobian_work.STAGES", stages)
    params, x = drawn(SMALL, rows=67, shape=(7,))
    expected = naive(SMALL, params, x, x)
    options = {"output_axes": True, "per_layer": True}
    k = empirical_jacobian_ntk(SMALL, params, x, **options)
    np.testing.assert_array_equal(k, k.transpose(0, 2, 1, 4, 3))
    assert_close(k, expected)
    others = empirical_jacobian_ntk(SMALL, params, x, x[:20], **options)
    assert_close(others, expected[:, :, :160])
    total = empirical_jacobian_ntk(SMALL, params, x)
    np.testing.assert_array_equal(total, total.T)
    assert_close(total, trace(expected.sum(0)))
    block = empirical_jacobian_ntk_block(SMALL, params, x)
    assert_close(block, total)


@pytest.mark.parametrize("columns", [None, 4, 40])
def test_more_memory_makes_no_more_tiles(columns):
    params, x = drawn(SMALL, rows=60, shape=(7,))
    other = None if columns is None else x[:columns]
    result = empirical_jacobian_plan(SMALL, params, x, other).result
    budgets = result / 2**30 * 1.2 ** np.arange(1, 20)
    plans = [
        empirical_jacobian_plan(SMALL, params, x, other, memory=b) for b in budgets
    ]
    tiles = [plan.tiles for plan in plans]
    assert tiles == sorted(tiles, reverse=True) and tiles[0] > tiles[-1] == 1
    assert all(p.working <= b * 2**30 for p, b in zip(plans, budgets, strict=True))


def test_one_input_needs_no_more_memory_in_one_program(monkeypatch):
    params, x = drawn(SMALL, rows=1, shape=(7,))
    module = "widelimit.kernels.empirical_jacobian_work"
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.STAGES", 0)
        least = empirical_jacobian_plan(SMALL, params, x).working
    for memory in np.geomspace(2 * least, 64 * least, 20) / 2**30:
        assert empirical_jacobian_plan(SMALL, params, x, memory=memory).tiles == 1


def test_blocks_of_other_inputs_are_refused():
    params, x = drawn(SMALL, rows=5, shape=(7,))
    with pytest.raises(ValueError, match=r"with 7 features.*Got `x.shape=\(\d, 6\)`"):
        empirical_jacobian_ntk_block(SMALL, params, x[:, :6])
    with unchecked(), pytest.raises(ValueError, match="needs inputs that are vectors"):
        empirical_jacobian_ntk_block(SMALL, params, jnp.stack([x, x], 1))


@pytest.mark.parametrize("rows", [1, 3])
def test_inputs_of_many_features(rows):
    # A row alone has entries enough for two parts.
    network = Sequential((Dense(3, 1.2, 0.3), Activation(Sine()), Dense(1)))
    params, x = drawn(network, rows=rows, shape=(300,))
    k = empirical_jacobian_ntk(network, params, x)
    assert_close(k, trace(naive(network, params, x, x).sum(0)))
    operator = empirical_jacobian_operator(network, params, x)
    np.testing.assert_allclose(operator.diagonal(), np.diag(k), rtol=1e-12)
    assert empirical_jacobian_plan(network, params, x[:1]).shape == (1, 301, 301)


def test_entries_of_values_are_the_tangent_kernel():
    params, x = drawn(DENSE, rows=5)
    options = {"output_axes": True, "per_layer": True}
    k = empirical_jacobian_ntk(DENSE, params, x[:2], x[2:], **options)
    expected = empirical_ntk(DENSE, params, x[:2], x[2:], **options)
    np.testing.assert_allclose(k[:, ::6, ::6], expected, rtol=1e-12, atol=1e-12)


CONV = Sequential(
    (
        Conv(3, (2,), bias_std=0.2),
        Activation(Tanh()),
        Conv(2, (3,), 1.3),
        Activation(GELU()),
        Flatten(),
        Dense(2, bias_std=0.3),
    )
)


@pytest.mark.slow
def test_images_have_derivatives_by_every_entry():
    params, x = drawn(CONV, rows=3, shape=(4, 2))
    expected = naive(CONV, params, x[:2], x[2:])
    k = empirical_jacobian_ntk(CONV, params, x[:2], x[2:])
    assert_close(k, trace(expected.sum(0)))


# Many weights, and few at many places: products, and the Jacobian, take less.
WEIGHTS = jnp.asarray(np.random.default_rng(3).standard_normal((4, 5, 5)) / 2)


def chain(params, x):
    for weight in params:
        x = jnp.tanh(x @ weight)
    return x[:, :2]


def shared(params, x):
    patches = jnp.stack([jnp.roll(x, k, 1) for k in range(3)], axis=-1)
    return jnp.sum(jnp.sin(patches @ params[0]), axis=1)


@pytest.mark.parametrize("output_axes", [False, True])
@pytest.mark.parametrize("f", [chain, shared])
def test_any_function_has_one(f, output_axes):
    params = tuple(WEIGHTS) if f is chain else (WEIGHTS[0, :3, :2],)
    x = jnp.asarray(np.random.default_rng(4).standard_normal((5, 5)))
    row = jax.ShapeDtypeStruct((1, 5), x.dtype)
    options = {"output_axes": output_axes, "per_layer": False, "rows": 4}
    work = jacobian_work("test", f, params, row, **options)
    assert bool(work.fixed) == (f is chain)  # no columns are held otherwise
    full = jacobian(both(f), params, x).reshape(30, 2, -1)
    expected = np.einsum("nap,mbp->nmab", full, full)
    expected = expected if output_axes else trace(expected)
    k = empirical_jacobian_ntk(f, params, x[:4], x[1:], output_axes=output_axes)
    assert_close(k, expected[:24, 6:])


def test_the_block_is_traceable():
    params, x = drawn(SMALL, rows=3)
    many = jax.tree.map(lambda p: jnp.stack([p, 0.5 * p]), params)

    @jax.jit
    def kernels(many, x):
        return jax.vmap(lambda p: empirical_jacobian_ntk_block(SMALL, p, x))(many)

    half = jax.tree.map(lambda p: 0.5 * p, params)
    for kernel, p in zip(kernels(many, x), (params, half), strict=True):
        assert_close(kernel, empirical_jacobian_ntk(SMALL, p, x))


def test_no_array_has_a_column_for_every_weight():
    network = kim2023_network(depth=3, width=40)
    params, x = drawn(network, rows=2)

    def kernel(p):
        return empirical_jacobian_ntk_block(network, p, x)

    found = list(sizes(jax.make_jaxpr(kernel)(params).jaxpr))
    assert len(found) > 50 and max(found) <= 40 * 40  # a weight matrix, transposed


def test_it_is_computed_in_the_type_of_the_parameters():
    params, x = drawn(SMALL, rows=3)
    double = empirical_jacobian_ntk(SMALL, params, x)
    single = empirical_jacobian_ntk(SMALL, jax.tree.map(jnp.float32, params), x)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single, double, atol=1e-5 * np.abs(double).max())


def test_a_second_call_and_equal_stages_compile_nothing(monkeypatch):
    calls, stages = [], (Activation(Sine()), Dense(3, parameterization=NTK)) * 9
    apply = Dense.apply
    monkeypatch.setattr(
        Dense, "apply", lambda self, p, x: calls.append(x.shape) or apply(self, p, x)
    )
    few = Sequential((Dense(3), *stages[:4], Dense(1)))
    many = Sequential((Dense(3), *stages, Dense(1)))
    counts = []
    for network in (few, many):
        params, x = drawn(network, rows=2)
        calls.clear()
        empirical_jacobian_ntk(network, params, x)
        counts.append(sum(shape[0] == 2 for shape in calls))  # estimates have one row
    assert counts[0] > 0 and counts[1] == 0


# What it is for


@pytest.mark.slow
def test_wide_networks_average_to_the_limit(getkey):
    network = kim2023_network(depth=2, width=64, kappa=0.7)
    x = jax.random.normal(getkey(), (3, 2))

    def one(key):
        params = network.init(key, (2,))
        return empirical_jacobian_ntk_block(network, params, x[:2], x[1:])

    found = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=8))(
        jax.random.split(getkey(), 64)
    )
    limit = jacobian_kernel(network, x[:2], x[1:], kind="ntk").dense()
    bias = np.abs(limit).max() * 2 / 64  # corrections are of order depth / width
    assert_mean_matches(found, limit, bias=bias)


@pytest.mark.slow
def test_the_distance_from_the_limit_falls_as_the_root_of_the_width(getkey):
    x = jax.random.normal(getkey(), (2, 3))
    widths, draws, distances = (32, 128, 512), 200, []
    for width in widths:
        network = kim2023_network(depth=2, width=width)
        limit = jacobian_kernel(network, x, kind="ntk").dense()

        def one(key, network=network, limit=limit):
            params = network.init(key, (3,))
            k = empirical_jacobian_ntk_block(network, params, x)
            return jnp.sum(jnp.square(k - limit))

        keys = jax.random.split(getkey(), draws)
        found = jax.jit(lambda keys, one=one: jax.lax.map(one, keys))(keys)
        distances.append(float(jnp.sqrt(jnp.mean(found))))
    slope = np.polyfit(np.log(widths), np.log(distances), 1)[0]
    assert abs(slope + 0.5) < 0.08


@pytest.mark.slow
def test_it_predicts_a_step_of_jacobian_regularised_training():
    r"""kim2023, Lemma 6, with $\lambda$: its $\Psi$ leaves it out.

    The loss is Eq. (1) with the plus that its print lacks before $\lambda$,
    $\frac{1}{2N} \sum_i (f(x_i) - y_i)^2 + \lambda |\partial_x f(x_i)|^2$. Its gradient
    is $\frac1N \sum_i J_i^\top \Psi_i$ with $J_i$ the parameter gradients of
    $[f; \partial_x f](x_i)$ and $\Psi_i = (f(x_i) - y_i, \lambda\,\partial_x f(x_i))$,
    so that a step of size $\eta$ moves these at $x$ by
    $-\frac{\eta}{N} \sum_i \Theta(x, x_i) \Psi_i$ to first order.
    """
    network, weight = kim2023_network(depth=2, width=9, kappa=0.8), 0.3
    params, x = drawn(network, rows=6, shape=(3,))
    train, test, y = x[:4], x[4:], jnp.asarray([0.3, -0.7, 1.1, 0.2])
    f = jax.jit(both(network))

    def loss(params):
        u = f(params, train)[..., 0]
        penalty = jnp.sum(jnp.square(u[:, 1:]), axis=1)
        return jnp.mean(jnp.square(u[:, 0] - y) + weight * penalty) / 2

    slope = jax.jit(jax.grad(loss))(params)

    def moved(step):
        after = jax.tree.map(lambda p, g: p - step * g, params, slope)
        return jnp.ravel(f(after, test) - f(params, test))

    u = np.array(f(params, train)[..., 0])
    u[:, 0] -= y
    u[:, 1:] *= weight
    kernel = empirical_jacobian_ntk(network, params, test, train)
    rate = -kernel @ u.reshape(-1) / 4
    errors = [np.linalg.norm(moved(s) - s * rate) for s in (1e-4, 5e-5)]
    assert errors[0] < 1e-3 * np.linalg.norm(1e-4 * rate)
    assert 3.5 < errors[0] / errors[1] < 4.5  # what is left is of second order


# Bad input


def refused(message, *args, function=empirical_jacobian_ntk, **options):
    with unchecked(), pytest.raises(ValueError, match=message):
        function(*args, **options)


@pytest.mark.parametrize(
    "function",
    [empirical_jacobian_ntk, empirical_jacobian_plan, empirical_jacobian_operator],
)
def test_what_does_not_fit_is_refused(function):
    params, x = drawn(SMALL, rows=4)
    kinked = Sequential((Residual(Dense(5)), Activation(Scaled(ReLU(), 2.0)), Dense(1)))
    options = {"function": function}
    refused(
        r"second derivative. Got `ReLU\(\)`", kinked, drawn(kinked, 1)[0], x, **options
    )
    weights = drawn(kinked, 1)[0]
    refused("second derivative", kinked.apply, weights, x, **options)
    refused("another structure", SMALL, params[:2], x, **options)
    refused(r"needs `params\[0\]", SMALL, params, x[:, 1:], **options)
    refused(r"`x2.shape=\(4, 4\)`", SMALL, params, x, x[:, 1:], **options)
    refused(r"nan at index \(1, 2\)", SMALL, params, x.at[1, 2].set(jnp.nan), **options)
    refused(
        r"GiB for one .*\. Got `memory=1e-09`", SMALL, params, x, memory=1e-9, **options
    )
    flags = ["output_axes"]
    if function is not empirical_jacobian_operator:
        flags.append("per_layer")
    for name in flags:
        refused(f"`False` as `{name}`", SMALL, params, x, **options | {name: "no"})
    pooled = Sequential((Conv(2, (2,)), Pool("max"), Dense(1)))
    weights, images = drawn(pooled, 2, shape=(4, 1))
    refused("takes maxima", pooled, weights, images, **options)
    refused("takes maxima", pooled.apply, weights, images, **options)
    narrow = jax.tree.map(jnp.float32, params)
    message = r"float32 holds. Got .*e\+39 at index"
    refused(message, SMALL, narrow, np.asarray(x) * 1e39, **options)
    refused("one array as its value", lambda p, x: (x, x), params, x, **options)


def test_kinks_are_refused_in_one_piece_and_linearised_too():
    net = Sequential((Dense(5), Activation(ReLU()), Dense(1)))
    params, x = drawn(net, rows=4)
    refused("second derivative", net, params, x, function=empirical_jacobian_ntk_block)
    tangent = Linearised(net)
    refused("second derivative", tangent, tangent.start(params), x)


def test_kernels_beyond_the_memory_and_of_no_layers_are_refused():
    params, x = drawn(SMALL, rows=64)
    message = (
        r"0.0011 GiB for a kernel of shape \(1, 384, 384\). .*fewer rows at a time, or "
        r"take products by `empirical_jacobian_operator`\.$"
    )
    refused(message, SMALL, params, x, memory=2e-4)
    refused("for `per_layer=True`", chain, params, x, per_layer=True)
    broken = jax.tree.map(lambda p: p.at[..., 0].set(jnp.nan), params)
    refused("Check the parameters for NaN and their size", SMALL, broken, x[:2])
    broken = jax.tree.map(jnp.float32, broken)
    refused("use float64 if they overflow", SMALL, broken, np.float32(x[:2]))
    fixed = Sequential((Readout(2),))
    refused("parameters that are trained", fixed, drawn(fixed, 1)[0], x)
