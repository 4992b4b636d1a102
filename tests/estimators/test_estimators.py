"""The scikit-learn estimators against formulas, scikit-learn's checks, and misuse."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, normalize
from sklearn.utils.estimator_checks import check_estimator

from widelimit.activations import Erf
from widelimit.estimators import LimitClassifier, LimitRegressor
from widelimit.kernels import jacobian_kernel
from widelimit.networks import kim2023_network

rng = np.random.default_rng(3)
X = normalize(rng.normal(size=(30, 4)))
Y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 2.0
Z = normalize(rng.normal(size=(7, 4))) * 0.8


@pytest.mark.parametrize("cls", [LimitRegressor, LimitClassifier])
@pytest.mark.parametrize(
    "kernel",
    [
        "ntk",
        pytest.param("nngp", marks=pytest.mark.slow),
        pytest.param("jacobian-ntk", marks=pytest.mark.slow),
    ],
)
def test_scikit_learns_checks(cls, kernel):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", SkipTestWarning)  # of its array API
        results = check_estimator(cls(kernel, depth=1), on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["exception"]}
    failed.pop("check_array_api_input", None)  # switched off in scikit-learn itself
    assert not failed and len(results) > 50


def erf_nngp(x, z):
    """The kernel of one hidden layer of erf with weights N(0, 1), by Williams."""
    c, p, q = x @ z.T, np.sum(x**2, 1)[:, None], np.sum(z**2, 1)
    dual = np.arcsin(2 * c / np.sqrt((1 + 2 * p) * (1 + 2 * q)))
    return dual / np.arcsin(2 / 3)  # E phi(z)^2 = 1


def test_nngp_is_kernel_ridge_regression():
    model = LimitRegressor("nngp", depth=1, ridge=0.05, jitter=0.0).fit(X, Y)
    ridge = KernelRidge(alpha=0.05, kernel="precomputed")
    ridge.fit(erf_nngp(X, X), Y - Y.mean())
    expected = ridge.predict(erf_nngp(Z, X)) + Y.mean()
    np.testing.assert_allclose(model.predict(Z), expected, rtol=1e-11)


class Exact(Kernel):
    """`erf_nngp` for scikit-learn's Gaussian processes."""

    def __init__(self):
        pass

    def __call__(self, X, Y=None, eval_gradient=False):
        return erf_nngp(X, X if Y is None else Y)

    def diag(self, X):
        return np.diagonal(erf_nngp(X, X)).copy()

    def is_stationary(self):
        return False


def test_nngp_is_the_mean_of_a_gaussian_process():
    both = np.stack([Y, X[:, 2]], axis=1)
    model = LimitRegressor("nngp", depth=1, ridge=0.05, jitter=0.0).fit(X, both)
    process = GaussianProcessRegressor(Exact(), alpha=0.05, optimizer=None)
    process.fit(X, both - both.mean(0))
    expected = process.predict(Z) + both.mean(0)
    np.testing.assert_allclose(model.predict(Z), expected, rtol=1e-9, atol=1e-12)


def test_jacobian_ntk_minimises_its_objective():
    weight, ridge = 0.3, 0.02
    model = LimitRegressor(depth=2, regularization=weight, ridge=ridge, jitter=0.0)
    u = model.fit(X, Y).predictor_.weights.ravel()
    network = kim2023_network(depth=2, width=1, activation=Erf())
    at_data = jacobian_kernel(network, X).dense() @ u
    targets = np.zeros((len(X), 5))
    targets[:, 0] = Y - Y.mean()
    # The derivative by the weights, K (D (K u - y) + ridge u), vanishes.
    pull = (at_data - targets.ravel()) * np.tile([1.0] + [weight] * 4, len(X))
    np.testing.assert_allclose(pull, -ridge * u, rtol=1e-8, atol=1e-10)
    both = jacobian_kernel(network, Z, X).dense() @ u
    values, gradients = both.reshape(len(Z), 5)[:, 0], both.reshape(len(Z), 5)[:, 1:]
    np.testing.assert_allclose(model.predict(Z), values + Y.mean(), rtol=1e-11)
    np.testing.assert_allclose(model.predict_gradient(Z), gradients, rtol=1e-9)


def test_without_ridge_it_is_kim2023_equation_4_for_any_lambda():
    network = kim2023_network(depth=2, width=1, activation=Erf())
    targets = np.zeros((len(X), 5))
    targets[:, 0] = Y - Y.mean()
    gram = jacobian_kernel(network, X).dense()
    cross = jacobian_kernel(network, Z, X).part("value", "both").dense()
    expected = cross @ np.linalg.solve(gram, targets.ravel()) + Y.mean()
    for weight in (0.1, 0.7):
        model = LimitRegressor(depth=2, regularization=weight, ridge=0.0, jitter=0.0)
        np.testing.assert_allclose(model.fit(X, Y).predict(Z), expected, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["nngp", "ntk", "jacobian-ntk"])
