import math

import numpy as np
import pytest
from scipy.special import expit

from widelimit.activations import Polynomial, ReLU, Sigmoid, Softplus, Tanh
from widelimit.bounds import du2019

rng = np.random.default_rng
LINEAR = du2019.ActivationConstants(1.0, 0.0, 1.0, 0.0)
FUNCTIONS = [  # the activation, it and its derivative in NumPy
    (Tanh(), np.tanh, lambda z: np.cosh(z) ** -2.0),
    (Sigmoid(), expit, lambda z: expit(z) * expit(-z)),
    (Softplus(), lambda z: np.logaddexp(0, z), expit),
]
SIZES = [  # depth, branch, pixels, patch; no branch is Eq. (2)
    (1, None, 1, 1),
    (3, None, 1, 1),
    (2, 0.7, 1, 1),
    (4, 0.3, 1, 1),
    (3, 0.4, 5, 3),
]
KINDS = pytest.mark.parametrize("size", SIZES, ids=str)
PHI = pytest.mark.parametrize("phi", FUNCTIONS, ids=lambda f: str(f[0]))


class Network:
    """Eq. (2), Eq. (3) and the convolutional ResNet, one input `(channels, p)`."""

    def __init__(self, function, derivative, c_sigma, depth, branch, pixels, patch):
        self.f, self.df, self.c = function, derivative, c_sigma
        self.depth, self.branch, self.p, self.q = depth, branch, pixels, patch

    def scale(self, h, m):  # h from 0
        plain = self.branch is None or h == 0
        return math.sqrt(self.c / m) if plain else self.branch / self.depth / m**0.5

    def patches(self, x):
        half = self.q // 2
        padded = np.pad(x, ((0, 0), (half, half)))
        return np.concatenate([padded[:, s : s + self.p] for s in range(self.q)])

    def spread(self, g):  # the adjoint of `patches`
        half, channels = self.q // 2, len(g) // self.q
        out = np.zeros((channels, self.p + 2 * half))
        for s in range(self.q):
            out[:, s : s + self.p] += g[s * channels : (s + 1) * channels]
        return out[:, half : half + self.p]

    def features(self, weights, x):
        xs = [x]
        for h, w in enumerate(weights):
            new = self.scale(h, len(w)) * self.f(w @ self.patches(xs[-1]))
            skip = 0 if self.branch is None or h == 0 else xs[-1]
            xs.append(skip + new)
        return xs

    def gradients(self, weights, a, x):
        xs, back, out = self.features(weights, x), np.tile(a[:, None], self.p), []
        for h in reversed(range(self.depth)):
            w, phi = weights[h], self.patches(xs[h])
            g = self.scale(h, len(w)) * self.df(w @ phi) * back
            out.append(g @ phi.T)
            through = self.spread(w.T @ g)
            skip = 0 if self.branch is None or h == 0 else back
            back = skip + through
        return out[::-1]


def unit_inputs(random, n, d, p):
    x = random.normal(size=(n, d, p))
    return x / np.sqrt((x**2).sum((1, 2), keepdims=True))


def build(phi, size, m=40, d=6, n=3, seed=0):
    """A network, its weights and inputs, and its constants as measured."""
    activation, f, df = phi
    depth, branch, p, q = size
    sigma, random = du2019.ActivationConstants.of(activation), rng(seed)
    net = Network(f, df, sigma.c_sigma, depth, branch, p, q)
    x = unit_inputs(random, n, d, p)
    fan_in = [d] + [m] * (depth - 1)
    weights = [random.normal(size=(m, q * k)) for k in fan_in]
    norms = [np.linalg.norm(y) for row in x for y in net.features(weights, row)]
    c_w0 = max(np.linalg.norm(w, 2) for w in weights) / m**0.5
    known = dict(activation=sigma, depth=depth, c_w0=float(c_w0))
    known["c_x0"] = float(max(1.0, *norms))
    if branch is None:
        return net, weights, x, du2019.FullyConnected(**known)
    own = du2019.Residual(**known, branch=branch, pixels=p, patch=q)
    return net, weights, x, own


def last_gram(net, weights, a, x):
    rows = [net.gradients(weights, a, row)[-1].ravel() for row in x]
    return np.array(rows) @ np.array(rows).T


