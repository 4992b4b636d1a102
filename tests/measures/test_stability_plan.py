"""The choice between exact and sampled stability, and what comes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import oracles
from oracles import unchecked
from widelimit.activations import ReLU
from widelimit.attacks import PGD, attack, minimal_flip, smallest_radius
from widelimit.kernels import empirical_jacobian_ntk, empirical_ntk
from widelimit.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Pool,
    Residual,
    Sequential,
)
from widelimit.measures import (
    input_jacobian,
    perturbation_stability,
    sampled_perturbation_stability,
    stability_plan,
)
from widelimit.networks import mlp

SHAPE = (6, 5, 2)
X = jnp.asarray(np.random.default_rng(3).normal(size=(5, *SHAPE)))
BLOCK = Sequential((Conv(4, (3, 3)), BatchNorm(), Activation(ReLU()), Conv(4, (3, 3))))
NETWORK = Sequential(
    (
        Conv(4, (3, 3), strides=(2, 2), padding="centered"),
        BatchNorm(),
        Activation(ReLU()),
        Residual(BLOCK),
        Pool("average"),
        Dense(3),
    )
)


def function(params):
    return lambda x: NETWORK(params, x[None])[0]


def trained(key):
    """Parameters whose running statistics are those of no batch here."""
    params = NETWORK.init(key, SHAPE)
    _, params = NETWORK.apply_training(params, 3 * X + 1)
    return params


def by_finite_differences(f, radius):
    """From Jacobians by differences, their singular values and SciPy's quadrature."""
    expected = []
    for x in np.asarray(X):
        rows = oracles.central_differences(
            lambda v: f(jnp.asarray(v).reshape(SHAPE)), x.ravel()
        )
        d = x.size
        norm = oracles.mean_gaussian_norm(np.linalg.svd(rows, compute_uv=False) ** 2)
        expected.append(radius * d / (d + 1) * norm / oracles.mean_chi(d))
    return expected


def test_a_batch_normalised_network_is_measured_as_it_evaluates(getkey):
    params = trained(getkey())
    plan = stability_plan(function(params), X)
    assert plan.method == "exact"
    found = jax.jit(lambda p, x: plan.measure(function(p), x, radius=0.3))(params, X)
    expected = by_finite_differences(jax.jit(function(params)), 0.3)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.standard_error, np.zeros(5))


def test_a_network_in_training_mode_is_refused(getkey):
    params = NETWORK.init(getkey(), SHAPE)

    def hidden(params, x):
        return NETWORK.apply_training(params, x)[0]

    calls = {
        "stability_plan": stability_plan,
        "perturbation_stability": perturbation_stability,
        "sampled_perturbation_stability": lambda f, x: sampled_perturbation_stability(
            f, x, key=getkey()
        ),
        "input_jacobian": input_jacobian,
    }
    for name, measure in calls.items():
        message = rf"`{name}` needs .*Got a `tuple` of 2.*evaluation mode.*`network"
        with pytest.raises(ValueError, match=message):
            measure(lambda row: (row, row), X[:, 0, 0])
        message = rf"`{name}` needs .*evaluation mode.*by the batch.*not `network.apply"
        with pytest.raises(ValueError, match=message):
            measure(lambda row: hidden(params, row[None])[0], X)
    for mode in (hidden, NETWORK.apply_training):
        hit = (PGD(0.1, steps=1), mode, params, X, np.eye(3)[[0] * 5])
        with pytest.raises(ValueError, match="`attack` needs .*evaluation mode"):
            attack(*hit)
        with pytest.raises(ValueError, match="`smallest_radius` needs .*evaluation mo"):
            smallest_radius(*hit, high=1.0)
        with pytest.raises(ValueError, match="`minimal_flip` needs .*evaluation mode"):
            minimal_flip(*hit[1:4], max_distance=1.0)
    for kernel in (empirical_ntk, empirical_jacobian_ntk):
        with pytest.raises(
            ValueError, match=f"^`{kernel.__name__}` needs .*evaluation"
        ):
            kernel(hidden, params, X)
    NETWORK.apply_training(params, X)  # it trains as before


