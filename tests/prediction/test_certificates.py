"""Certified radii, against attacks and brute force over distances of features."""

import jax
import numpy as np
import pytest

from oracles import unchecked
from widelimit.activations import GELU, Erf
from widelimit.kernels import limit_kernels
from widelimit.networks import kim2023_network
from widelimit.prediction import (
    certified_radius,
    eigenfeatures,
    feature_distance,
    gaussian_posterior,
    robust_flow,
    trained_stability,
)
from widelimit.prediction.certificates import _over
from widelimit.prediction.gradient_covariance import own_bends, own_blocks

N, D, STARTS = 8, 2, 40
NETS = {
    "erf": kim2023_network(depth=2, width=3, activation=Erf()),
    "gelu": kim2023_network(depth=1, width=3, activation=GELU()),
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
X /= np.linalg.norm(X, axis=1, keepdims=True)
NEW = 0.9 * RNG.normal(size=(N, D))
Y = np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)
THREE = np.eye(3)[np.arange(N) % 3]


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(
    scope="module",
    params=[pytest.param("trained", marks=pytest.mark.slow), "posterior"],
)
def f(request):
    if request.param == "trained":
        flow = robust_flow(NETS["gelu"], X, Y, regularization=0.1, ridge=1e-3)
        return flow.predictor()
    return gaussian_posterior(NETS["erf"], X, Y, noise=0.01).mean_function


def attacked(f, x, radius, direction, steps=25):
    """Smallest `direction(f)` that projected gradient descent finds in each ball.

    From the centre's surroundings, many starts per input; every visited point counts.
    """
    rng = np.random.default_rng(1)
    moves = rng.normal(size=(STARTS, *x.shape))
    moves *= (radius / np.linalg.norm(moves, axis=-1))[..., None]
    best = np.full(len(x), np.inf)
    for step in range(steps):
        found = f.at((x + moves).reshape(-1, x.shape[1]))
        values, slopes = direction(found)
        best = np.minimum(best, values.reshape(STARTS, -1).min(0))
        slopes = slopes.reshape(moves.shape)
        sizes = np.maximum(np.linalg.norm(slopes, axis=-1, keepdims=True), 1e-300)
        length = radius[:, None] * 2.0 ** (-step / 4)
        moves = moves - length * slopes / sizes
        norms = np.linalg.norm(moves, axis=-1)
        moves *= np.minimum(1, radius / np.maximum(norms, 1e-300))[..., None]
    return best


def test_no_attack_within_the_radius_turns_a_sign(f):
    found = certified_radius(f, NEW)
    signs = np.sign(f(NEW))
    assert np.all(found.radius > 0) and np.all(found.radius < found.max_radius)
    values = f.at(NEW).values
    np.testing.assert_allclose(found.margin, np.abs(values), rtol=1e-12)
    np.testing.assert_allclose(f(NEW), values, rtol=1e-10)  # by another sum

    def direction(there):
        wide = np.tile(signs, STARTS)
        return wide * there.values, wide[:, None] * there.gradients

    assert np.all(attacked(f, NEW, found.radius, direction) > 0)
    # They say something: a few times further, some signs do turn.
    assert np.any(attacked(f, NEW, 4 * found.radius, direction) < 0)


def test_no_attack_within_the_radius_turns_a_class():
    net = NETS["erf"]
    f = robust_flow(net, X, THREE, regularization=0.1, ridge=1e-3).predictor()
    found = certified_radius(f, NEW, curvature=False)
    values = f(NEW)
    top = values.argmax(1)
    ordered = np.sort(values, axis=1)
    assert np.all(found.margin >= ordered[:, -1] - ordered[:, -2] - 1e-12)
    for rival in range(3):
        rivals = np.where(top == rival, (rival + 1) % 3, rival)

        def direction(there, rivals=rivals):
            rows = np.arange(STARTS * N)
            one, two = np.tile(top, STARTS), np.tile(rivals, STARTS)
            return tuple(a[rows, one] - a[rows, two] for a in vars(there).values())

        assert np.all(attacked(f, NEW, found.radius, direction, steps=12) > 0)


def test_thresholds_of_the_wrong_number_are_refused(f):
    with pytest.raises(ValueError, match="one number or one for each of the"):
        certified_radius(f, NEW, threshold=np.zeros(len(NEW) + 1))