def moves(net, weights, x, radius, random):
    """Changes of the weights, each of Frobenius norm `radius * sqrt(m)`."""
    m = len(weights[0])
    change = [random.normal(size=w.shape) for w in weights]
    yield [radius * m**0.5 * c / np.linalg.norm(c) for c in change]
    for sign in (1, -1):  # rank one, along the features
        change = []
        for w, y in zip(weights, net.features(weights, x[0]), strict=False):
            phi = net.patches(y)
            pre = np.sign(w @ phi)
            c = sign * np.outer(pre.mean(1), phi.sum(1))
            change.append(radius * m**0.5 * c / np.linalg.norm(c))
        yield change


@PHI
def test_the_constants_of_an_activation(phi):
    activation, f, df = phi
    z = np.linspace(-8, 8, 4001)
    sigma = du2019.ActivationConstants.of(activation)
    np.testing.assert_allclose(np.abs(df(z)).max(), sigma.lipschitz, rtol=1e-3)
    np.testing.assert_allclose(
        np.abs(np.gradient(df(z), z)).max(), sigma.smoothness, rtol=1e-3
    )
    np.testing.assert_allclose(sigma.at_zero, f(np.zeros(1))[0], rtol=1e-15)
    square = np.trapezoid(f(z) ** 2 * np.exp(-(z**2) / 2), z) / math.tau**0.5
    np.testing.assert_allclose(1 / sigma.c_sigma, square, rtol=1e-9)


def test_geometric_sum():
    assert [du2019.geometric_sum(3.0, n) for n in range(5)] == [0, 1, 4, 13, 40]
    assert du2019.geometric_sum(1.0, 7) == 7 and du2019.geometric_sum(0.0, 7) == 1
    np.testing.assert_allclose(du2019.geometric_sum(0.5, 80), 2, rtol=1e-15)
    assert du2019.geometric_sum(100.0, 400) == math.inf


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_lemma_a3_is_attained_by_a_linear_network_of_width_1(depth):
    # All weights go from 1 to 2: the output of layer h goes from 1 to 2^h.
    own = du2019.FullyConnected(activation=LINEAR, depth=depth, c_w0=1.0, c_x0=1.0)
    for layer in range(depth + 1):
        bound = du2019.feature_perturbation(own, radius=1.0, layer=layer)
        assert bound.value == bound.unrolled == 2**layer - 1


def test_lemma_b3_unrolled_is_attained_by_a_linear_network_of_width_1():
    # x1 = w1 and x2 = x1 (1 + kappa w2 / 2); both weights go from 1 to 2.
    kappa = 0.6
    own = du2019.Residual(activation=LINEAR, depth=2, c_w0=1.0, c_x0=1.0, branch=kappa)
    bound = du2019.feature_perturbation(own, radius=1.0)
    np.testing.assert_allclose(bound.unrolled, 2 * (1 + kappa) - (1 + kappa / 2))
    assert bound.unrolled < bound.value


@PHI
@KINDS
def test_features_and_gram_move_within_the_lemmas(phi, size):
    net, weights, x, own = build(phi, size)
    random = rng(1)
    a = random.choice([-1.0, 1.0], size=len(weights[0]))
    before = [net.features(weights, row) for row in x]
    start = last_gram(net, weights, a, x)
    for radius in (0.5 * own.largest_radius, 1e-4):
        gram = du2019.gram_perturbation(own, radius=radius, samples=len(x))
        assert gram.applies
        for change in moves(net, weights, x, radius, random):
            moved = [w + c for w, c in zip(weights, change, strict=True)]
            for row, old in zip(x, before, strict=True):
                new = net.features(moved, row)
                for h in range(size[0] + 1):
                    far = np.linalg.norm(new[h] - old[h])
                    bound = du2019.feature_perturbation(own, radius=radius, layer=h)
                    assert far <= bound.unrolled + 1e-15
                    assert bound.unrolled <= bound.value
            difference = last_gram(net, moved, a, x) - start
            assert np.abs(difference).max() <= gram.per_entry
            assert np.linalg.norm(difference) <= gram.value


