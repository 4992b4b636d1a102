"""What is measured on a network: stability, laziness, accuracy."""

from widelimit.balls import Norm
from widelimit.measures.estimate import Estimate, mean_over_inputs, mean_over_seeds
from widelimit.measures.gaussian_norm import (
    mean_gaussian_norm,
    mean_gaussian_norm_of_gram,
    mean_gaussian_radius,
)
from widelimit.measures.gradient_difference import (
    GradientDifference,
    largest_gradient_difference,
)
from widelimit.measures.input_jacobian import input_jacobian
from widelimit.measures.movement import (
    MatrixMovement,
    lazy_ratio,
    matrix_movement,
    relative_movement,
)
from widelimit.measures.perturbation import (
    SampledStability,
    perturbation_stability,
    sampled_perturbation_stability,
)
from widelimit.measures.proportion import Proportion, proportion, proportion_of
from widelimit.measures.score import Score, score
from widelimit.measures.sign_changes import possible_sign_changes, sign_changes
from widelimit.measures.stability_plan import StabilityPlan, stability_plan

__all__ = [
    "Estimate",
    "GradientDifference",
    "MatrixMovement",
    "Norm",
    "Proportion",
    "SampledStability",
    "Score",
    "StabilityPlan",
    "input_jacobian",
    "largest_gradient_difference",
    "lazy_ratio",
    "matrix_movement",
    "mean_gaussian_norm",
    "mean_gaussian_norm_of_gram",
    "mean_gaussian_radius",
    "mean_over_inputs",
    "mean_over_seeds",
    "perturbation_stability",
    "possible_sign_changes",
    "proportion",
    "proportion_of",
    "relative_movement",
    "sampled_perturbation_stability",
    "score",
    "sign_changes",
    "stability_plan",
]
