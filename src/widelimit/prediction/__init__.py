"""Prediction with the kernels of infinitely wide networks."""

from widelimit.prediction.certificates import (
    CertifiedRadius,
    certified_radius,
    feature_distance,
)
from widelimit.prediction.eigenfeatures import eigenfeatures
from widelimit.prediction.flow import RobustDescent, RobustFlow, robust_flow
from widelimit.prediction.function import (
    PredictorFunction,
    PredictorParams,
    as_function,
)
from widelimit.prediction.initial import function_at
from widelimit.prediction.posterior import (
    JointGaussian,
    Posterior,
    gaussian_posterior,
    prior,
)
from widelimit.prediction.predictor import KernelPredictor, Prediction
from widelimit.prediction.solution import NotSolvedError, Solution, Status
from widelimit.prediction.solve import solve_kernel
from widelimit.prediction.stability import initial_stability, trained_stability

__all__ = [
    "CertifiedRadius",
    "JointGaussian",
    "KernelPredictor",
    "NotSolvedError",
    "Posterior",
    "Prediction",
    "PredictorFunction",
    "PredictorParams",
    "RobustDescent",
    "RobustFlow",
    "Solution",
    "Status",
    "as_function",
    "certified_radius",
    "eigenfeatures",
    "feature_distance",
    "function_at",
    "gaussian_posterior",
    "initial_stability",
    "prior",
    "robust_flow",
    "solve_kernel",
    "trained_stability",
]
