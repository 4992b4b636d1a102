"""Kernels of networks, infinitely wide and finite."""

from widelimit.kernels.empirical import empirical_ntk, empirical_ntk_block
from widelimit.kernels.empirical_jacobian import (
    empirical_jacobian_ntk,
    empirical_jacobian_ntk_block,
    empirical_jacobian_plan,
)
from widelimit.kernels.empirical_jacobian_nngp import (
    empirical_jacobian_nngp,
    empirical_jacobian_nngp_block,
)
from widelimit.kernels.empirical_jacobian_operator import (
    EmpiricalJacobianOperator,
    empirical_jacobian_operator,
)
from widelimit.kernels.empirical_moments import empirical_moments
from widelimit.kernels.empirical_nngp import empirical_nngp, empirical_nngp_block
from widelimit.kernels.gram import PopulationGram, population_gram
from widelimit.kernels.jacobian import (
    JacobianKernel,
    JacobianScalars,
    dense_jacobian_kernel,
    jacobian_block,
    jacobian_kernel,
    jacobian_scalars,
)
from widelimit.kernels.limit import (
    KernelPair,
    limit_block,
    limit_kernels,
    limit_moments,
)
from widelimit.kernels.sampled import SampledKernels, sampled_kernels
from widelimit.kernels.spectrum_extreme import spectrum
from widelimit.kernels.spectrum_network import network_spectrum
from widelimit.kernels.spectrum_result import Spectrum, Verdict
from widelimit.kernels.spectrum_singular import why_singular

__all__ = [
    "EmpiricalJacobianOperator",
    "JacobianKernel",
    "JacobianScalars",
    "KernelPair",
    "PopulationGram",
    "SampledKernels",
    "Spectrum",
    "Verdict",
    "dense_jacobian_kernel",
    "empirical_jacobian_nngp",
    "empirical_jacobian_nngp_block",
    "empirical_jacobian_ntk",
    "empirical_jacobian_ntk_block",
    "empirical_jacobian_operator",
    "empirical_jacobian_plan",
    "empirical_moments",
    "empirical_nngp",
    "empirical_nngp_block",
    "empirical_ntk",
    "empirical_ntk_block",
    "jacobian_block",
    "jacobian_kernel",
    "jacobian_scalars",
    "limit_block",
    "limit_kernels",
    "limit_moments",
    "network_spectrum",
    "population_gram",
    "sampled_kernels",
    "spectrum",
    "why_singular",
]
