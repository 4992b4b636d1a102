"""Prediction with kernels: systems of equations and how well they were solved."""

from widelimit.prediction.solution import NotSolvedError, Solution, Status
from widelimit.prediction.solve import solve_kernel

__all__ = ["NotSolvedError", "Solution", "Status", "solve_kernel"]
