"""Training in the limit, against small steps on the dense matrix."""

from typing import Any

import jax
import numpy as np
import pytest
from erf_kernels import jacobian_matrix
from scipy.integrate import solve_ivp

from oracles import unchecked
from widelimit.activations import Erf, ReLU
from widelimit.kernels import jacobian_kernel
from widelimit.networks import kim2023_network
from widelimit.prediction import Prediction, function_at, robust_flow

N, D, LAM, KAPPA, DEPTH = 5, 2, 0.3, 0.7, 2  # as many inputs everywhere: one program
NET = kim2023_network(depth=DEPTH, width=3, activation=Erf(), kappa=KAPPA)
RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(N, D)), RNG.normal(size=(N, D))
Y = RNG.normal(size=(N, 2))
TRAIN = jacobian_matrix(X, X, DEPTH, KAPPA, "ntk")
CROSS = jacobian_matrix(NEW, X, DEPTH, KAPPA, "ntk")
START = [
    Prediction(RNG.normal(size=(k, 2)), RNG.normal(size=(k, 2, D))) for k in (N, N)
]


def stacked(found):
    """Value and gradient of every input in one column for each output."""
    both = np.concatenate([found.values[..., None], found.gradients], axis=-1)
    both = both if both.ndim == 3 else both[:, None]
    return both.transpose(0, 2, 1).reshape(-1, both.shape[1])


def slopes(u):
    """Of values and gradients at the training inputs, then at new ones: Eq. (2)-(3)."""
    u, train = u.reshape(-1, 2), N * (D + 1)
    psi = u[:train].copy()
    psi[:: D + 1] -= Y
    pull = psi.reshape(N, D + 1, 2)
    pull[:, 1:] *= LAM
    both = np.concatenate([TRAIN, CROSS])
    return -(both @ pull.reshape(train, 2)) / N


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def flow():
    return robust_flow(NET, X, Y, regularization=LAM)


@pytest.fixture(scope="module")
def started():
    return robust_flow(NET, X, Y, regularization=LAM, initial=START[0])


def test_the_oracle_is_the_kernel_of_the_network():
    found = jacobian_kernel(NET, NEW, X, kind="ntk").dense()
    np.testing.assert_allclose(found, CROSS, rtol=1e-10, atol=1e-12)


def test_it_is_the_integral_of_equations_2_and_3(started):
    times = np.array([0.0, 0.4, 3.0, 40.0])
    start = np.concatenate([stacked(s) for s in START])
    path = solve_ivp(
        lambda _, u: slopes(u).ravel(),
        (0, times[-1]),
        start.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=1e-11,
        atol=1e-12,
    ).y.T.reshape(len(times), -1, 2)
    train = N * (D + 1)
    old = started.at(X, times, initial=START[0])
    new = started.at(NEW, times, initial=START[1])
    left = started.residuals(times)
    for t in range(len(times)):
        at_t = Prediction(old.values[t], old.gradients[t])
        np.testing.assert_allclose(stacked(at_t), path[t, :train], atol=1e-8)
        at_t = Prediction(new.values[t], new.gradients[t])
        np.testing.assert_allclose(stacked(at_t), path[t, train:], atol=1e-8)
    np.testing.assert_allclose(left.values, old.values - Y, atol=1e-9)
    np.testing.assert_allclose(left.gradients, LAM**0.5 * old.gradients, atol=1e-9)
    squares = (left.values**2).sum((1, 2)) + (left.gradients**2).sum((1, 2, 3))
    np.testing.assert_allclose(started.loss(times), squares / (2 * N), rtol=1e-9)


def test_gradient_descent_takes_the_steps(started):
    rate = 0.9 * started.largest_learning_rate
    u = np.concatenate([stacked(s) for s in START])
    descent = started.descent(rate)
    for step in range(6):
        new = descent.at(NEW, step, initial=START[1])
        np.testing.assert_allclose(stacked(new), u[N * (D + 1) :], atol=1e-9)
        values = u[: N * (D + 1) : D + 1]
        np.testing.assert_allclose(
            descent.residuals(step).values, values - Y, atol=1e-9
        )
        u = u + rate * slopes(u)


