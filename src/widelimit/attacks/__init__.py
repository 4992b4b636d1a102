"""Attacks on any differentiable model: within a ball, or to the nearest flip."""

from widelimit.attacks.base import AbstractAttack, Found
from widelimit.attacks.flip import FlipStatus, MinimalFlip
from widelimit.attacks.gradient_step import GradientStep
from widelimit.attacks.minimal_flip import minimal_flip
from widelimit.attacks.pgd import PGD
from widelimit.attacks.result import AttackResult
from widelimit.attacks.run import attack, correct
from widelimit.attacks.smallest_radius import SmallestRadius, smallest_radius

__all__ = [
    "PGD",
    "AbstractAttack",
    "AttackResult",
    "Found",
    "FlipStatus",
    "GradientStep",
    "MinimalFlip",
    "SmallestRadius",
    "attack",
    "correct",
    "minimal_flip",
    "smallest_radius",
]
