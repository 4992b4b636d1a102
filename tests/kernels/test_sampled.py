"""Averages of finite networks' kernels over their random initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_cases import DIRECT, NTK

from oracles import unchecked
from widelimit.activations import Sine, Tanh
from widelimit.kernels import (
    empirical_nngp_block,
    empirical_ntk_block,
    limit_kernels,
    sampled,
    sampled_kernels,
)
from widelimit.layers import (
    Activation,
    Conv,
    Dense,
    Pool,
    Readout,
    Residual,
    Scale,
    Sequential,
)
from widelimit.networks import mlp

WIDTH = 96
X = np.random.default_rng(5).standard_normal((5, 3))
DRAWS = 23  # in chunks of two, the last of them half full
SMALL = Sequential(
    (Dense(4, 1.2, 0.3), Activation(Sine()), Dense(2, 0.9, None, 1.0, NTK))
)

WIDE = {
    "dense": mlp(
        depth=2,
        width=WIDTH,
        outputs=2,
        activation=Tanh(),
        weight_std=1.4,
        bias_std=0.4,
        parameterization=NTK,
    ),
    # du2019's form: features keep a mean, as the branch is added behind it.
    "residual": Sequential(
        (
            Dense(WIDTH, 0.8, parameterization=DIRECT),
            Activation(Sine(1.1)),
            Residual(
                Sequential(
                    (
                        Dense(WIDTH, 1.2, 0.3, parameterization=NTK),
                        Activation(Tanh()),
                        Scale(0.7),
                    )
                )
            ),
            Dense(WIDTH, 1.1, parameterization=NTK),
            Activation(Sine()),
            Readout(),
        )
    ),
    "convolutional": Sequential(
        (
            Conv(WIDTH, (3,), 1.2, 0.3, parameterization=NTK),
            Activation(Sine(0.8)),
            Residual(
                Sequential(
                    (
                        Conv(WIDTH, (2,), 1.3, 0.2, parameterization=NTK),
                        Activation(Tanh()),
                    )
                )
            ),
            Pool("sum"),
            Readout(),
        )
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_wide_networks_average_to_the_limit(name, getkey):
    network = WIDE[name]
    x1 = np.stack([X, X**2], -1) if name == "convolutional" else X
    x2 = None if name == "dense" else x1[1:]
    found = sampled_kernels(network, x1, x2, draws=400, key=getkey(), dtype="float32")
    limit = limit_kernels(network, x1, x2)
    for kernel in ("nngp", "ntk"):
        value, expected = getattr(found, kernel), getattr(limit, kernel)
        error = getattr(found, f"{kernel}_error")
        size = np.abs(expected).max()
        assert 1e-3 < (error / size).max() < 0.05  # neither vacuous nor too small
        assert (abs(value - expected) <= 5 * error + size / WIDTH).all()


def outer(network, params, x):
    """Mean over outputs of the products of their values."""
    y = network.apply(params, x)
    return y @ y.T / y.shape[1]


@pytest.mark.parametrize(
    "ends", ["readout", pytest.param("activation", marks=pytest.mark.slow)]
)
def test_means_and_errors_are_those_of_draws_one_by_one(ends, getkey):
    network = SMALL if ends == "readout" else Sequential(SMALL.layers[:2])
    key, x = getkey(), jnp.asarray(X)
    own = empirical_nngp_block if ends == "readout" else outer

    @jax.jit
    def one(number):
        params = network.init(jax.random.fold_in(key, number), (3,))
        kernels = {"nngp": own(network, params, x)}
        if ends == "readout":
            kernels["ntk"] = empirical_ntk_block(network, params, x)
        return kernels

    found = sampled_kernels(network, X, draws=DRAWS, key=key, ntk=ends == "readout")
    assert found.draws == DRAWS and (found.ntk is None) == (ends != "readout")
    each = [one(number) for number in range(DRAWS)]
    for kernel in each[0]:
        value, error = getattr(found, kernel), getattr(found, f"{kernel}_error")
        values = np.stack([kernels[kernel] for kernels in each])
        np.testing.assert_allclose(value, values.mean(0), rtol=1e-11)
        expected = values.std(0, ddof=1) / np.sqrt(DRAWS)
        np.testing.assert_allclose(error, expected, rtol=1e-9)
        np.testing.assert_array_equal(value, value.T)


def test_the_number_of_devices_and_rounds_changes_no_bit(getkey, monkeypatch):
    rounds, chunks = [], sampled._chunks
    monkeypatch.setattr(sampled, "_chunks", lambda *a: rounds.append(a) or chunks(*a))
    rest = jnp.asarray(X), None, DRAWS, getkey(), True
    two = sampled._moments(SMALL, *rest, 2.0**30, 2)
    assert len(rounds) == 1 and len(jax.devices()) == 2
    one = sampled._moments(SMALL, *rest, 1.2e4, 1)  # bytes that call for rounds
    assert len(rounds) == 4
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("`draws >= 2`. Got `draws=1`", {"draws": 1}),
        ("`dtype` to be one of", {"dtype": "float16"}),
        ("for one draw. Got `memory=1e-07`", {"memory": 1e-7}),
        ("finite `memory > 0`", {"memory": -1.0}),
        (r"`x2.shape=\(5, 2\)`", {"x2": X[:, 1:]}),
        ("finite numbers in `x2`", {"x2": X + np.inf}),
        ("finite outputs and gradients", {"x1": 1e300 * X}),
        ("inputs that are vectors", {"x1": X[..., None]}),
        ("needs a random key. Got `key=0`. Make one", {"key": 0}),
        ("needs a random key. Got `key=None`", {"key": None}),
        (
            r"needs one random key. Got several, `key.shape=\(3,\)`",
            {"key": jax.random.split(jax.random.key(0), 3)},
        ),
        (
            r"needs one random key. Got several, `key.shape=\(3, 2\)`",
            {"key": jax.random.split(jax.random.PRNGKey(0), 3)},
        ),
        ("description of a network.*`network=<function", {"network": lambda p, x: x}),
    ],
)
def test_bad_input_is_refused(message, options, getkey):
    common = {"network": SMALL, "x1": X, "draws": DRAWS, "key": getkey()}
    with unchecked(), pytest.raises(ValueError, match=message):
        sampled_kernels(**common | options)
