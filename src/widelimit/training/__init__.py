"""Training: many seeds of one network in one compiled program."""

from widelimit.training.optimizers import step_decay_sgd, zhu2022_sgd
from widelimit.training.train import Trained, train

__all__ = [
    "Trained",
    "step_decay_sgd",
    "train",
    "zhu2022_sgd",
]
