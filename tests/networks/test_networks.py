"""The named builders, against the definitions in their papers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
from oracles import assert_mean_matches, relu_network
from widelimit.activations import GELU, ReLU
from widelimit.layers import Activation, Dense, Parameterization
from widelimit.networks import INITIALIZATIONS, mlp, zhu2022_network

D, M, OUT = 5, 7, 3  # inputs, width, outputs

every_start = pytest.mark.parametrize("name", INITIALIZATIONS)


def weights(params):
    return [p["weight"] for p in params if p]


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("bias_std", [None, 0.3])
def test_mlp_has_depth_hidden_layers(depth, bias_std, getkey):
    network = mlp(
        depth=depth,
        width=M,
        outputs=OUT,
        activation=GELU(),
        weight_std=1.3,
        bias_std=bias_std,
        parameterization=Parameterization.NTK,
    )
    widths = [M] * depth + [OUT]
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    assert [layer.features for layer in dense] == widths
    assert {(a.weight_std, a.bias_std, a.parameterization) for a in dense} == {
        (1.3, bias_std, Parameterization.NTK)
    }
    assert network.layers[1::2] == (Activation(GELU()),) * depth
    shapes = [w.shape for w in weights(network.init(getkey(), (D,)))]
    assert shapes == list(zip([D, *widths], widths, strict=False))


def test_mlp_is_a_relu_network_with_one_output_by_default():
    network = mlp(depth=2, width=M)
    assert network.output_shape((D,)) == (1,)
    assert network.layers[1] == Activation(ReLU())
    assert network.layers[0] == Dense(M, weight_std=2**0.5)


@every_start
@pytest.mark.parametrize("depth", [1, 3])
def test_zhu2022_weights_have_the_stds_of_table_1(name, depth, getkey):
    network = zhu2022_network(depth=depth, width=M, outputs=OUT, initialization=name)
    keys = jax.random.split(getkey(), 1000)
    matrices = weights(jax.vmap(lambda k: network.init(k, (D,)))(keys))
    first, hidden, last = cases.BETAS[name](D, M, OUT)
    betas = [first, *[hidden] * (depth - 1), last]
    assert len(matrices) == depth + 1  # L counts weight matrices
    for matrix, beta in zip(matrices, betas, strict=True):
        assert_mean_matches(np.square(matrix).mean((1, 2)), beta**2)
        assert_mean_matches(np.asarray(matrix).mean((1, 2)), 0.0)


@every_start
def test_zhu2022_function_is_equation_2(name, getkey):
    network = zhu2022_network(
        depth=2, width=M, outputs=OUT, initialization=name, alpha=1.7
    )
    params = network.init(getkey(), (D,))
    x = jax.random.normal(getkey(), (4, D))
    _, outputs = relu_network([np.asarray(w) for w in weights(params)], x)
    np.testing.assert_allclose(network.apply(params, x), outputs / 1.7, rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_zhu2022_non_lazy_exponent(exponent, getkey):
    network = zhu2022_network(
        depth=2, width=M, outputs=OUT, initialization="non-lazy", exponent=exponent
    )
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    for layer in dense:
        assert layer.init_std(D) == pytest.approx(M**-exponent, rel=1e-14)
        assert layer.forward_scale(D) == 1


def test_zhu2022_initialisations_are_one_function_without_init():
    bare = {
        zhu2022_network(
            depth=2, width=M, outputs=OUT, initialization=name, alpha=1.7
        ).without_init((D,))
        for name in INITIALIZATIONS
    }
    assert len(bare) == 1
    other = zhu2022_network(depth=2, width=M, outputs=OUT, alpha=1.6)
    assert other.without_init((D,)) not in bare


def test_equal_arguments_build_equal_networks():
    arguments = {"depth": 2, "width": M, "outputs": OUT, "initialization": "ntk"}
    one, other = (zhu2022_network(**arguments) for _ in range(2))
    assert one == other and hash(one) == hash(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": -1}, "`mlp` needs `depth >= 0`. Got `depth=-1`"),
        ({"width": 0}, "`features >= 1`. Got `features=0`"),
        ({"outputs": 0}, "`features >= 1`. Got `features=0`"),
        ({"weight_std": -1.0}, "Got `weight_std=-1.0`"),
    ],
    ids=repr,
)
def test_mlp_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        mlp(**{"depth": 2, "width": M, "outputs": OUT} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "`zhu2022_network` needs `depth >= 1`. Got `depth=0`"),
        ({"width": 0}, "`width >= 1`. Got `width=0`"),
        ({"outputs": 0}, "`outputs >= 1`. Got `outputs=0`"),
        (
            {"initialization": "xavier"},
            "one of 'he', 'lecun', 'ntk', 'non-lazy'. Got `initialization='xavier'`",
        ),
        ({"exponent": 0.0}, "`exponent > 0`. Got `exponent=0.0`"),
        ({"alpha": -2.0}, "`alpha > 0`. Got `alpha=-2.0`"),
        ({"alpha": math.inf}, "Got `alpha=inf`"),
    ],
    ids=repr,
)
def test_zhu2022_network_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        zhu2022_network(**{"depth": 2, "width": M, "outputs": OUT} | change)


def test_outputs_do_not_depend_on_rows_beside(getkey):
    network = zhu2022_network(depth=2, width=M, outputs=OUT)
    params = network.init(getkey(), (D,))
    x = jax.random.normal(getkey(), (4, D))
    np.testing.assert_allclose(
        network.apply(params, x)[1:], network.apply(params, x[1:]), rtol=1e-12
    )
    assert jnp.all(network.apply(params, jnp.zeros((2, D))) == 0)