def test_lemma_b4_as_printed_fails_for_small_lipschitz_constants():
    # sin, scaled to L = 0.02 and beta = 1, in a ResNet of width 1 and depth 2.
    L, kappa, w1, w2, R = 0.02, 0.5, np.pi / 200, 1.3, 1e-6
    c = 2 / (L**4 * -math.expm1(-2 / L**2))
    net = Network(
        lambda z: L**2 * np.sin(z / L), lambda z: L * np.cos(z / L), c, 2, kappa, 1, 1
    )
    x, a = np.ones((1, 1, 1)), np.ones(1)
    weights, moved = ([np.array([[w1 + r]]), np.array([[w2 + r]])] for r in (0, R))
    c_x0 = max(1.0, *(float(y[0, 0]) for y in net.features(weights, x[0])))
    grams = [last_gram(net, w, a, x)[0, 0] for w in (weights, moved)]
    own = du2019.Residual(
        activation=du2019.ActivationConstants(L, 1.0, c, 0.0),
        depth=2,
        c_w0=w2,
        c_x0=c_x0,
        branch=kappa,
    )
    bound = du2019.gram_perturbation(own, radius=R, samples=1)
    inner = 3 * c_x0 * own.c_x + 2 * c_x0**2 * (2 * own.c_x * w2 + c_x0)
    printed = (kappa / 2) ** 2 * inner * L**2 * R
    assert 4 * printed < abs(grams[1] - grams[0]) <= bound.value
    assert bound.applies


def test_lemma_c4_as_printed_fails_for_large_patches():
    # A linear network of width 1 on a constant image, whose patches nearly cover it.
    p = q = 15
    kappa, R = 1e-3, 1e-6
    net = Network(lambda z: z, np.ones_like, 1.0, 2, kappa, p, q)
    x, a = np.full((1, 1, p), p**-0.5), np.ones(1)
    weights, moved = ([np.full((1, q), (1 + r) / q**0.5)] * 2 for r in (0, R))
    c_x0 = max(float(np.linalg.norm(y)) for y in net.features(weights, x[0]))
    grams = [last_gram(net, w, a, x)[0, 0] for w in (weights, moved)]
    known = dict(activation=LINEAR, depth=2, c_w0=1.0, c_x0=c_x0, branch=kappa)
    own = du2019.Residual(**known, pixels=p, patch=q)
    bound = du2019.gram_perturbation(own, radius=R, samples=1)
    printed = (kappa / 2) ** 2 * 3 * c_x0 * own.c_x * p * R
    assert 2 * printed < abs(grams[1] - grams[0]) <= bound.value
    assert bound.name == "Lemma C.4" and bound.applies


@PHI
@KINDS
def test_the_networks_gradients_are_right(phi, size):
    net, weights, x, _ = build(phi, size, m=5)
    a, eps = rng(2).choice([-1.0, 1.0], size=5), 1e-6
    out = net.gradients(weights, a, x[0])
    for h in range(size[0]):
        change = rng(3).normal(size=weights[h].shape)
        ends = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[h] = weights[h] + sign * eps * change
            ends.append((a @ net.features(moved, x[0])[-1]).sum())
        np.testing.assert_allclose(
            (ends[0] - ends[1]) / (2 * eps),
            (out[h] * change).sum(),
            rtol=1e-6,
            atol=1e-9,  # rounding of the ends over the step
        )


@PHI
@KINDS
def test_gradient_descent_moves_within_the_lemmas(phi, size):
    m = 30
    net, weights, x, own = build(phi, size, m)
    a, y = rng(4).choice([-1.0, 1.0], size=m), rng(5).normal(size=len(x))
    start, step = [w.copy() for w in weights], 2e-3
    residuals, states = [], []
    for _ in range(12):
        grads = [net.gradients(weights, a, row) for row in x]
        u = np.array([(a @ net.features(weights, row)[-1]).sum() for row in x])
        total = [
            sum((u - y)[i] * g[h] for i, g in enumerate(grads)) for h in range(size[0])
        ]
        residuals.append(float(np.linalg.norm(y - u)))
        weights = [w - step * g for w, g in zip(weights, total, strict=True)]
        states.append(
            [np.linalg.norm(w - s) for w, s in zip(weights, start, strict=True)]
        )
        steps = [step * np.linalg.norm(g) for g in total]
        bound = du2019.weight_movement(
            own, samples=len(x), lambda_0=1.0, width=m, residual_norm=residuals[-1]
        )
        factors = (bound.first_step_factor, bound.later_step_factor)
        for h, length in enumerate(steps):
            assert length <= step * factors[min(h, 1)] * residuals[-1]
    # The largest lambda_0 for which Condition 6.1 held at all steps.
    k = np.arange(1, len(residuals))
    ratios = (np.array(residuals[1:]) / residuals[0]) ** 2
    lambda_0 = float((2 / step * (1 - ratios ** (1 / k))).min())
    assert lambda_0 > 0
    bound = du2019.weight_movement(
        own, samples=len(x), lambda_0=lambda_0, width=m, residual_norm=residuals[0]
    )
    radii = (bound.first_radius, bound.later_radius)
    for lengths in states:
        for h, length in enumerate(lengths):
            assert length / m**0.5 <= radii[min(h, 1)]


