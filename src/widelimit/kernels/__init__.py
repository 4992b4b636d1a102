"""Kernels of networks, infinitely wide and finite."""

from widelimit.kernels.empirical import empirical_ntk, empirical_ntk_block
from widelimit.kernels.empirical_moments import empirical_moments
from widelimit.kernels.empirical_nngp import empirical_nngp, empirical_nngp_block
from widelimit.kernels.gram import PopulationGram, population_gram
from widelimit.kernels.limit import (
    KernelPair,
    limit_block,
    limit_kernels,
    limit_moments,
)
from widelimit.kernels.sampled import SampledKernels, sampled_kernels

__all__ = [
    "KernelPair",
    "PopulationGram",
    "SampledKernels",
    "empirical_moments",
    "empirical_nngp",
    "empirical_nngp_block",
    "empirical_ntk",
    "empirical_ntk_block",
    "limit_block",
    "limit_kernels",
    "limit_moments",
    "population_gram",
    "sampled_kernels",
]