def test_a_threshold_moves_the_decision(f):
    values = f(NEW)
    found = certified_radius(f, NEW, threshold=float(values[0]))
    assert found.radius[0] == 0 and np.all(found.radius[1:] > 0)
    near = certified_radius(f, NEW, max_radius=1e-3)
    assert near.max_radius == 1e-3 and near.radius.max() <= 1e-3
    wide = certified_radius(f, NEW).radius
    # A finer grid certifies a little more, near what a coarse one does.
    np.testing.assert_allclose(near.radius, np.minimum(wide, 1e-3), rtol=0.02)


@pytest.mark.parametrize(("name", "kind"), [("erf", "nngp"), ("gelu", "ntk")])
def test_features_move_no_further_than_the_bound(name, kind):
    net = NETS[name]
    for radius in (0.05, 1.5):
        bound = feature_distance(net, NEW, radius, kind=kind)
        moves = np.random.default_rng(1).normal(size=(N, STARTS, D))
        moves *= radius / np.linalg.norm(moves, axis=-1, keepdims=True)
        moves[:, 0] = radius * NEW / np.linalg.norm(NEW, axis=1, keepdims=True)
        moves[:, 1] = -moves[:, 0]
        points = (NEW[:, None] + moves).reshape(-1, D)
        every = np.concatenate([NEW, points])
        k = getattr(limit_kernels(net, every), kind)
        own = np.diagonal(k)
        cross = k[:N, N:].reshape(N, N, STARTS)[np.arange(N), np.arange(N)]
        squares = own[:N, None] + own[N:].reshape(N, STARTS) - 2 * cross
        largest = np.sqrt(squares.max(1))
        assert np.all(largest <= bound)
        if radius < 0.1:
            assert np.all(bound <= 1.1 * largest)


@pytest.mark.parametrize(("name", "kind"), [("erf", "nngp"), ("gelu", "ntk")])
def test_cells_are_bounded_between_their_ends(name, kind):
    net = NETS[name]
    norms, fine = np.linspace(0, 4, 65), 16
    between = np.linspace(0, 4, 64 * fine + 1)
    coarse, dense = (
        own_blocks("test", net, grid, D, kind) for grid in (norms, between)
    )
    for name in ("along", "across"):
        bound = _over(getattr(coarse, name))
        values = getattr(dense, name)
        inside = np.stack([values[i : i + 64 * fine : fine] for i in range(fine + 1)])
        assert np.all(inside.max(0) <= bound)
        assert np.all(bound <= inside.max(0) * 1.1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("erf", "nngp"), pytest.param("gelu", "ntk", marks=pytest.mark.slow)],
)
def test_bends_are_the_largest_fourth_derivatives(name, kind):
    net, step, norm = NETS[name], 0.03, 1.3
    angles = np.linspace(0, np.pi / 2, 31)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shifts = step * np.arange(-2, 3)
    points = np.array([norm, 0.0]) + shifts[:, None, None] * rays
    k = getattr(limit_kernels(net, points.reshape(-1, 2)), kind)
    k = k.reshape(5, 31, 5, 31)[:, np.arange(31), :, np.arange(31)]
    second = np.array([-1, 16, -30, 16, -1]) / (12 * step**2)
    expected = np.einsum("aij,i,j->a", k, second, second)
    found = own_bends(net, np.array([norm, 0.2]), 2, kind)
    assert found[0] == pytest.approx(expected.max(), rel=1e-3)


def test_it_refuses(f):
    with pytest.raises(ValueError, match="needs inputs with 2 features"):
        certified_radius(f, np.ones((2, 3)))
    with pytest.raises(ValueError, match="`max_radius > 0`. Got `max_radius=-1.0`"):
        certified_radius(f, NEW, max_radius=-1.0)
    with pytest.raises(ValueError, match="`cells >= 8`"):
        certified_radius(f, NEW, cells=2)


def test_something_else_than_a_trained_function_is_refused():
    x = np.eye(2)
    for call in (certified_radius, eigenfeatures, trained_stability):
        with unchecked(), pytest.raises(ValueError, match="Write `robust_flow"):
            call(x, x)  # pyright: ignore[reportArgumentType]