def test_tiles_and_seeds_change_nothing(getkey):
    params = [trained(getkey()), trained(getkey())]
    exactly = jax.jit(lambda p: perturbation_stability(function(p), X))
    expected = [exactly(p) for p in params]
    plan = stability_plan(function(params[0]), X)
    small = stability_plan(function(params[0]), X, memory=plan.bytes * 0.5)
    assert 1 <= small.batch_size < plan.batch_size == 5
    assert small.bytes <= plan.bytes * 0.5
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *params)
    found = jax.jit(jax.vmap(lambda p: small.measure(function(p), X).mean))(stacked)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_many_outputs_are_sampled(getkey):
    net = mlp(depth=1, width=16, outputs=30)
    params = net.init(getkey(), (40,))
    x = jax.random.normal(getkey(), (50, 40))

    def f(row):
        return net(params, row[None])[0]

    plan = stability_plan(f, x, draws=20)
    assert plan.method == "sampled" and plan.sampled < plan.exact
    found = jax.jit(lambda key: plan.measure(f, x, radius=0.3, key=key))(getkey())
    exact = jax.jit(lambda x: perturbation_stability(f, x, radius=0.3))(x)
    z = np.asarray((found.mean - exact) / found.standard_error)
    assert abs(z.mean()) < 5 / 50**0.5 and abs(z).max() < 6
    with pytest.raises(ValueError, match="needs a `key` to draw perturbations"):
        plan.measure(f, x)


def test_costs_are_in_forward_passes(getkey):
    # A linear map of equal cost in all directions: one pass forward, one per output.
    matrix = jax.random.normal(getkey(), (6, 40))
    plan = stability_plan(lambda x: matrix @ x, jnp.ones((3, 40)), draws=9)
    assert plan.exact == pytest.approx(7, rel=0.05)
    assert plan.sampled == pytest.approx(10, rel=0.05)
    wide = stability_plan(lambda x: matrix.T @ x, jnp.ones((3, 6)), draws=9)
    assert wide.exact == pytest.approx(7, rel=0.05)  # one forward derivative a feature
    assert str(plan) == plan.text
    assert "exact 7 forward passes" in plan.text and "Takes exact" in plan.text


def test_a_memory_too_small_is_refused():
    with pytest.raises(ValueError, match=r"needs memory for one input.*`memory=1000`"):
        stability_plan(lambda x: jnp.ones((5, 400)) @ x, jnp.ones((3, 400)), memory=1e3)
    with unchecked(), pytest.raises(ValueError, match="`draws >= 2`"):
        stability_plan(lambda x: x, X, draws=1)
    with unchecked(), pytest.raises(ValueError, match="whole number as `draws`"):
        stability_plan(lambda x: x, X, draws=2.5)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="needs at least one input"):
        stability_plan(lambda image: image.sum(), jnp.zeros((0, 2, 2, 1)))


@pytest.mark.parametrize("measure", [stability_plan, perturbation_stability])
def test_networks_and_lists_are_refused(measure):
    name = measure.__name__
    with unchecked(), pytest.raises(ValueError, match=f"`{name}` .*Got a network"):
        measure(NETWORK, X)
    with unchecked(), pytest.raises(ValueError, match=f"`{name}` .*as `f`. Got `f='s"):
        measure("stability", X)
    with unchecked(), pytest.raises(ValueError, match=f"`{name}` .*`x`. Got a `list`"):
        measure(lambda row: row, [[1.0, 2.0]])


def test_bytes_are_refused():
    with unchecked(), pytest.raises(ValueError, match="floating-point.*dtype=uint8"):
        stability_plan(lambda image: image.sum(), jnp.ones((3, 2, 2, 1), jnp.uint8))
