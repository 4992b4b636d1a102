"""Jacobian kernels of infinitely wide networks."""

from widelimit.kernels.jacobian.block import jacobian_block
from widelimit.kernels.jacobian.block_operator import JacobianKernel
from widelimit.kernels.jacobian.kernel import jacobian_kernel, jacobian_scalars
from widelimit.kernels.jacobian.positions import dense_jacobian_kernel
from widelimit.kernels.jacobian.scalars import FrameScalars, JacobianScalars

__all__ = [
    "FrameScalars",
    "JacobianKernel",
    "JacobianScalars",
    "dense_jacobian_kernel",
    "jacobian_block",
    "jacobian_kernel",
    "jacobian_scalars",
]
