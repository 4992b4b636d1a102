"""The bounds of du2019, https://arxiv.org/abs/1811.03804."""

from widelimit.bounds.du2019.architectures import (
    AbstractArchitecture,
    FullyConnected,
    Residual,
)
from widelimit.bounds.du2019.constants import ActivationConstants, geometric_sum
from widelimit.bounds.du2019.movement import WeightMovement, weight_movement
from widelimit.bounds.du2019.perturbation import (
    FeaturePerturbation,
    GramPerturbation,
    feature_perturbation,
    gram_perturbation,
)

__all__ = [
    "AbstractArchitecture",
    "ActivationConstants",
    "FeaturePerturbation",
    "FullyConnected",
    "GramPerturbation",
    "Residual",
    "WeightMovement",
    "feature_perturbation",
    "geometric_sum",
    "gram_perturbation",
    "weight_movement",
]
