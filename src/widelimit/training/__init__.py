"""Training: many seeds of one network in one compiled program."""

from widelimit.training.augmentation import CropFlip
from widelimit.training.checkpoint import Checkpoint
from widelimit.training.gradient_descent import gradient_descent
from widelimit.training.gradient_descent_record import Descent
from widelimit.training.jacobian_penalty import JacobianPenalty
from widelimit.training.lazy_ball import (
    Cone,
    LazyBall,
    cone,
    lazy_radius,
)
from widelimit.training.lazy_projection import lazy_projection, projected_sgd
from widelimit.training.linearised import Linearised
from widelimit.training.optimizers import momentum_sgd, step_decay_sgd, zhu2022_sgd
from widelimit.training.pixel_scaling import PixelScaling
from widelimit.training.train import Trained, train

__all__ = [
    "Checkpoint",
    "Cone",
    "CropFlip",
    "Descent",
    "JacobianPenalty",
    "LazyBall",
    "Linearised",
    "PixelScaling",
    "Trained",
    "cone",
    "gradient_descent",
    "lazy_projection",
    "lazy_radius",
    "momentum_sgd",
    "projected_sgd",
    "step_decay_sgd",
    "train",
    "zhu2022_sgd",
]
