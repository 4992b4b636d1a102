"""scikit-learn estimators: regression and classification with limit kernels."""

from widelimit.estimators.classifier import LimitClassifier
from widelimit.estimators.regressor import LimitRegressor

__all__ = ["LimitClassifier", "LimitRegressor"]
