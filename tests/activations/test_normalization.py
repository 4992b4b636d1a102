"""Normalised activations, their constants, and their JSON form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
from oracles import crowded_nodes, normal_density, unchecked
from widelimit.activations import (
    GELU,
    Abs,
    AbstractActivation,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Scaled,
    SiLU,
    Sine,
)


def mean_square(phi):
    z, dz = crowded_nodes(np.longdouble(1), step=0.002)
    values = np.asarray(phi(jnp.asarray(np.float64(z))))
    return float(np.sum(dz * normal_density(z, 1) * np.square(values)))


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
def test_normalized_activations_have_mean_square_one(phi):
    unit = phi.normalized()
    rtol = 1e-12 if phi.smooth else 1e-5
    assert abs(mean_square(unit) - 1) < rtol
    assert abs(float(unit.second_moment(jnp.asarray(1.0))) - 1) < 1e-14
    assert abs(phi.c_sigma * mean_square(phi) - 1) < rtol
    assert AbstractActivation.from_json(unit.to_json()) == unit


def test_c_sigma_of_known_functions():
    assert ReLU().c_sigma == pytest.approx(2, rel=1e-15)
    assert Identity().c_sigma == Abs().c_sigma == 1
    assert Polynomial((0, 0, 1)).c_sigma == pytest.approx(1 / 3, rel=1e-15)
    assert Sine().c_sigma == pytest.approx(2 / (1 - math.exp(-2)), rel=1e-14)


def test_c_sigma_is_a_number_of_double_precision_wherever_it_is_asked():
    @jax.jit
    def inside(x):
        assert isinstance(GELU().c_sigma, float)
        return GELU().normalized()(x)

    inside(jnp.ones(2))
    with jax.enable_x64(False):
        assert GELU().c_sigma == pytest.approx(2.351715614073373, rel=1e-14)


def test_no_multiple_of_zero_is_normalized():
    with pytest.raises(ValueError, match=r"finite positive mean square .* Got 0.0 for"):
        Polynomial((0.0,)).normalized()


@pytest.mark.parametrize("phi", cases.ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_lipschitz_constants(phi, order):
    constant = phi.lipschitz(order)
    f = phi
    for _ in range(order + 1):
        f = jax.grad(lambda z, f=f: f(z))
    z = np.linspace(-40, 40, 40001)
    slopes = np.abs(jax.jit(jax.vmap(f))(jnp.asarray(z[z != 0])))
    if constant is None:
        assert isinstance(phi, SiLU) and order == 2
    elif math.isinf(constant):
        kink = order > 0 and not phi.smooth
        assert kink or slopes.max() > 0.5 * slopes[0] > 0
    else:
        np.testing.assert_allclose(slopes.max(), constant, rtol=1e-4, atol=1e-12)


def test_lipschitz_constants_are_known_up_to_order_two():
    with pytest.raises(
        ValueError, match=r"`order` to be one of 0, 1, 2. Got `order=3`"
    ):
        GELU().lipschitz(3)


def test_smoothness_is_that_of_the_function():
    assert Scaled(Erf(), 2.0).smooth and not Scaled(LeakyReLU(0.1), 2.0).smooth


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Scaled(3.0, 2.0),
            r"needs an activation such as .* Got `function=3.0`",
        ),  # pyright: ignore
        (lambda: Scaled(Erf(), math.inf), r"finite numbers in `factor`. Got inf"),
        (lambda: Polynomial(()), r"at least one coefficient. Got `coefficients=\(\)`"),
        (lambda: Polynomial((1.0, math.nan)), r"finite numbers in `coefficients`"),
        (lambda: Sine(0.0), r"`Sine` needs a finite `frequency > 0`. Got .*0.0"),
    ],
)
def test_descriptions_are_checked(build, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        build()
