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
X = jnp.asarray(np.random.default_rng(5).normal(size=(2, D)))

# initialisation, depth, width, outputs, alpha
SETTINGS = [
    ("he", 1, 3, 2, 1.0),
    ("he", 3, 19, 4, 1.7),
    ("lecun", 3, 11, 1, 0.6),
    ("ntk", 2, 7, 6, 2.3),
    ("non-lazy", 4, 7, 2, 0.6),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_mean_square_over_initialisations(setting, getkey):
    name, depth, width, outputs, alpha = setting
    net = zhu2022_network(
        depth=depth, width=width, outputs=outputs, initialization=name, alpha=alpha
    )

    @jax.jit
    @jax.vmap
    def one_network(key):
        params = net.init(key, (D,))
        f = lambda x: net.apply(params, x[None])[0]  # noqa: E731
        jacobians = input_jacobian(f, X)
        stability = perturbation_stability(f, X, radius=RADIUS)
        return jnp.sum(jnp.square(jacobians), axis=(1, 2)), stability

    squares, stability = map(np.asarray, one_network(jax.random.split(getkey(), 4000)))
    beta_1, beta, beta_last = cases.BETAS[name](D, width, outputs)
    gamma = beta * (width / 2) ** 0.5
    chain = gamma ** (2 * (depth + 1 - 2))  # L = depth + 1
    lemma = width * outputs * beta_1**2 * beta_last**2 * chain / 2 / alpha**2
    mean_square = RADIUS**2 * D / (D + 2)  # of a point of the ball
    # A perturbation is isotropic, with mean square `mean_square / D` along each axis.
    assert_mean_matches(squares * mean_square / D, np.full(2, lemma * mean_square))
    # The mean lies below the root of the mean square, in every network and overall.
    assert (stability**2 <= squares * mean_square / D * (1 + 1e-12)).all()
    assert (stability.mean(0) ** 2 < lemma * mean_square).all()
