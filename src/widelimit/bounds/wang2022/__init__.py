"""The bounds of wang2022, https://arxiv.org/abs/2207.00411."""

from widelimit.bounds.wang2022.all_perturbations import LemmaB9, lemma_b9
from widelimit.bounds.wang2022.certificate import flip_certificate
from widelimit.bounds.wang2022.flip import Theorem31, theorem31
from widelimit.bounds.wang2022.initial import LemmaB5, LemmaB7, lemma_b5, lemma_b7
from widelimit.bounds.wang2022.one_perturbation import LemmaB8, lemma_b8
from widelimit.bounds.wang2022.robust_error import Corollary32, corollary32
from widelimit.bounds.wang2022.sign_changes import (
    LemmaB4,
    LemmaB6,
    lemma_b4,
    lemma_b6,
)

__all__ = [
    "Corollary32",
    "LemmaB4",
    "LemmaB5",
    "LemmaB6",
    "LemmaB7",
    "LemmaB8",
    "LemmaB9",
    "Theorem31",
    "corollary32",
    "flip_certificate",
    "lemma_b4",
    "lemma_b5",
    "lemma_b6",
    "lemma_b7",
    "lemma_b8",
    "lemma_b9",
    "theorem31",
]
