"""The bounds of du2019, https://arxiv.org/abs/1811.03804."""

from widelimit.bounds.du2019.architectures import (
    AbstractArchitecture,
    FullyConnected,
    Residual,
)
from widelimit.bounds.du2019.concentration import Concentration, theorem_d1
from widelimit.bounds.du2019.constants import ActivationConstants, geometric_sum
from widelimit.bounds.du2019.convergence import Convergence, guaranteed_decay
from widelimit.bounds.du2019.movement import WeightMovement, weight_movement
from widelimit.bounds.du2019.norms import (
    feature_norm_constant,
    lemma_a1_width,
    lemma_b1_width,
    weight_norm_constant,
)
from widelimit.bounds.du2019.pairs import (
    PairEigenvalues,
    lemma_d1,
    residual_gram_scale,
)
from widelimit.bounds.du2019.perturbation import (
    FeaturePerturbation,
    GramPerturbation,
    feature_perturbation,
    gram_perturbation,
)
from widelimit.bounds.du2019.theorems import theorem3_1, theorem4_1, theorem5_1

__all__ = [
    "AbstractArchitecture",
    "ActivationConstants",
    "Concentration",
    "Convergence",
    "FeaturePerturbation",
    "FullyConnected",
    "GramPerturbation",
    "PairEigenvalues",
    "Residual",
    "WeightMovement",
    "feature_norm_constant",
    "feature_perturbation",
    "geometric_sum",
    "gram_perturbation",
    "guaranteed_decay",
    "lemma_a1_width",
    "lemma_b1_width",
    "lemma_d1",
    "residual_gram_scale",
    "theorem3_1",
    "theorem4_1",
    "theorem5_1",
    "theorem_d1",
    "weight_movement",
    "weight_norm_constant",
]
