"""What the regressor and the classifier share: the fit, gradients and files."""

import os
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from widelimit._checks import (
    check_at_least,
    check_one_of,
    check_positive,
    check_unmasked,
)
from widelimit.activations import activation_named
from widelimit.estimators.files import read_fitted, write_fitted
from widelimit.kernels import jacobian_kernel, limit_kernels
from widelimit.kernels.jacobian.checks import check_regularization
from widelimit.kernels.spectrum_repeats import check_distinct
from widelimit.networks import kim2023_network
from widelimit.prediction import KernelPredictor, solve_kernel
from widelimit.prediction.solve import SOLVERS

KERNELS = ("nngp", "ntk", "jacobian-ntk")


class KernelEstimator(BaseEstimator):
    """A kernel predictor for every column of targets.

    Attributes:
        predictor_: The fitted function, as a `KernelPredictor`.
        fit_report_: How its system was solved: `status`, `solver`, `residual`,
            `condition` and the other fields of a `Solution` that are not arrays.
        n_features_in_: Number of features.
    """

    _kept: tuple[str, ...] = ()  # a subclass's own fitted arrays, for files

    # Of any type: scikit-learn wants parameters to be checked when fitting.
    def __init__(
        self,
        kernel: Any = "jacobian-ntk",
        *,
        depth: Any = 3,
        activation: Any = "erf",
        bias_std: Any = 0.0,
        regularization: Any = 0.01,
        ridge: Any = 0.1,
        jitter: Any = 1e-9,
        solver: Any = "auto",
        memory: Any = 2.0,
    ):
        self.kernel = kernel
        self.depth = depth
        self.activation = activation
        self.bias_std = bias_std
        self.regularization = regularization
        self.ridge = ridge
        self.jitter = jitter
        self.solver = solver
        self.memory = memory

    def predict_gradient(self, X: Any) -> Float[np.ndarray, "n *o d"]:
        r"""Derivatives of the fitted function by the features of its input.

        Args:
            X: Inputs, one per row.

        Returns:
            One gradient per input; one for each output if there are several.
        """
        rows = self._rows(X)
        return self.predictor_.at(rows).gradients

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted estimator to a file `.npz`, without pickle.

        Args:
            path: The file. It appears under its name only when it is whole.

        Raises:
            ValueError: If the name does not end in `.npz`, or classes are neither
                numbers nor texts.
        """
        check_is_fitted(self)
        write_fitted(self, path, self._kept)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Reads an estimator that `save` wrote.

        Args:
            path: The file.

        Returns:
            The fitted estimator. It predicts to the last bit what the saved one did.

        Raises:
            ValueError: If it is not such a file, or holds another kind of estimator.
        """
        params, fitted, function = read_fitted(cls.__name__, path)
        self = cls(**params)
        self.predictor_ = KernelPredictor(
            network=self._network(), kind=self._kind(), **function
        )
        for name, value in fitted.items():
            setattr(self, name, value)
        return self

    def _fit(self, X: np.ndarray, targets: np.ndarray, single: bool) -> None:
        name = type(self).__name__
        check_one_of(name, "kernel", self.kernel, KERNELS)
        check_one_of(name, "solver", self.solver, SOLVERS)
        check_regularization(name, self.regularization)
        check_at_least(name, "bias_std", self.bias_std, 0.0)
        if not isinstance(self.activation, str):
            raise ValueError(
                f"`{name}` needs the name of an activation, such as 'erf' or 'gelu'. "
                f"Got `activation={self.activation!r}`."
            )
        for number in ("ridge", "jitter"):
            check_at_least(name, number, getattr(self, number), 0.0)
        check_positive(name, "memory", self.memory)
        if not (self.ridge or self.jitter):
            check_distinct(name, X, "or a `ridge` or `jitter` above zero")
        # With lambda = 0 gradients weigh nothing, and the kernel is that of values.
        gradients = self.kernel == "jacobian-ntk" and self.regularization > 0
        network, kind = self._network(), self._kind()
        n, outputs = targets.shape
        if gradients:
            weight = float(self.regularization)
            kernel = jacobian_kernel(network, X, kind=kind, regularization=weight)
        else:
            weight = 1.0
            pair = limit_kernels(network, X, ntk=kind == "ntk", memory=self.memory)
            kernel = pair.nngp if kind == "nngp" else pair.ntk
        b = np.zeros((n, kernel.shape[0] // n, outputs))
        b[:, 0] = targets
        found = solve_kernel(
            kernel,
            b.reshape(-1, outputs),
            ridge=self._ridge(kernel.shape[0]),
            jitter=self.jitter,
            solver=self.solver,
            memory=self.memory,
        )
        w = found.solution
        weights = w.reshape(n, -1, outputs).copy()
        weights[:, 1:] *= weight**0.5
        self.predictor_ = KernelPredictor(
            network, X, weights, gram=w.T @ (kernel @ w), kind=kind, single=single
        )
        report = {key: value for key, value in vars(found).items() if key != "solution"}
        self.fit_report_ = report | {"status": str(found.status)}

    def _ridge(self, rows: int) -> Float[np.ndarray, " r"]:
        """The ridge of every row, of scaled gradients as of values."""
        return np.full(rows, float(self.ridge))

    def _kind(self):
        return "nngp" if self.kernel == "nngp" else "ntk"

    def _network(self):
        return kim2023_network(
            depth=_python_number(self.depth),
            width=1,  # it plays no role
            activation=activation_named(self.activation),
            bias_std=self.bias_std or None,
        )

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        check_unmasked(type(self).__name__, "X", X)
        found: Any = validate_data(self, X, dtype=np.float64, reset=False)
        return found

    def _rows_and_targets(
        self, X: Any, y: Any, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        for name, array in (("X", X), ("y", y)):
            check_unmasked(type(self).__name__, name, array)
        found: Any = validate_data(self, X, y, dtype=np.float64, **options)
        rows, targets = found
        return rows.copy(), targets  # the rows are kept


def _python_number(value: Any) -> Any:
    """NumPy's numbers, such as grid searches set, as Python's."""
    return value.item() if isinstance(value, np.generic) else value