def test_gradient_descent_of_many_small_steps_is_the_flow(flow):
    rate, steps = 1e-4 * flow.largest_learning_rate, 5000
    slow, smooth = flow.descent(rate).at(NEW, steps), flow.at(NEW, rate * steps)
    np.testing.assert_allclose(slow.values, smooth.values, rtol=1e-3, atol=1e-4)
    first = flow.descent(1.99 / 2 * flow.largest_learning_rate).at(NEW)
    np.testing.assert_allclose(first.values, flow.at(NEW).values, rtol=1e-6)


def test_the_end_is_equation_4_and_its_gradient(flow):
    scale = np.tile([1.0, *[LAM**0.5] * D], N)
    targets = np.zeros((N * (D + 1), 2))
    targets[:: D + 1] = Y
    solved = np.linalg.solve(scale[:, None] * TRAIN * scale, targets)
    expected = (CROSS * scale) @ solved
    np.testing.assert_allclose(stacked(flow.at(NEW)), expected, rtol=1e-6, atol=1e-7)
    f = flow.predictor()
    np.testing.assert_allclose(f(NEW), flow.at(NEW).values, rtol=1e-9)
    for k, step in enumerate(1e-5 * np.eye(D)):
        differences = (f(NEW + step) - f(NEW - step)) / 2e-5
        found = f.at(NEW).gradients[..., k]
        np.testing.assert_allclose(found, differences, rtol=1e-5, atol=1e-5)
    norms = np.sqrt(np.einsum("ro,ro->o", targets, solved))
    np.testing.assert_allclose(f.norm, norms, rtol=1e-6)


def test_without_regularization_it_is_kernel_regression():
    flow = robust_flow(NET, X, Y[:, 0], regularization=0.0)
    values = slice(None, None, D + 1)
    solved = np.linalg.solve(TRAIN[values, values], Y[:, 0])
    found = flow.at(NEW)
    assert found.values.shape == (N,) and found.gradients.shape == (N, D)
    expected = (CROSS[:, values] @ solved).reshape(N, D + 1)
    np.testing.assert_allclose(found.values, expected[:, 0], rtol=1e-8)
    np.testing.assert_allclose(found.gradients, expected[:, 1:], rtol=1e-8)
    assert flow.residuals(np.arange(2.0)).gradients.shape == (2, N, D)
    assert flow.loss(0.0) == pytest.approx(Y[:, 0] @ Y[:, 0] / (2 * N))


def test_a_ridge_is_weight_decay_towards_the_start():
    flow = robust_flow(NET, X, Y, regularization=LAM, ridge=0.2)
    scale = np.tile([1.0, *[LAM**0.5] * D], N)
    matrix = scale[:, None] * TRAIN * scale
    z, step = np.zeros((N * (D + 1), 2)), 0.002
    z[:: D + 1] = -Y  # d alpha / dt = -(z + ridge alpha) / N with z = z_0 + K alpha
    start, moved = z, 0 * z
    for _ in range(2000):
        middle = moved - step / 2 * (start + matrix @ (moved) + 0.2 * moved) / N
        moved = moved - step * (start + matrix @ middle + 0.2 * middle) / N
    np.testing.assert_allclose(
        flow.residuals(4.0).values, (start + matrix @ moved)[:: D + 1], atol=1e-6
    )
    alpha = np.linalg.solve(matrix + 0.2 * np.eye(len(matrix)), -start)
    expected = (CROSS * scale) @ alpha
    np.testing.assert_allclose(stacked(flow.at(NEW)), expected, rtol=1e-8, atol=1e-9)


def test_training_starts_from_any_function():
    start, there = (function_at(lambda row: row[:1] * row[1:], x) for x in (X, NEW))
    np.testing.assert_allclose(start.values, X.prod(1), rtol=1e-12)
    np.testing.assert_allclose(there.gradients, NEW[:, ::-1], rtol=1e-12)
    flow = robust_flow(NET, X, Y[:, 0], regularization=LAM, initial=start)
    found = flow.at(NEW, 0.0, initial=there)
    np.testing.assert_allclose(found.values, there.values)
    np.testing.assert_allclose(found.gradients, there.gradients)


def test_singular_systems_have_finite_times_only():
    x = np.concatenate([X[:4], -X[1:2]])  # erf is odd
    flow = robust_flow(NET, x, Y[:, 0], regularization=0.5)
    assert not flow.resolved
    assert np.isfinite(flow.at(NEW, 1e6).values).all()
    with pytest.raises(ValueError, match=r"Assumption 8.*Rows 1 and 4 are closest"):
        flow.at(NEW)
    small = robust_flow(NET, x, Y[:, 0], regularization=0.5, ridge=1e-3)
    assert np.isfinite(small.at(NEW).values).all()


