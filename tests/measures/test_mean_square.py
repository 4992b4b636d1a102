"""zhu2022, Lemma 5, as an equality: the mean square at initialisation, at any width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cases
from oracles import assert_mean_matches
from widelimit.measures import input_jacobian, perturbation_stability
from widelimit.networks import zhu2022_network

D, RADIUS = 5, 0.3
MEAN_SQUARE = RADIUS**2 * D / (D + 2)  # of a point of the ball
X = jnp.asarray(np.random.default_rng(5).normal(size=(2, D)))

# initialisation, depth, width, outputs, alpha
SETTINGS = [
    ("he", 1, 3, 2, 1.0),
    ("he", 3, 19, 4, 1.7),
    ("lecun", 3, 11, 1, 0.6),
    ("ntk", 2, 7, 6, 2.3),
    ("non-lazy", 4, 7, 2, 0.6),
]


def measure(setting, quantity, keys):
    """`quantity` of the function of every network, and the mean square of Lemma 5."""
    name, depth, width, outputs, alpha = setting
    net = zhu2022_network(
        depth=depth, width=width, outputs=outputs, initialization=name, alpha=alpha
    )

    @jax.jit
    @jax.vmap
    def one_network(key):
        params = net.init(key, (D,))
        return quantity(lambda x: net.apply(params, x[None])[0])

    beta_1, beta, beta_last = cases.BETAS[name](D, width, outputs)
    gamma = beta * (width / 2) ** 0.5
    chain = gamma ** (2 * (depth + 1 - 2))  # L = depth + 1
    lemma = width * outputs * beta_1**2 * beta_last**2 * chain / 2 / alpha**2
    return one_network(keys), lemma * MEAN_SQUARE


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_mean_square_over_initialisations(setting, getkey):
    def square(f):
        # A perturbation is isotropic: its mean square divides among the axes.
        jacobians = input_jacobian(f, X)
        return jnp.sum(jnp.square(jacobians), axis=(1, 2)) * MEAN_SQUARE / D

    squares, lemma = measure(setting, square, jax.random.split(getkey(), 4000))
    assert_mean_matches(squares, np.full(2, lemma))


def test_stability_lies_below_the_root_of_the_mean_square(getkey):
    def stability(f):
        return perturbation_stability(f, X, radius=RADIUS)

    values, lemma = measure(SETTINGS[1], stability, jax.random.split(getkey(), 500))
    mean = np.asarray(values).mean(0)
    assert (mean**2 < lemma).all() and (mean**2 > 0.5 * lemma).all()
