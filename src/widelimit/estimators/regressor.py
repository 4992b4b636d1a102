"""Regression with the kernel of an infinitely wide network."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import RegressorMixin

from widelimit._checks import check_positive
from widelimit.estimators.base import KernelEstimator
from widelimit.prediction import KernelPredictor, certified_radius


class LimitRegressor(RegressorMixin, KernelEstimator):
    r"""Regression with the kernel of an infinitely wide network.

    The function of the kernel's space that minimises

    $$\sum_i (f(x_i) - y_i)^2 + \lambda \sum_i |\nabla f(x_i)|^2
      + \text{ridge}\,\|f\|_H^2$$

    with $\lambda$ = 0 for `"nngp"` and `"ntk"`, and the NTK's space for
    `"jacobian-ntk"`. As the ridge tends to zero this is what training a wide network
    converges to under the squared loss, or under kim2023's Eq. (1); there $\lambda$
    no longer matters, because gradients at the data can be made zero (Eq. (4)). With
    `"nngp"` it is the mean of the network's Gaussian process given noisy targets. The
    mean of the targets is fitted apart.

    The network is `kim2023_network`: its first covariance is $\langle x, x' \rangle$,
    which is meant for rows of norm about one (scikit-learn's `Normalizer`) and, without
    biases, makes the function of an odd activation odd. Set `bias_std` for features
    that are scaled one by one.

    Args:
        kernel: `"nngp"`, `"ntk"` or `"jacobian-ntk"`.
        depth: Number of hidden layers.
        activation: Name of an activation, as `activation_named` reads it; smooth for
            `"jacobian-ntk"`, and wherever gradients of an NTK are asked for.
        bias_std: Standard deviation of biases, of hidden layers; 0 leaves them out.
        regularization: $\lambda$, 0 to 1; of `"jacobian-ntk"` alone.
        ridge: Weight of the norm, added to the diagonal of the kernel (whose gradients
            are scaled by $\sqrt\lambda$): the variance of noise in the targets where
            that of the process is 1.
        jitter: Added to the kernel's whole diagonal, over its mean; numerical.
        solver: `"auto"`, `"cholesky"` or `"cg"`, as in `solve_kernel`.
        memory: Budget of the solver in GiB; decides which one is chosen.

    Example:
        >>> import numpy as np
        >>> from sklearn.preprocessing import normalize
        >>> x = normalize(np.random.default_rng(0).normal(size=(60, 3)))
        >>> y = x[:, 0] ** 2
        >>> model = LimitRegressor("ntk", depth=2, bias_std=0.5, ridge=0.01)
        >>> bool(model.fit(x[:50], y[:50]).score(x[50:], y[50:]) > 0.95)
        True
    """

    _kept = ("intercept_",)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may expect.

        Returns:
            Its tags: targets may have several columns.
        """
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> "LimitRegressor":
        """Fits the kernel to inputs and targets.

        Args:
            X: Inputs, one per row.
            y: Targets, one per row, or one row of them.

        Returns:
            Itself.
        """
        rows, targets = self._rows_and_targets(X, y, multi_output=True, y_numeric=True)
        columns = np.asarray(targets, float).reshape(len(rows), -1)
        self.intercept_ = columns.mean(axis=0)
        self._fit(rows, columns - self.intercept_, targets.ndim == 1)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "n *o"]:
        """Values of the fitted function.

        Args:
            X: Inputs, one per row.

        Returns:
            One value, or one row, per input.
        """
        rows = self._rows(X)
        found = self.predictor_(rows)
        return found + (self.intercept_[0] if found.ndim == 1 else self.intercept_)

    def certified_radius(
        self, X: Any, *, tolerance: float, **options: Any
    ) -> Float[np.ndarray, "n *o"]:
        """Radii within which the prediction provably moves by no more than so much.

        Args:
            X: Inputs, one per row.
            tolerance: How much, in units of the targets.
            options: `max_radius`, `cells`, `curvature`, as of
                `prediction.certified_radius`.

        Returns:
            One l2 radius per input and output.

        Raises:
            ValueError: If `tolerance` is not positive, or an option is out of range.
        """
        rows = self._rows(X)
        check_positive("certified_radius", "tolerance", tolerance)
        f, radii = self.predictor_, []
        for j in range(len(f.gram)):
            one = KernelPredictor(
                network=f.network,
                x=f.x,
                weights=f.weights[:, :, j : j + 1],
                gram=f.gram[j : j + 1, j : j + 1],
                kind=f.kind,
            )
            level = one(rows) - tolerance
            radii.append(certified_radius(one, rows, threshold=level, **options).radius)
        return radii[0] if f.single else np.stack(radii, axis=1)