@pytest.mark.parametrize("regularization", [1e-15, 1e-20, 1e-300])
def test_too_small_a_regularization_is_said_to_be(regularization):
    flow = robust_flow(NET, X, Y, regularization=regularization)
    with pytest.raises(ValueError, match=f"`reg.*={regularization:.3g}` is too") as why:
        flow.at(NEW)
    assert "parallel" not in str(why.value)
    least = float(str(why.value).split("Give at least ")[1].split(",")[0])
    assert 1e-15 < least < 1e-9
    assert robust_flow(NET, X, Y, regularization=least).resolved


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array(["a"] * N)}, "real numbers as targets. Got `y.dtype=<U1`"),
        ({"y": Y[:3]}, r"for each of 5 inputs. Got `y.shape=\(3, 2\)`"),
        ({"y": Y * np.nan}, "needs finite numbers in `y`"),
        ({"regularization": 1.1}, "between 0 and 1. Got `regularization=1.1`"),
        ({"ridge": -1.0}, "`ridge >= 0`. Got `ridge=-1.0`"),
        ({"x": X[:, 0]}, r"Got `x.shape=\(5,\)`"),
        (
            {"network": kim2023_network(depth=1, width=2, activation=ReLU())},
            "needs smooth activations",
        ),
    ],
    ids=lambda value: str(value)[:12],
)
def test_it_refuses(change, message):
    arguments = {"network": NET, "x": X, "y": Y} | change
    with unchecked(), pytest.raises(ValueError, match=message):
        robust_flow(**arguments)


G = np.zeros((N, 2, D))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (Y, "a `Prediction` as `initial`"),
        (lambda x: x, "a `Prediction` as `initial`"),
        ((Y.T, G), r"`initial.values` of shape \(5, 2\). Got .*\(2, 5\)"),
        ((Y, Y), r"`initial.gradients` of shape \(5, 2, 2\). Got .*\(5, 2\)"),
        ((Y, None), "numbers as `initial.gradients`. Got None"),
        ((Y + 0j, G), "`initial.values`. Got an array of `dtype=complex128`"),
        (
            ([[0.0], [1.0, 2.0]], G),
            "`initial.values` with rows of one length. Got rows that differ",
        ),
        ((Y, G * np.nan), "finite numbers in `initial.gradients`"),
    ],
)
def test_starts_that_do_not_fit_are_refused(started, start, message):
    with unchecked():
        initial: Any = Prediction(*start) if isinstance(start, tuple) else start
        with pytest.raises(ValueError, match=f"`robust_flow` needs.*{message}"):
            robust_flow(NET, X, Y, regularization=LAM, initial=initial)
        with pytest.raises(ValueError, match=f"`at` needs.*{message}"):
            started.at(NEW, [0.0, 1.0], initial=initial)


def test_a_start_may_be_given_as_lists(started):
    lists: Any = START[1].values.tolist(), START[1].gradients.tolist()
    with unchecked():
        found = started.at(NEW, 1.0, initial=Prediction(*lists))
    expected = started.at(NEW, 1.0, initial=START[1])
    np.testing.assert_array_equal(found.gradients, expected.gradients)


def test_times_and_rates_out_of_range_are_refused(flow, started):
    with pytest.raises(ValueError, match="`time >= 0`"):
        flow.at(NEW, -1.0)
    for time in ("a", [], np.array(["1"])):
        with unchecked(), pytest.raises(ValueError, match="or a vector of them. Got"):
            flow.at(NEW, time)
    top = flow.largest_learning_rate
    with pytest.raises(ValueError, match=f"below {top:.6g}, where gradient descent"):
        flow.descent(1.001 * top)
    with pytest.raises(ValueError, match="whole numbers of steps"):
        flow.descent(top / 2).loss(1.5)
    with pytest.raises(ValueError, match="needs `initial` at `x` if, and only if"):
        started.at(NEW)
    with pytest.raises(ValueError, match="needs inputs with 2 features"):
        flow.at(np.ones((2, 3)))


def test_a_row_of_zeros_is_named():
    x = X.copy()
    x[2] = 0  # without biases the kernel of this row is zero
    with pytest.raises(ValueError, match="Row 2 is zero. Remove such rows"):
        robust_flow(NET, x, Y).at(NEW)
