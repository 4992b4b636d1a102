"""Training on values and gradients, against NumPy, differences and the linear law."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import erf

from oracles import unchecked
from widelimit.activations import Erf, ReLU
from widelimit.layers import Parameterization
from widelimit.measures import input_jacobian
from widelimit.networks import kim2023_network, mlp
from widelimit.training import JacobianPenalty, Linearised, train

RNG = np.random.default_rng(11)
N, D, M, OUT = 5, 3, 4, 2
X = RNG.normal(size=(N, D))
Y = RNG.normal(size=(N, OUT))
NET = mlp(
    depth=2,
    width=M,
    outputs=OUT,
    activation=Erf(),
    weight_std=1.3,
    bias_std=0.5,
    parameterization=Parameterization.NTK,
)


def flat_start(net, getkey, shape=(D,)):
    params = jax.vmap(lambda k: net.init(k, shape))(jax.random.split(getkey(), 1))
    return params, jax.random.split(getkey(), 1)


def objective(net, params, weight):
    """Eq. (1) with the Jacobian by central differences of the outputs."""

    def f(x):
        return np.asarray(net(params, jnp.asarray(x)))

    step = 1e-4
    jacobian = np.stack(
        [(f(X + step * e) - f(X - step * e)) / (2 * step) for e in np.eye(D)], axis=-1
    )
    return np.sum((f(X) - Y) ** 2) / (2 * N), weight * np.sum(jacobian**2) / (2 * N)


def shifted(params, way, size):
    return jax.tree.map(lambda p, w: p + size * w, params, way)


def test_the_parts_of_the_loss_and_the_step_are_those_of_equation_1(getkey):
    weight, rate = 0.6, 1e-3
    params, keys = flat_start(NET, getkey)
    run = train(
        NET,
        params,
        jnp.asarray(X),
        jnp.asarray(Y),
        loss="squared",
        optimizer=optax.sgd(rate),
        epochs=1,
        batch_size=N,
        keys=keys,
        jacobian_penalty=JacobianPenalty(weight),
    )
    one = jax.tree.map(lambda a: a[0], params)
    value, penalty = objective(NET, one, weight)
    np.testing.assert_allclose(run.loss[0, 0], value, rtol=1e-12)
    np.testing.assert_allclose(run.penalty[0, 0], penalty, rtol=1e-6)
    # The step goes down the objective: by its differences along some directions.
    leaves, structure = jax.tree.flatten(one)
    moved = jax.tree.map(lambda a, b: (a - b[0]) / rate, one, run.params)
    for _ in range(4):
        way = jax.tree.unflatten(structure, [RNG.normal(size=p.shape) for p in leaves])
        ahead, behind = (
            sum(objective(NET, shifted(one, way, size), weight))
            for size in (1e-4, -1e-4)
        )
        slope = sum(
            jax.tree.leaves(jax.tree.map(lambda m, w: np.sum(m * w), moved, way))
        )
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-4, rtol=1e-5)


@pytest.mark.parametrize(("d", "o"), [(3, 2), (2, 5), (4, 1)])
def test_both_modes_give_the_jacobian(getkey, d, o):
    net = mlp(depth=1, width=6, outputs=o, activation=Erf())
    params, x = net.init(getkey(), (d,)), RNG.normal(size=(7, d))
    values, squares = JacobianPenalty(1.0).outputs_and_squares(
        net, params, jnp.asarray(x), getkey()
    )
    w, v = (np.asarray(params[i]["weight"]) for i in (0, 2))
    hidden = x @ w
    slope = 2 / np.sqrt(np.pi) * np.exp(-(hidden**2))
    expected = np.einsum("dm,nm,mo->nod", w, slope, v)
    np.testing.assert_allclose(values, erf(hidden) @ v, rtol=1e-12)
    np.testing.assert_allclose(squares, np.sum(expected**2, (1, 2)), rtol=1e-12)


@pytest.mark.slow
def test_projections_are_unbiased_with_the_variance_they_say(getkey):
    net = mlp(depth=1, width=9, outputs=3, activation=Erf())
    params, x = net.init(getkey(), (4,)), jnp.asarray(RNG.normal(size=(2, 4)))
    penalty = JacobianPenalty(1.0, projections=3)
    draws = 4000
    found = jax.vmap(lambda k: penalty.outputs_and_squares(net, params, x, k)[1])(
        jax.random.split(getkey(), draws)
    )
    jacobians = input_jacobian(lambda row: net(params, row[None])[0], x)
    exact = jnp.sum(jnp.square(jacobians), (1, 2))
    error = jnp.std(found, axis=0) / np.sqrt(draws)
    assert jnp.all(jnp.abs(jnp.mean(found, axis=0) - exact) < 4 * error)
    fourth = jnp.mean((found - exact) ** 4, 0) / jnp.var(found, axis=0) ** 2
    spread = jnp.sqrt((fourth - 1) / draws)  # relative, of a sample variance
    ratio = jnp.var(found, axis=0) / penalty.variance(jacobians)
    assert jnp.all(jnp.abs(ratio - 1) < 4 * spread)
    assert jnp.all(JacobianPenalty(1.0).variance(jacobians) == 0)


@pytest.mark.slow
def test_projected_training_is_reproducible_and_unbiased_at_the_start(getkey):
    params, _ = flat_start(NET, getkey)
    seeds = 200
    params = jax.tree.map(lambda p: jnp.repeat(p, seeds, axis=0), params)
    keys = jax.random.split(getkey(), seeds)

    def trained(projections):
        return train(
            NET,
            params,
            jnp.asarray(X),
            jnp.asarray(Y),
            loss="squared",
            optimizer=optax.sgd(0.02),
            epochs=2,
            batch_size=N,
            keys=keys,
            jacobian_penalty=JacobianPenalty(0.5, projections),
        )

    one, again, exact = trained(2), trained(2), trained(None)
    np.testing.assert_array_equal(one.penalty, again.penalty)
    first = one.penalty[:, 0]
    assert jnp.std(first) > 0
    error = jnp.std(first) / np.sqrt(seeds)
    assert jnp.abs(jnp.mean(first) - exact.penalty[0, 0]) < 4 * error
    assert jnp.all(exact.penalty[:, 1] < exact.penalty[:, 0])


def test_no_weight_is_training_without_penalty(getkey):
    params, keys = flat_start(NET, getkey)
    plan = {
        "loss": "squared",
        "optimizer": optax.sgd(0.05),
        "epochs": 3,
        "batch_size": 2,
        "keys": keys,
    }
    data = (jnp.asarray(X), jnp.asarray(Y))
    plain = train(NET, params, *data, **plan)
    zero = train(NET, params, *data, **plan, jacobian_penalty=JacobianPenalty(0.0))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
        plain.params,
        zero.params,
    )
    assert jnp.all(plain.penalty == 0)


@pytest.mark.slow
def test_the_linearised_network_obeys_the_linear_law(getkey):
    """Lemma 6, mended: z moves by -Theta_lambda z / N, by dense Jacobians."""
    weight, rate, steps = 0.3, 0.2, 7
    net = kim2023_network(depth=2, width=20, activation=Erf())
    params, keys = flat_start(net, getkey)
    one = jax.tree.map(lambda a: a[0], params)
    leaves, structure = jax.tree.flatten(one)
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def both(theta, apply):
        parts = [
            p.reshape(leaf.shape)
            for p, leaf in zip(jnp.split(theta, sizes), leaves, strict=True)
        ]
        tree = jax.tree.unflatten(structure, parts)

        def f(row):
            return apply(tree, row[None])[0, 0]

        values, gradients = jax.vmap(jax.value_and_grad(f))(jnp.asarray(X))
        return jnp.concatenate([values[:, None], gradients], axis=1).ravel()

    start = jnp.concatenate([leaf.ravel() for leaf in leaves])
    scale = np.tile([1.0] + [weight**0.5] * D, N)
    jacobian = scale[:, None] * jax.jacfwd(lambda t: both(t, net))(start)
    gram = np.asarray(jacobian @ jacobian.T)
    targets = np.zeros((N, D + 1))
    targets[:, 0] = Y[:, 0]
    z = scale * np.asarray(both(start, net)) - targets.ravel()
    for _ in range(steps):
        z = z - rate / N * gram @ z
    tangent = Linearised(net)
    run = train(
        tangent,
        tangent.start(params),
        jnp.asarray(X),
        jnp.asarray(Y[:, :1]),
        loss="squared",
        optimizer=optax.sgd(rate),
        epochs=steps,
        batch_size=N,
        keys=keys,
        jacobian_penalty=JacobianPenalty(weight),
    )
    last = jax.tree.map(lambda a: a[0], run.params)
    jax.tree.map(np.testing.assert_array_equal, last["start"], one)

    def f(row):
        return tangent(last, row[None])[0, 0]

    values, gradients = jax.vmap(jax.value_and_grad(f))(jnp.asarray(X))
    found = jnp.concatenate([values[:, None], gradients], axis=1).ravel()
    np.testing.assert_allclose(scale * found - targets.ravel(), z, rtol=1e-9)


def test_kinks_and_wrong_numbers_are_refused(getkey):
    net = mlp(depth=1, width=3, outputs=OUT, activation=ReLU())
    for network in (net, Linearised(net)):
        params, keys = flat_start(net, getkey)
        if network is not net:
            params = network.start(params)
        with pytest.raises(ValueError, match="needs smooth activations"):
            train(
                network,
                params,
                jnp.asarray(X),
                jnp.asarray(Y),
                loss="squared",
                optimizer=optax.sgd(0.1),
                epochs=1,
                batch_size=N,
                keys=keys,
                jacobian_penalty=JacobianPenalty(0.1),
            )
    for weight in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            JacobianPenalty(weight)
    with pytest.raises(ValueError, match="projections"):
        JacobianPenalty(0.1, projections=0)


def test_what_is_no_penalty_and_methods_with_kinks_are_refused(getkey):
    net = mlp(depth=1, width=3, outputs=OUT, activation=ReLU())
    params, keys = flat_start(net, getkey)
    plan = {
        "loss": "squared",
        "optimizer": optax.sgd(0.1),
        "epochs": 1,
        "batch_size": N,
        "keys": keys,
    }
    data = (jnp.asarray(X), jnp.asarray(Y))
    with unchecked(), pytest.raises(ValueError, match="needs a `JacobianPenalty`"):
        train(net, params, *data, **plan, jacobian_penalty=0.1)
    with pytest.raises(ValueError, match="needs smooth activations"):
        train(net.apply, params, *data, **plan, jacobian_penalty=JacobianPenalty(0.1))

    def flat(params, x):
        return net(params, x)[:, 0]

    with pytest.raises(ValueError, match=r"outputs `\(n, o\)`. Got outputs of shape"):
        train(flat, params, *data, **plan, jacobian_penalty=JacobianPenalty(0.1))
    with unchecked(), pytest.raises(ValueError, match="floating-point"):
        train(net, params, jnp.ones((N, D), int), data[1], **plan)
    with unchecked():
        assert JacobianPenalty(np.float32(0.5)) == JacobianPenalty(0.5)
        assert isinstance(JacobianPenalty(np.float32(0.5)).regularization, float)


@pytest.mark.parametrize("wrong", ["mlp", None, [1]])
def test_what_is_no_network_is_not_linearised(wrong):
    with unchecked(), pytest.raises(ValueError, match="`Linearised` needs the descr"):
        Linearised(wrong)


@pytest.mark.parametrize("wrong", ["text", [1.0], {"start": 1.0}, {}])
def test_parameters_that_are_not_linearised_are_named(wrong):
    tangent = Linearised(mlp(depth=1, width=2))
    with unchecked(), pytest.raises(ValueError, match="`start` and `moved`"):
        tangent(wrong, jnp.ones((1, 3)))
