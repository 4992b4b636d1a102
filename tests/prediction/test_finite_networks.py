"""Wide networks, trained on Eq. (1) by gradient descent, against the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.activations import Erf
from widelimit.networks import kim2023_network
from widelimit.prediction import function_at, robust_flow, trained_stability

N, D, LAM, WIDTH, STEPS = 5, 2, 0.1, 1024, 300


@pytest.mark.slow
def test_a_wide_network_follows_the_limit(getkey):
    rng = np.random.default_rng(0)
    x, new = (
        a / np.linalg.norm(a, axis=1)[:, None] for a in rng.normal(size=(2, N, D))
    )
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    net = kim2023_network(depth=2, width=WIDTH, activation=Erf(), kappa=0.1)
    start = net.init(getkey(), (D,))

    def f(params, row):
        return net.apply(params, row[None])[0, 0]

    def loss(params):
        rows = jnp.asarray(x)
        values = jax.vmap(f, (None, 0))(params, rows)
        slopes = jax.vmap(jax.grad(f, 1), (None, 0))(params, rows)
        return (jnp.sum((values - y) ** 2) + LAM * jnp.sum(slopes**2)) / (2 * N)

    before = [function_at(lambda row: f(start, row), a) for a in (x, new)]
    flow = robust_flow(net, x, y, regularization=LAM, initial=before[0])
    rate = 0.25 * flow.largest_learning_rate

    @jax.jit
    def train(params):
        def step(params, _):
            value, slope = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, g: p - rate * g, params, slope), value

        return jax.lax.scan(step, params, None, length=STEPS)

    trained, losses = train(start)
    after = function_at(lambda row: f(trained, row), new)
    descent = flow.descent(rate)
    found = descent.at(new, STEPS, initial=before[1])
    moved = np.abs(found.values - before[1].values).max()
    assert moved > 0.5
    np.testing.assert_allclose(after.values, found.values, atol=0.03)
    np.testing.assert_allclose(after.gradients, found.gradients, atol=0.3)
    expected = descent.loss(np.arange(STEPS))
    np.testing.assert_allclose(losses, expected, rtol=0.15, atol=0.01)
    stability = trained_stability(descent, new, STEPS, initial=before[1])
    angle = 2 / np.pi * D / (D + 1)  # mean |cos| in the plane, mean of the radius
    finite = angle * np.linalg.norm(after.gradients, axis=1)
    np.testing.assert_allclose(stability, finite, atol=0.1)
