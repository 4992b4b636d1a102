"""Attacks: how little of a perturbation changes a prediction."""

from widelimit.attacks.flip import FlipStatus, MinimalFlip
from widelimit.attacks.minimal_flip import minimal_flip

__all__ = [
    "FlipStatus",
    "MinimalFlip",
    "minimal_flip",
]
