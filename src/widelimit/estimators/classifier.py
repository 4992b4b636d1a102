"""Classification with the kernel of an infinitely wide network."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from widelimit.estimators.base import KernelEstimator
from widelimit.prediction import certified_radius


class LimitClassifier(ClassifierMixin, KernelEstimator):
    """Classification by regression on signs, one column per class if there are many.

    The kernels and their networks are those of `LimitRegressor`. Of two classes the
    second has the sign +1; of more, each has +1 in its own column and -1 elsewhere, and
    the largest value decides.

    Args:
        kernel: `"nngp"`, `"ntk"` or `"jacobian-ntk"`.
        depth: Number of hidden layers.
        activation: Name of an activation.
        bias_std: Standard deviation of biases; 0 leaves them out.
        regularization: Weight of the input gradient, 0 to 1; of `"jacobian-ntk"`.
        ridge: Weight of the function's norm.
        jitter: Added to the kernel's whole diagonal, over its mean.
        solver: `"auto"`, `"cholesky"` or `"cg"`.
        memory: Budget of the solver in GiB.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.preprocessing import normalize
        >>> x, y = load_iris(return_X_y=True)
        >>> model = LimitClassifier(depth=2).fit(normalize(x), y)
        >>> bool(model.score(normalize(x), y) > 0.95)
        True
        >>> bool((model.certified_radius(normalize(x[:5])) > 0).all())
        True
    """

    _kept = ("classes_",)

    def fit(self, X: Any, y: Any) -> "LimitClassifier":
        """Fits the kernel to inputs and labels.

        Args:
            X: Inputs, one per row.
            y: Labels: numbers or texts.

        Returns:
            Itself.

        Raises:
            ValueError: If there is one class only, or targets are not classes.
        """
        rows, labels = self._rows_and_targets(X, y)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"`LimitClassifier` needs at least two classes. Got one class, "
                f"{self.classes_[0]!r}."
            )
        signs = np.where(index[:, None] == np.arange(len(self.classes_)), 1.0, -1.0)
        single = len(self.classes_) == 2
        self._fit(rows, signs[:, 1:] if single else signs, single)
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, "n *o"]:
        """Values whose sign (of two classes) or largest (of more) decides.

        Args:
            X: Inputs, one per row.

        Returns:
            One value per input, or one per class.
        """
        rows = self._rows(X)
        return self.predictor_(rows)

    def predict(self, X: Any) -> np.ndarray:
        """The class of each input.

        Args:
            X: Inputs, one per row.

        Returns:
            Labels as they were given.
        """
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[index]

    def certified_radius(self, X: Any, **options: Any) -> Float[np.ndarray, " n"]:
        """Radii within which the predicted class provably stays the same.

        Args:
            X: Inputs, one per row.
            options: `max_radius`, `cells`, `curvature`, as of
                `prediction.certified_radius`.

        Returns:
            One l2 radius per input.

        Raises:
            ValueError: If an option is out of range.
        """
        rows = self._rows(X)
        return certified_radius(self.predictor_, rows, **options).radius
