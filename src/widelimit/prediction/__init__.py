"""Prediction with the kernels of infinitely wide networks."""

from widelimit.prediction.flow import RobustDescent, RobustFlow, robust_flow
from widelimit.prediction.initial import function_at
from widelimit.prediction.predictor import KernelPredictor, Prediction
from widelimit.prediction.solution import NotSolvedError, Solution, Status
from widelimit.prediction.solve import solve_kernel

__all__ = [
    "KernelPredictor",
    "NotSolvedError",
    "Prediction",
    "RobustDescent",
    "RobustFlow",
    "Solution",
    "Status",
    "function_at",
    "robust_flow",
    "solve_kernel",
]
