"""Arrays that compiled programs read where they are."""

import numpy as np
import pytest

from widelimit.kernels import jacobian_kernel
from widelimit.kernels.aligned import ALIGNMENT, aligned, aligned_empty
from widelimit.networks import kim2023_network


@pytest.mark.parametrize("shape", [(5,), (3, 7), (300, 101)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_arrays_begin_at_multiples(shape, dtype):
    array = aligned_empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0


def test_what_is_aligned_stays_and_the_rest_is_copied():
    whole = aligned_empty((4, 8), np.float64)
    whole[...] = np.arange(32.0).reshape(4, 8)
    assert aligned(whole) is whole
    for part in (whole[:, 1:], whole.T, whole.ravel()[1:9]):
        found = aligned(part)
        np.testing.assert_array_equal(found, part)
        assert found.flags.c_contiguous and found.ctypes.data % ALIGNMENT == 0


def test_the_arrays_of_a_kernel_are_aligned():
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    net = kim2023_network(depth=1, width=1)
    for kernel in (jacobian_kernel(net, x), jacobian_kernel(net, x, z)):
        arrays = [kernel.x1, kernel.x2, *vars(kernel.scalars).values()]
        assert all(a.ctypes.data % ALIGNMENT == 0 for a in arrays)
