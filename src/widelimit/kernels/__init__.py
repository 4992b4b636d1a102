"""Kernels of networks, infinitely wide and finite."""

from widelimit.kernels.limit import (
    KernelPair,
    limit_block,
    limit_kernels,
    limit_moments,
)

__all__ = ["KernelPair", "limit_block", "limit_kernels", "limit_moments"]
