"""What every attack keeps, on every kind of model and targets."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import Tanh
from widelimit.attacks import PGD, AbstractAttack, Found, GradientStep, attack
from widelimit.networks import mlp, wang2022_network
from widelimit.training import Linearised

N, D = 9, 6


class Everything(AbstractAttack):
    """A search that returns nonsense: the contract must hold for it too."""

    radius: float
    norm: str
    low: float | None = None
    high: float | None = None
    far: float = 1e3

    def search(self, value, x, keys):
        draw = lambda key: jax.random.normal(key, x.shape[1:], x.dtype)  # noqa: E731
        away = jax.vmap(draw)(keys)
        away = away.at[0].set(jnp.nan)
        return Found(x + self.far * away, jnp.ones(len(x), bool))


def methods(norm, radius=0.4, **box):
    return {
        "step": GradientStep(3.0, radius=radius, norm=norm, **box),
        "pgd": PGD(radius, norm, steps=7, **box),
        "restarts": PGD(radius, norm, steps=4, restarts=3, **box),
        "raw": PGD(radius, norm, steps=5, rule="raw", step_size=0.5, **box),
        "random": PGD(radius, norm, steps=5, random_start=True, **box),
        "everything": Everything(radius, norm, **box),
    }


NAMES = list(methods("l2"))


def bound(params, x):
    return jnp.sin(3 * x[:, :2] @ params)


@pytest.fixture
def x(getkey):
    return jax.random.uniform(getkey(), (N, D), jnp.float32)


def problems(getkey):
    """Models with targets: two classes, several, and a regression."""
    keys = [getkey() for _ in range(5)]
    smooth = mlp(depth=2, width=8, activation=Tanh(), outputs=3)
    relu = wang2022_network(width=16)
    tangent = Linearised(relu)
    signs = jnp.where(jax.random.bernoulli(keys[0], shape=(N, 1)), 1.0, -1.0)
    classes = jax.nn.one_hot(jax.random.randint(keys[1], (N,), 0, 3), 3)
    start = cast(relu.init(keys[2], (D,)))
    return {
        "classes": (smooth, cast(smooth.init(keys[3], (D,))), classes, {}),
        "cross-entropy": (
            smooth, cast(smooth.init(keys[3], (D,))), classes,
            {"loss": "cross-entropy"},
        ),
        "relu": (relu, start, signs, {"loss": "logistic"}),
        "linearised": (tangent, tangent.start(start), signs, {}),
        "regression": (
            bound, jax.random.normal(keys[4], (2, 2), jnp.float32),
            jnp.zeros((N, 2)), {"tolerance": 0.3},
        ),
    }  # fmt: skip


def cast(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float32), tree)


def exact_distances(points, x, norm):
    gaps = [
        [Fraction(float(a)) - Fraction(float(b)) for a, b in zip(p, q, strict=True)]
        for p, q in zip(np.asarray(points), np.asarray(x), strict=True)
    ]
    if norm == "l2":
        return [sum(g * g for g in row) for row in gaps]
    return [max(map(abs, row)) ** 2 for row in gaps]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", NAMES)
def test_points_are_inside_and_losses_not_below(name, norm, x, getkey):
    apply, params, targets, options = problems(getkey)["relu"]
    method = methods(norm, low=0.0, high=1.0)[name]
    found = attack(method, apply, params, x, targets, **options)
    limit = Fraction(0.4) ** 2
    assert max(exact_distances(found.points, x, norm)) <= limit
    assert found.points.min() >= 0 and found.points.max() <= 1
    assert np.all(found.loss_after >= found.loss_before)
    again = np.logaddexp(
        0, -np.asarray(apply(params, jnp.asarray(found.points)) * targets)[:, 0]
    )
    np.testing.assert_allclose(found.loss_after, again, rtol=1e-5)
    right = np.asarray(apply(params, jnp.asarray(found.points)) * targets)[:, 0] > 0
    assert np.array_equal(found.correct_after, right)

    none = methods(norm, 0.0, low=0.0, high=1.0)[name]  # the identity
    found = attack(none, apply, params, x, targets, **options)
    assert np.array_equal(found.points, np.asarray(x)) and not found.distance.any()


@pytest.mark.parametrize("problem", ["classes", "cross-entropy", "linearised",
                                     "regression"])  # fmt: skip
def test_models_and_targets(problem, x, getkey):
    apply, params, targets, options = problems(getkey)[problem]
    method = PGD(0.6, steps=20)
    found = attack(method, apply, params, x, targets, batch_size=4, **options)
    assert np.all(found.loss_after >= found.loss_before)
    assert np.mean(found.loss_after > found.loss_before) > 0.8
    outputs = np.asarray(apply(params, jnp.asarray(found.points)))
    if problem == "regression":
        right = np.linalg.norm(outputs - np.asarray(targets), axis=1) <= 0.3
    elif problem == "linearised":
        right = (outputs * np.asarray(targets))[:, 0] > 0
    else:
        right = outputs.argmax(axis=1) == np.asarray(targets).argmax(axis=1)
    assert np.array_equal(found.correct_after, right)
    assert np.array_equal(found.success, found.correct_before & ~right)
    kept = int(np.sum(found.correct_before & right))
    assert found.robust_accuracy.count == kept and found.robust_accuracy.total == N


@pytest.mark.parametrize("rule", ["raw", "normalized"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_one_step_of_pgd_is_the_gradient_step(norm, rule, x, getkey):
    apply, params, targets, _ = problems(getkey)["classes"]
    size = 0.05
    pgd = PGD(0.4, norm, steps=1, step_size=size, rule=rule)
    one = attack(pgd, apply, params, x, targets)
    step = GradientStep(size, radius=0.4, norm=norm, rule=rule)
    two = attack(step, apply, params, x, targets)
    np.testing.assert_allclose(one.points, two.points, rtol=1e-6)
    assert one.distance.max() > 0.01

    def worst(point, target):
        outputs = apply(params, point[None])[0]
        return jnp.max(jnp.where(target > 0, -jnp.inf, outputs)) - outputs @ target

    g = jax.vmap(jax.grad(worst))(x, targets.astype(x.dtype))
    if rule == "normalized":
        length = jnp.linalg.norm(g, axis=1, keepdims=True)
        g = g / length if norm == "l2" else jnp.sign(g)
    np.testing.assert_allclose(one.points, x + size * g, rtol=1e-5)


def test_results_depend_on_the_key_and_the_row_alone(x, getkey):
    apply, params, targets, _ = problems(getkey)["relu"]
    method = PGD(0.4, steps=3, restarts=2, random_start=True)

    def points(key, **options):
        key = jax.random.key(key)
        return attack(method, apply, params, x, targets, key=key, **options).points

    assert np.array_equal(points(3), points(3))
    np.testing.assert_allclose(points(3), points(3, batch_size=4), rtol=1e-4)
    assert not np.array_equal(points(3), points(4))


def test_every_input_may_have_its_own_radius(x, getkey):
    apply, params, targets, _ = problems(getkey)["relu"]
    radii = np.linspace(0, 0.8, N)
    found = attack(PGD(radii, steps=9), apply, params, x, targets, batch_size=4)
    assert np.all(found.distance <= radii) and found.distance[0] == 0
    one = attack(PGD(float(radii[5]), steps=9), apply, params, x[5:6], targets[5:6])
    np.testing.assert_allclose(found.points[5], one.points[0], rtol=1e-5)


def test_images_are_attacked_in_the_norm_of_all_their_entries(getkey):
    images = jax.random.normal(getkey(), (5, 3, 2, 1), jnp.float32)
    weights = jax.random.normal(getkey(), (6, 1), jnp.float32)

    def apply(params, x):
        return x.reshape(len(x), -1) @ params

    targets = jnp.sign(apply(weights, images))
    found = attack(PGD(0.3, steps=5), apply, weights, images, targets)
    assert found.points.shape == images.shape
    rise = 0.3 * np.linalg.norm(np.asarray(weights))
    np.testing.assert_allclose(found.loss_after - found.loss_before, rise, rtol=1e-4)


BAD = {
    "finite `radius >= 0`": (PGD, {"radius": float("inf")}),
    "radius >= 0": (PGD, {"radius": -1.0}),
    "one of 'l2', 'linf'": (PGD, {"norm": "l1"}),
    "whole number as `steps`": (PGD, {"steps": 2.5}),
    "restarts >= 1": (PGD, {"restarts": 0}),
    "one of 'normalized', 'raw'": (PGD, {"rule": "fast"}),
    "`step_size > 0`": (PGD, {"step_size": 0.0}),
    "`step > 0`": (GradientStep, {"step": -1.0}),
    "`step > 0`, one number or one": (GradientStep, {"step": np.array([1.0, 0.0])}),
    "low < high": (PGD, {"low": 1.0, "high": 0.0}),
    "inside the attack's box": (PGD, {"low": 0.5}),
    "one `radius`, or one for each of the 9": (PGD, {"radius": np.ones(4)}),
    "one `step_size`, or one for each of the 9": (PGD, {"step_size": np.ones(4)}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_settings(message, x, getkey):
    apply, params, targets, _ = problems(getkey)["relu"]
    kind, settings = BAD[message]
    with unchecked(), pytest.raises(ValueError, match=message):
        method = kind(**{"radius": 1.0} | settings)
        attack(method, apply, params, x, targets)


def test_bad_data(x, getkey):
    apply, params, targets, _ = problems(getkey)["relu"]
    method = PGD(0.1, steps=2)
    with pytest.raises(ValueError, match="labels: \\+1 and -1"):
        attack(method, apply, params, x, 2 * targets)
    with pytest.raises(ValueError, match="one row of targets for each of the 9"):
        attack(method, apply, params, x, targets[:4])
    with pytest.raises(ValueError, match="y\\[:, None\\]"):
        attack(method, apply, params, x, targets[:, 0])
    other = wang2022_network(width=3).init(getkey(), (D,))
    with pytest.raises(ValueError, match="`attack` needs"):
        attack(method, apply, cast(other)[:1], x, targets)
    for wrong in ((None, apply), (PGD, apply), (method, None)):
        with unchecked(), pytest.raises(ValueError, match="`attack` needs"):
            attack(*wrong, params, x, targets)
    with unchecked(), pytest.raises(ValueError, match="random key"):
        attack(method, apply, params, x, targets, key=3)
    with pytest.raises(ValueError, match="as many outputs as targets"):
        attack(method, apply, params, x, jnp.eye(9)[:, :3] + jnp.eye(9)[:, 3:6]
               + jnp.eye(9)[:, 6:])  # fmt: skip
    with pytest.raises(ValueError, match="finite numbers in `x`"):
        attack(method, apply, params, x.at[3, 2].set(jnp.nan), targets)
    with pytest.raises(ValueError, match="finite losses at the inputs.*row 0"):
        attack(method, lambda p, x: x[:, :1] * p, jnp.inf, x, targets)
    with pytest.raises(ValueError, match="`tolerance > 0`"):
        attack(method, apply, params, x, targets, tolerance=0.0)
    with unchecked(), pytest.raises(ValueError, match="`loss` to be one of"):
        attack(method, apply, params, x, targets, loss="hinge")


def test_a_batch_too_large_for_memory_is_refused_with_its_bytes(x):
    def wide(params, x):
        every = jnp.broadcast_to(x[:, :1, None], (len(x), 10**7, 10**5))
        return params * every.sum((1, 2))[:, None]

    with pytest.raises(ValueError, match="GiB.*`batch_size`"):
        attack(PGD(0.1), wide, jnp.float32(1.0), x, jnp.ones((N, 1)))