def test_lemma_b5_as_printed_fails_for_the_first_layer():
    size = (6, 0.05, 1, 1)
    net, weights, x, own = build(FUNCTIONS[0], size)
    a = np.ones(len(weights[0]))
    norms = [np.linalg.norm(g) for g in net.gradients(weights, a, x[0])]
    first, later = own.gradient_factors
    assert norms[0] > 10 * later and norms[0] <= first
    assert max(norms[1:]) <= later
    ratio = math.sqrt(own.activation.c_sigma) * 6 / (2 * 0.05 * own.c_x0)
    np.testing.assert_allclose(first / later, ratio)


def test_lemma_a5_by_hand():
    # c_x = 2 sqrt(4) * 0.5 * 3 = 6; sqrt(n) |y - u| = 15.
    sigma = du2019.ActivationConstants(0.5, 2.0, 4.0, 0.0)
    own = du2019.FullyConnected(activation=sigma, depth=2, c_w0=3.0, c_x0=2.0)
    bound = du2019.weight_movement(
        own, samples=9, lambda_0=0.5, width=100, residual_norm=5.0
    )
    np.testing.assert_allclose(bound.value, 8 * 2 * 36 * 15 / (0.5 * 10))
    np.testing.assert_allclose(bound.later_step_factor, 2 * 2 * 36 * 3)
    np.testing.assert_allclose(bound.largest_radius, 1 / 7)  # g_6(2) = 7
    slope = (2 * 2 * 2 + 3 * 2 * 0.25) * 0.5 * 4 * 4 * 7
    np.testing.assert_allclose(bound.gram_radius, 0.5 / 4 / (9 * slope))
    for radius, width in [
        (bound.largest_radius, bound.movement_width),
        (bound.gram_radius, bound.gram_width),
    ]:
        np.testing.assert_allclose(bound.value * (100 / width) ** 0.5, radius)
    assert bound.vacuous and not bound.applies
    wide = du2019.weight_movement(
        own, samples=9, lambda_0=0.5, width=2 * 10**10, residual_norm=5.0
    )
    assert not wide.vacuous and wide.applies


def test_lemma_c5_by_hand():
    # kappa c_w0 L sqrt(q) = 0.1 * 2 * 0.5 * 3 = 0.3.
    sigma = du2019.ActivationConstants(0.5, 2.0, 4.0, 0.0)
    own = du2019.Residual(
        activation=sigma, depth=5, c_w0=2.0, c_x0=3.0, branch=0.1, pixels=4, patch=9
    )
    bound = du2019.weight_movement(
        own, samples=1, lambda_0=2.0, width=16, residual_norm=1.0
    )
    e = math.exp(0.6)
    np.testing.assert_allclose(bound.later_radius, 8 * 0.1 * 3 * 0.5 * 6 * e / (5 * 8))
    np.testing.assert_allclose(bound.first_radius, 4 * 2 * 0.5 * 6 * e / 8)
    assert bound.value == bound.first_radius and bound.name == "Lemma C.5"
    c_x = (2 * 0.5 * 3 + 1.5) * e
    np.testing.assert_allclose(own.c_x, c_x)
    gram = du2019.gram_perturbation(own, radius=1e-3, samples=7)
    inner = 3 * 4 * 9 * 0.5 * 3 * c_x + 2 * 2 * 2 * 27 * 9 * (2 * c_x * 2 + 3)
    np.testing.assert_allclose(gram.value, 0.02**2 * inner * 0.5 * 7 * 1e-3)