def test_gradients_are_those_of_the_values(kernel):
    model = LimitRegressor(kernel, depth=2, activation="gelu", bias_std=0.4)
    model.fit(X, np.stack([Y, X[:, 3]], axis=1))
    step = 1e-5 * np.eye(4)
    ahead, behind = (
        np.stack([model.predict(Z + s * e) for e in step], axis=-1) for s in (1, -1)
    )
    np.testing.assert_allclose(
        model.predict_gradient(Z), (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8
    )


def test_regularization_flattens_the_function():
    sizes = [
        np.linalg.norm(LimitRegressor(regularization=w).fit(X, Y).predict_gradient(X))
        for w in (0.0, 0.01, 0.1, 1.0)
    ]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[-1]


def test_no_regularization_is_the_plain_ntk():
    zero = LimitRegressor(regularization=0.0, depth=2).fit(X, Y)
    plain = LimitRegressor("ntk", depth=2).fit(X, Y)
    np.testing.assert_array_equal(zero.predict(Z), plain.predict(Z))


def test_biases_let_odd_activations_be_even():
    line = np.linspace(-1, 1, 21)[:, None]
    even = line[:, 0] ** 2
    without = LimitRegressor("ntk").fit(line, even).score(line, even)
    given = LimitRegressor("ntk", bias_std=1.0).fit(line, even).score(line, even)
    assert without < 0.1 and given > 0.99


def test_networks_with_kinks_have_values():
    model = LimitRegressor("ntk", activation="relu", depth=2).fit(X, Y)
    assert model.score(X, Y) > 0.95
    with pytest.raises(ValueError, match="NTK"):
        model.predict_gradient(Z)
    with pytest.raises(ValueError, match="NTK"):
        LimitRegressor(activation="relu").fit(X, Y)


@pytest.mark.slow
def test_pipelines_and_grid_searches():
    x, y = load_wine(return_X_y=True)
    pipe = make_pipeline(MinMaxScaler((-1, 1)), Normalizer(), LimitClassifier())
    grid = {
        "limitclassifier__kernel": ["nngp", "ntk"],
        "limitclassifier__depth": np.arange(1, 3),
    }
    search = GridSearchCV(pipe, grid, cv=2).fit(x[::2], y[::2])
    assert search.score(x[1::2], y[1::2]) > 0.9
    assert len(search.cv_results_["params"]) == 4


@pytest.mark.parametrize("classes", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_no_step_within_the_certified_radius_changes_the_class(classes):
    x, y = load_iris(return_X_y=True)
    keep = y < classes
    x, y = normalize(x[keep]), np.array(["a", "b", "c"])[y[keep]]
    model = LimitClassifier(depth=1, ridge=0.01).fit(x[::2], y[::2])
    rows = x[1::8]
    radius, label = model.certified_radius(rows), model.predict(rows)
    assert np.all(radius > 0) and radius.shape == (len(rows),)
    assert np.median(radius) > 0.02  # and not vacuous
    for _ in range(20):
        step = rng.normal(size=rows.shape)
        step *= (radius / np.linalg.norm(step, axis=1))[:, None]
        assert np.all(model.predict(rows + step) == label)


def test_no_step_within_the_certified_radius_moves_a_value_beyond_the_tolerance():
    both = np.stack([Y, 3 * X[:, 2]], axis=1)
    model = LimitRegressor(depth=1).fit(X, both)
    radius = model.certified_radius(Z, tolerance=0.1)
    slope = model.predict_gradient(Z)
    assert radius.shape == (7, 2) and np.all(radius > 0)
    for j in range(2):
        way = slope[:, j] / np.linalg.norm(slope[:, j], axis=1, keepdims=True)
        moved = model.predict(Z + radius[:, j : j + 1] * way)[:, j]
        assert np.all(np.abs(moved - model.predict(Z)[:, j]) <= 0.1)
    single = LimitRegressor(depth=1).fit(X, Y)
    assert single.certified_radius(Z, tolerance=0.1).shape == (7,)
    with pytest.raises(ValueError, match="`tolerance > 0`|tolerance"):
        model.certified_radius(Z, tolerance=0.0)


@pytest.mark.parametrize("kernel", ["nngp", "jacobian-ntk"])
def test_saved_regressors_predict_the_same(tmp_path, kernel):
    table = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = LimitRegressor(kernel, depth=np.int64(1)).fit(table, Y)
    model.save(tmp_path / "model.npz")
    again = LimitRegressor.load(tmp_path / "model.npz")
    rows = table[:5] * 0.7
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    np.testing.assert_array_equal(
        again.predict_gradient(rows), model.predict_gradient(rows)
    )
    assert again.fit_report_ == model.fit_report_
    assert again.get_params() == model.get_params()
    assert list(again.feature_names_in_) == ["a", "b", "c", "d"]
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.parametrize(
    "names", [np.array([7, 3]), np.array(["no", "yes"], dtype=object)]
)
def test_saved_classifiers_keep_their_classes(tmp_path, names):
    y = names[(Y > Y.mean()).astype(int)]
    model = LimitClassifier("ntk", depth=1).fit(X, y)
    model.save(tmp_path / "model.npz")
    again = LimitClassifier.load(tmp_path / "model.npz")
    assert list(again.predict(Z)) == list(model.predict(Z))
    with pytest.raises(ValueError, match="of a `LimitClassifier`"):
        LimitRegressor.load(tmp_path / "model.npz")


def test_files_that_cannot_be_are_refused(tmp_path):
    model = LimitRegressor("ntk", depth=1).fit(X, Y)
    with pytest.raises(ValueError, match=r"end in \.npz"):
        model.save(tmp_path / "model.pkl")
    with pytest.raises(NotFittedError):
        clone(model).save(tmp_path / "model.npz")
    np.savez(tmp_path / "other.npz", x=X)
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match="needs a file that `save` wrote"):
            LimitRegressor.load(tmp_path / name)


def test_the_fit_is_reported():
    model = LimitRegressor("ntk", depth=1, solver="cg").fit(X, Y)
    report = model.fit_report_
    assert report["status"] == "converged" and report["solver"] == "cg"
    assert report["residual"] < 1e-10 and report["condition"] > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "rbf"}, "`kernel`"),
        ({"depth": 0}, "`depth"),
        ({"activation": "step"}, "`name`"),
        ({"regularization": 1.5}, "between 0 and 1"),
        ({"bias_std": -1.0}, "bias_std"),
        ({"ridge": -1.0}, "`ridge >= 0.0`"),
        ({"jitter": -1.0}, "`jitter >= 0.0`"),
        ({"solver": "lu"}, "`solver`"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LimitRegressor(**change).fit(X, Y)


def test_targets_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        LimitClassifier().fit(X, np.ones(30))
    with pytest.raises(ValueError, match="Unknown label type"):
        LimitClassifier().fit(X, Y)
    with pytest.raises(ValueError, match="could not convert"):
        LimitRegressor().fit(X, np.array(["a"] * 30))


def test_equal_rows_need_a_ridge():
    twice = np.concatenate([X, X])
    model = LimitRegressor("ntk", depth=1, ridge=1e-3).fit(
        twice, np.concatenate([Y, Y + 1])
    )
    np.testing.assert_allclose(model.predict(X), Y + 0.5, atol=0.2)
    with pytest.raises((ValueError, RuntimeError)):
        LimitRegressor("ntk", ridge=0.0, jitter=0.0).fit(twice, twice[:, 0])


@pytest.mark.parametrize(
    "change", [{"activation": None}, {"ridge": "a"}, {"memory": None}]
)
def test_parameters_of_the_wrong_type_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        LimitRegressor(**change).fit(X, Y)


def test_equal_rows_without_a_ridge_are_named():
    rows = np.concatenate([X, X[3:4]])
    with pytest.raises(ValueError, match="rows 3 and 30, which are equal"):
        LimitRegressor("ntk", ridge=0.0, jitter=0.0).fit(rows, rows[:, 0])


def test_inputs_too_large_to_predict_at_are_refused():
    model = LimitClassifier(depth=1).fit(X, Y > 2)
    with pytest.raises(ValueError, match="norm at most"):
        model.predict(Z * 1e200)


@pytest.mark.parametrize("cls", [LimitRegressor, LimitClassifier])
def test_what_is_fitted_does_not_change_with_its_data(cls):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(2, 12, 3))
    model = cls(depth=2).fit(x, np.sign(x[:, 0]))
    before = model.predict_gradient(new)
    x *= -1
    np.testing.assert_array_equal(model.predict_gradient(new), before)


def test_masked_numbers_are_refused():
    x = np.random.default_rng(0).normal(size=(12, 3))
    y = np.sign(x[:, 0])
    hidden = np.ma.masked_array(x, x > 1)
    model = LimitClassifier(depth=2).fit(x, y)
    for call in (
        lambda: LimitClassifier(depth=2).fit(hidden, y),
        lambda: model.predict(hidden),
        lambda: LimitRegressor(depth=2).fit(x, np.ma.masked_array(y, y > 0)),
        lambda: jacobian_kernel(kim2023_network(depth=2, width=1), hidden),
    ):
        with pytest.raises(ValueError, match="numbers without a mask"):
            call()
    whole = np.ma.masked_array(x)  # nothing is hidden
    np.testing.assert_array_equal(model.predict(whole), model.predict(x))