def test_bounds_are_linear_in_the_radius_and_worse_with_depth():
    sigma = du2019.ActivationConstants.of(Tanh())
    for make in (
        lambda H: du2019.FullyConnected(activation=sigma, depth=H, c_w0=2.0, c_x0=2.0),
        lambda H: du2019.Residual(
            activation=sigma, depth=H, c_w0=2.0, c_x0=2.0, branch=0.1
        ),
    ):
        one, two = (
            du2019.gram_perturbation(make(4), radius=r, samples=5, lambda_0=0.1)
            for r in (1e-8, 2e-8)
        )
        np.testing.assert_allclose(two.value, 2 * one.value)
        assert one.target == 0.025 and one.target_radius == two.target_radius
        assert not one.vacuous
        at = du2019.gram_perturbation(make(4), radius=one.target_radius, samples=5)
        np.testing.assert_allclose(at.value, 0.025)
    deep, deeper = (
        du2019.FullyConnected(activation=sigma, depth=H, c_w0=2.0, c_x0=2.0)
        for H in (10, 11)
    )
    np.testing.assert_allclose(deeper.gram_slope / deep.gram_slope, deep.c_x, rtol=1e-6)


def test_a_kink_has_no_gram_bound():
    sigma = du2019.ActivationConstants.of(ReLU())
    own = du2019.FullyConnected(activation=sigma, depth=2, c_w0=2.0, c_x0=2.0)
    bound = du2019.gram_perturbation(own, radius=1e-9, samples=5, lambda_0=0.1)
    assert bound.value == math.inf and not bound.applies and bound.target_radius == 0
    assert du2019.feature_perturbation(own, radius=1e-9).applies
    moved = du2019.weight_movement(
        own, samples=5, lambda_0=0.1, width=10, residual_norm=1.0
    )
    assert moved.gram_width == math.inf and math.isfinite(moved.movement_width)


def test_assumptions_that_fail_are_named():
    own = du2019.FullyConnected(activation=LINEAR, depth=2, c_w0=2.0, c_x0=1.5)
    far = du2019.feature_perturbation(own, radius=2.5)
    assert not far.applies and "[FAILS] R <= c_w0 (2.5 against 2)" in str(far)
    assert far.vacuous
    flat = du2019.weight_movement(
        own, samples=5, lambda_0=0.0, width=10, residual_norm=1.0
    )
    assert flat.value == math.inf and flat.gram_width == math.inf
    assert "[FAILS] lambda_0 > 0 (0)" in str(flat) and flat.vacuous
    still = du2019.gram_perturbation(own, radius=0.0, samples=5, lambda_0=0.0)
    assert still.vacuous and not still.applies


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: du2019.ActivationConstants(0.0, 1.0, 1.0, 0.0),
            "`ActivationConstants` needs a finite `lipschitz > 0`. Got `lipschitz=0.0`",
        ),
        (
            lambda: du2019.FullyConnected(
                activation=LINEAR, depth=2, c_w0=2.0, c_x0=0.5
            ),
            "`FullyConnected` needs `c_x0 >= 1`. Got `c_x0=0.5`",
        ),
        (
            lambda: du2019.Residual(
                activation=LINEAR, depth=1, c_w0=2.0, c_x0=2.0, branch=0.1
            ),
            "`Residual` needs `depth >= 2`. Got `depth=1`",
        ),
        (
            lambda: du2019.Residual(
                activation=LINEAR, depth=2, c_w0=2.0, c_x0=2.0, branch=0.0
            ),
            "`Residual` needs a finite `branch > 0`",
        ),
        (
            lambda: du2019.feature_perturbation(
                du2019.FullyConnected(activation=LINEAR, depth=2, c_w0=2.0, c_x0=2.0),
                radius=-1.0,
            ),
            "`feature_perturbation` needs `radius >= 0`. Got `radius=-1.0`",
        ),
        (
            lambda: du2019.feature_perturbation(
                du2019.FullyConnected(activation=LINEAR, depth=2, c_w0=2.0, c_x0=2.0),
                radius=1.0,
                layer=3,
            ),
            "`layer` between 0 and `depth`. Got `layer=3` and `depth=2`",
        ),
        (
            lambda: du2019.weight_movement(
                du2019.FullyConnected(activation=LINEAR, depth=2, c_w0=2.0, c_x0=2.0),
                samples=2,
                lambda_0=math.nan,
                width=2,
                residual_norm=1.0,
            ),
            "`weight_movement` needs finite numbers in `lambda_0`",
        ),
        (
            lambda: du2019.geometric_sum(-1.0, 2),
            "`geometric_sum` needs `ratio >= 0`. Got `ratio=-1.0`",
        ),
    ],
)
def test_arguments_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_activation_without_constants_is_refused():
    with pytest.raises(ValueError, match="finite Lipschitz constant"):
        du2019.ActivationConstants.of(Polynomial((0, 0, 1)))
